"""A disk that cannot be written leaves the registry as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlembed.bundle.bundle import write_directory
from mlembed.errors import NotFoundError, RegistryError
from mlembed.registry.file import FileRegistry
from mlembed.registry.pointer import Ref
from processes import run_script
from registry.stock import VERSIONS, bundle, served

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

READ_ONLY = """
    import os, sys
    from pathlib import Path
    import mlembed.registry.file, tempfile, fcntl, getpass, socket
    from mlembed.bundle.bundle import read_directory
    from mlembed.errors import RegistryError
    from mlembed.registry.pointer import Ref

    bundle = read_directory(Path("bundle"))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    registry = mlembed.registry.file.FileRegistry(Path("models"))
    assert registry.fetch(registry.resolve(Ref("toy"))).manifest.version == "1.2.0"
    for call in (
        lambda: registry.publish(bundle),
        lambda: registry.promote("toy", "champion", "1.0.0"),
        lambda: registry.promote("toy", "canary", "1.0.0"),
        lambda: registry.rollback("toy", "champion"),
        lambda: registry.require_writable("toy"),
        lambda: mlembed.registry.file.FileRegistry(Path("models/none")).publish(bundle),
    ):
        try:
            call()
        except RegistryError as error:
            print(error)
"""


def test_registry_that_is_read_only(full: FileRegistry, tmp_path: Path) -> None:
    """A user who may only read is served, told so when writing, and leaves nothing half-written."""
    full.fetch(full.resolve(Ref("toy")))
    new = bundle("2.0.0")
    write_directory(new, tmp_path / "bundle")
    before = sorted(path for path in full.root.rglob("*"))
    folders = [full.root, *(path for path in before if path.is_dir())]
    tmp_path.chmod(0o755)
    for folder in folders:
        folder.chmod(0o555)
    try:
        lines = run_script(READ_ONLY, cwd=tmp_path).splitlines()
    finally:
        for folder in folders:
            folder.chmod(0o755)

    assert len(lines) == 6
    assert all("cannot write to the registry models: Permission denied" in x for x in lines[:5])
    assert all("make the directory writable or name another" in line for line in lines)
    assert sorted(path for path in full.root.rglob("*")) == before


FULL_DISK = """
    import resource, signal, sys
    from pathlib import Path
    import mlembed.registry.file, tempfile, fcntl, getpass, socket
    from mlembed.bundle.bundle import read_directory
    from mlembed.errors import RegistryError

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    bundle = read_directory(Path(sys.argv[2]))
    limit = int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    registry = mlembed.registry.file.FileRegistry(Path(sys.argv[1]))
    for call in (
        lambda: registry.publish(bundle),
        lambda: registry.promote("toy", "champion", "1.0.0"),
    ):
        try:
            call()
            print("done")
        except RegistryError as error:
            print(error)
"""


@pytest.mark.parametrize("limit", [0, 60, 600, 1_500])
def test_registry_on_a_full_disk(full: FileRegistry, tmp_path: Path, limit: int) -> None:
    """Where the disk ends amid a file, nothing new is visible and nothing old is harmed."""
    new = bundle("2.0.0")
    write_directory(new, tmp_path / "bundle")

    published, promoted = run_script(FULL_DISK, full.root, tmp_path / "bundle", str(limit)).split(
        "\n"
    )[:2]

    assert "cannot write to the registry" in published
    assert full.versions("toy") == list(VERSIONS)
    assert not list(full.root.rglob(".tmp-*"))
    assert served(full) == ("1.0.0" if promoted == "done" else "1.2.0")
    assert (promoted == "done") == (limit >= 600)
    full.publish(new)
    full.promote("toy", "champion", "2.0.0")
    assert full.fetch(full.resolve(Ref("toy"))) == new


def test_registry_whose_directory_is_a_file(tmp_path: Path) -> None:
    """What stands in the registry's place is left alone, and the message names it."""
    path = tmp_path / "models"
    path.write_text("mine")
    registry = FileRegistry(path)
    calls: list[Callable[[], object]] = [
        lambda: registry.publish(bundle()),
        lambda: registry.require_writable("toy"),
    ]

    for call in calls:
        with pytest.raises(RegistryError, match=f"cannot write to the registry {path}: Not a dir"):
            call()
    with pytest.raises(NotFoundError, match="there is no registry at"):
        registry.resolve(Ref("toy"))
    assert path.read_text() == "mine"


def test_require_writable_leaves_no_file(full: FileRegistry) -> None:
    """The trial writes nothing that stays."""
    before = sorted(full.root.rglob("*"))

    full.require_writable("toy")

    assert sorted(full.root.rglob("*")) == before


@pytest.mark.parametrize("place", ["aliases/champion.json", "versions/1.2.0.json"])
def test_registry_names_what_it_cannot_read(full: FileRegistry, place: str) -> None:
    """A file that cannot be read is an error of the registry, by its path."""
    path = full.root / "toy" / place
    path.unlink()
    path.mkdir()
    selector = "champion" if "champion" in place else "1.2.0"

    with pytest.raises(RegistryError, match=f"cannot read {path}: Is a directory"):
        full.resolve(Ref("toy", selector))


def test_registry_names_what_it_cannot_follow(full: FileRegistry) -> None:
    """Links that lead nowhere are an error of the registry, wherever they stand."""
    target = full.resolve(Ref("toy"))
    blob = full.root / "toy" / "blobs" / "sha256" / bundle("1.2.0").manifest.files[0].sha256
    log = full.root / "toy" / "log" / "champion"
    for path in (blob, log / "1.json"):
        path.unlink()
        path.symlink_to(path)

    with pytest.raises(RegistryError, match=f"cannot read {blob}: Too many levels of symbolic"):
        full.fetch(target)
    with pytest.raises(RegistryError, match=f"cannot read {log}/1.json: Too many levels"):
        full.history("toy", "champion")
    log.rename(full.root / "old log")
    log.symlink_to(log)
    with pytest.raises(RegistryError, match=f"cannot read {log}: Too many levels"):
        full.history("toy", "champion")
