"""A disk that cannot be written leaves the registry as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlembed.bundle.bundle import write_directory
from mlembed.registry.pointer import Ref
from processes import run_script
from registry.stock import VERSIONS, bundle, served

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.registry.file import FileRegistry

READ_ONLY = """
    import os, sys
    from pathlib import Path
    import mlembed.registry.file, tempfile, fcntl
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
    (full.root / "toy" / ".lock").chmod(0o444)
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
    import mlembed.registry.file, tempfile, fcntl
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
