"""The cache saves downloads and is never relied on: damaged, shared, full or forbidden, all serve."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlembed.errors import IntegrityError, RegistryError
from mlembed.registry.cache import Cache
from mlembed.registry.pointer import Ref
from processes import run_script, start_script
from registry.hostile import random_bytes
from registry.site import Site, host
from registry.stock import VERSIONS, bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlembed.registry.file import FileRegistry

TOY = Ref("toy")
MODEL = bundle("1.2.0").manifest.files[-1]


@pytest.fixture
def site(full: FileRegistry) -> Iterator[Site]:
    """Return a web site over a registry with three versions."""
    with Site(full.root) as serving:
        yield serving


@pytest.fixture
def cache(site: Site, tmp_path: Path) -> Path:
    """Return the cache of a host that has served the champion."""
    folder = tmp_path / "cache"
    followed = host(site, folder)
    target = followed.resolve(TOY)
    followed.fetch(target)
    followed.confirm(TOY, target)
    site.asked.clear()
    return folder


def blobs(cache: Path) -> Path:
    """Return where files are held."""
    return cache / "blobs" / "sha256"


@pytest.mark.parametrize("damage", ["changed", "cut", "empty", "gone", "directory", "link", "fifo"])
@pytest.mark.parametrize("place", ["file", "manifest"])
def test_damaged_cache_is_mended(site: Site, cache: Path, damage: str, place: str) -> None:
    """What is not the file it should be is asked for again, and the bundle is whole."""
    digest = MODEL.sha256 if place == "file" else bundle("1.2.0").id
    path = blobs(cache) / digest
    data = path.read_bytes()
    path.unlink()
    if damage == "directory":
        path.mkdir()
    elif damage == "link":
        path.symlink_to(path.with_name("nowhere"))
    elif damage == "fifo":
        os.mkfifo(path)
    elif damage != "gone":
        path.write_bytes({"changed": data[:-1] + b"~", "cut": data[:-1], "empty": b""}[damage])
    followed = host(site, cache)

    assert followed.fetch(followed.resolve(TOY)) == bundle("1.2.0")
    assert f"/toy/blobs/sha256/{digest}" in site.paths()
    if damage != "directory":
        assert path.read_bytes() == data


def test_damaged_cache_and_registry_are_refused(
    full: FileRegistry, site: Site, cache: Path
) -> None:
    """Where nobody has the file, nothing is served, and nothing bad is held."""
    for folder in (blobs(cache), full.root / "toy" / "blobs" / "sha256"):
        path = folder / MODEL.sha256
        path.write_bytes(path.read_bytes()[:-1] + b"~")
    followed = host(site, cache)
    target = followed.resolve(TOY)

    with pytest.raises(IntegrityError):
        followed.fetch(target)
    assert not (blobs(cache) / MODEL.sha256).exists()
    assert not [path for path in blobs(cache).iterdir() if path.name.startswith(".tmp-")]


def test_cache_replaced_while_it_is_read(site: Site, cache: Path) -> None:
    """However often a file is swapped, what is used is what was hashed."""
    path, stop = blobs(cache) / MODEL.sha256, threading.Event()
    good = path.read_bytes()
    bad = good[:-1] + bytes([good[-1] ^ 1])

    def swap() -> None:
        while not stop.is_set():
            for data in (bad, good):
                fresh = path.with_name(".swapped")
                fresh.write_bytes(data)
                fresh.replace(path)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        followed = host(site, cache)
        target = followed.resolve(TOY)
        for _ in range(200):
            # It may be swapped at both reads, and is refused then.
            with contextlib.suppress(IntegrityError):
                assert followed.fetch(target) == bundle("1.2.0")
    finally:
        stop.set()
        swapping.join()


def _file_in_its_place(cache: Path) -> None:
    shutil.rmtree(cache)
    cache.write_bytes(b"")


def _nothing_may_be_written(cache: Path) -> None:
    shutil.rmtree(blobs(cache))
    blobs(cache).write_bytes(b"")
    shutil.rmtree(cache / "state")
    (cache / "state").write_bytes(b"")


@pytest.mark.parametrize("spoil", [_file_in_its_place, _nothing_may_be_written])
def test_cache_that_cannot_be_written_is_done_without(
    site: Site, cache: Path, spoil: Callable[[Path], None]
) -> None:
    """The bundle is held in memory alone, and the host can tell why."""
    spoil(cache)
    followed = host(site, cache)
    target = followed.resolve(TOY)

    assert followed.fetch(target) == bundle("1.2.0")
    followed.confirm(TOY, target)
    assert "cannot be written" in followed.problem


UNPRIVILEGED = """
    import os, sys
    from pathlib import Path
    from mlembed.registry.pointer import Ref
    from mlembed.settings import Settings
    from mlembed.registry import open_source

    def start(cache):
        followed = open_source(sys.argv[1], Settings(cache=cache, log_dir="/tmp", log=False))
        target = followed.resolve(Ref("toy"))
        version = followed.fetch(target).manifest.version
        followed.confirm(Ref("toy"), target)
        return version, bool(followed.problem), len(followed.last_resorts(Ref("toy")))

    start(Path(sys.argv[3]))  # what is loaded on first use may lie where others cannot read
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    print("now")
    print(*start(Path(sys.argv[2])))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["read-only", "forbidden"])
def test_cache_of_another_user(site: Site, cache: Path, mode: int, tmp_path: Path) -> None:
    """It is read if it may be, its memory is not believed, and nothing is lost but time."""
    # Not below pytest's own folder, which another run of the same user closes to others.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        theirs = shutil.copytree(cache, Path(folder) / "cache")
        for path in (theirs, *theirs.rglob("*")):
            path.chmod(mode if path.is_dir() else mode & 0o644)
            os.chown(path, 12345, 12345)

        said = run_script(UNPRIVILEGED, site.url, theirs, tmp_path / "warm").split()

    # One resort: what this process confirmed, and not what the other user's files remember.
    assert said[-3:] == ["1.2.0", "True", "1"]
    model = site.paths(MODEL.sha256)
    assert len(model) == (2 if mode == 0o700 else 1)


@pytest.mark.parametrize("noticed", ["before", "in it"])
def test_cache_on_a_full_disk(
    full: FileRegistry, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noticed: str
) -> None:
    """A disk without room is noticed, before the download or in it; memory serves instead."""
    if noticed == "in it":
        monkeypatch.delattr(os, "posix_fallocate")
    large = bundle("2.0.0", note=random_bytes(1, 400_000).hex())
    full.publish(large)
    full.promote("toy", "champion", "2.0.0")
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=512k tmpfs {disk} 2>/dev/null") != 0:  # noqa: S605
        pytest.skip("this user may not mount a small disk")
    try:
        followed = host(site, disk / "cache")
        target = followed.resolve(TOY)

        assert followed.fetch(target) == large
        followed.confirm(TOY, target)
        assert "No space left" in followed.problem
        held = [path for path in (disk / "cache").rglob("*") if path.name.startswith(".tmp-")]
        assert not held
        assert not (blobs(disk / "cache") / large.manifest.files[0].sha256).exists()
    finally:
        os.system(f"umount {disk}")  # noqa: S605


START = """
    import sys
    from pathlib import Path
    from mlembed.registry import open_source
    from mlembed.registry.pointer import Ref
    from mlembed.settings import Settings

    {before}
    followed = open_source(sys.argv[1], Settings(cache=Path(sys.argv[2]), log=False))
    sys.stdin.readline()
    target = followed.resolve(Ref("toy"))
    bundle = followed.fetch(target)
    followed.confirm(Ref("toy"), target)
    print(bundle.id)
"""
BROKEN_FLOCK = "import fcntl; fcntl.flock = lambda *_: None"


def start_many(site: Site, cache: Path, n_hosts: int, before: str = "") -> list[str]:
    """Start hosts at once from one cold cache; return the bundle ids that they fetched."""
    script = START.format(before=before)
    hosts = [start_script(script, site.url, cache, measured=False) for _ in range(n_hosts)]
    time.sleep(1.5 if n_hosts < 10 else 6.0)
    for each in hosts:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    said = [each.communicate(timeout=120) for each in hosts]
    assert not [error for _, error in said if error]
    return [output.strip() for output, _ in said]


def test_hosts_that_start_at_once_download_once(site: Site, tmp_path: Path) -> None:
    """32 hosts and one cold shared cache: each file travels once."""
    ids = start_many(site, tmp_path / "cold", 32)

    assert ids == [bundle("1.2.0").id] * 32
    for file in bundle("1.2.0").manifest.files:
        assert len(site.paths(file.sha256)) == 1


def test_hosts_do_not_depend_on_locks(site: Site, tmp_path: Path) -> None:
    """Where locks do nothing, as on some network disks, files travel more often and are whole."""
    assert start_many(site, tmp_path / "cold", 8, BROKEN_FLOCK) == [bundle("1.2.0").id] * 8
    cold = Cache(tmp_path / "cold", 10**9)
    assert all(cold.holds(file.sha256, file.size) for file in bundle("1.2.0").manifest.files)


INSTALL = """
    import itertools, os, shutil, signal, sys
    from pathlib import Path
    from mlembed.registry import open_source
    from mlembed.registry.pointer import Ref
    from mlembed.settings import Settings

    url, base = sys.argv[1], Path(sys.argv[2])

    def install(cache):
        followed = open_source(url, Settings(cache=cache, log=False))
        target = followed.resolve(Ref("toy"))
        followed.fetch(target)
        followed.confirm(Ref("toy"), target)

    def die_at(number):
        calls = itertools.count(1)

        def watched(function):
            def call(*args, **kwargs):
                if next(calls) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **kwargs)
            return call

        for name in ("open", "mkdir", "replace", "unlink", "posix_fallocate", "close", "utime"):
            setattr(os, name, watched(getattr(os, name)))

    install(base / "warm")  # what is loaded on first use is loaded
    for number in itertools.count(1):
        child = os.fork()
        if child == 0:
            die_at(number)
            install(base / f"killed-{number}")
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL, status
    print(number)
"""


def test_install_killed_at_every_step(site: Site, tmp_path: Path) -> None:
    """The next host finds nothing, or whole files; it starts and serves."""
    steps = int(run_script(INSTALL, site.url, tmp_path))

    assert steps > 15
    for number in range(1, steps + 1):
        cache = tmp_path / f"killed-{number}"
        held = Cache(cache, 10**9)
        files = [path for path in blobs(cache).glob("*") if not path.name.startswith(".tmp-")]
        assert all(held.holds(path.name, path.stat().st_size) for path in files)
        followed = host(site, cache)
        target = followed.resolve(TOY)
        assert followed.fetch(target) == bundle("1.2.0")
        followed.confirm(TOY, target)
        assert [item.bring().id for item in host(site, cache).last_resorts(TOY)] == [
            target.bundle_id
        ]


def test_trim_keeps_what_serves(full: FileRegistry, site: Site, tmp_path: Path) -> None:
    """The oldest go first where it is too large, never what served last nor what did before."""
    cache = tmp_path / "cache"
    followed = host(site, cache, cache_bytes=2**20)
    for number, version in enumerate(("2.0.0", "2.1.0", "2.2.0", "2.3.0")):
        # Noise, so that no two cards share a file.
        full.publish(bundle(version, note=random_bytes(number, 300_000).hex()))
        full.promote("toy", "champion", version)
        target = followed.resolve(TOY)
        followed.fetch(target)
        followed.confirm(TOY, target)
        time.sleep(0.02)

    site.is_down = True
    resorts = host(site, cache).last_resorts(TOY)
    assert [item.bring().manifest.version for item in resorts] == ["2.3.0", "2.2.0"]
    sizes = [path.stat().st_size for path in blobs(cache).iterdir()]
    assert len([size for size in sizes if size > 500_000]) <= 4
    with pytest.raises(RegistryError):
        followed.fetch(full.resolve(Ref("toy", "2.0.0")))


def test_trim_removes_leftovers_of_the_killed(site: Site, cache: Path) -> None:
    """A temporary file is removed once it is a day old, and not while it may be written."""
    young, old = blobs(cache) / ".tmp-young", blobs(cache) / ".tmp-old"
    for path in (young, old):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 100_000,) * 2)

    Cache(cache, 10**9).trim(())

    assert young.exists()
    assert not old.exists()
    assert site.root.is_dir()


def test_versions_share_what_is_alike(full: FileRegistry, site: Site, cache: Path) -> None:
    """The files of three versions that differ in their card lie there once."""
    followed = host(site, cache)
    for version in VERSIONS:
        followed.fetch(full.resolve(Ref("toy", version)))

    digests = {file.sha256 for version in VERSIONS for file in bundle(version).manifest.files}
    held = {path.name for path in blobs(cache).iterdir()}
    assert held == digests | {bundle(version).id for version in VERSIONS}
