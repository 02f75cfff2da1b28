"""The local log never loses, mixes or overwrites a line, and is its owner's alone."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import os
import re
import shutil
import socket
import types
from typing import TYPE_CHECKING

import pytest

from mlembed.telemetry import store as module
from mlembed.telemetry.store import Store
from processes import run_script

if TYPE_CHECKING:
    from pathlib import Path


def files(root: Path) -> list[str]:
    """Return every file below *root* by its path."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def lines(root: Path) -> list[str]:
    """Return every line below *root*, file by file in the order of their numbers."""
    return [line for name in files(root) for line in (root / name).read_text().splitlines()]


def today() -> str:
    """Return the day's directory."""
    return f"dt={dt.datetime.now(dt.UTC).date().isoformat()}"


def stem() -> str:
    """Return what this process's files begin with."""
    host = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:64]
    return f"{host}-{os.getpid()}"


def test_store_writes_open_files_and_renames_them(tmp_path: Path) -> None:
    """A file is `.open` while it is written and gets its final name when it is closed."""
    store = Store(tmp_path, 2**30)
    store.write("toy", b"one\n", {})
    store.write("toy", b"two\n", {})
    name = f"toy/{today()}/{stem()}-0.jsonl"

    assert files(tmp_path) == [f"{name}.open"]
    assert lines(tmp_path) == ["one", "two"]
    store.close()
    assert files(tmp_path) == [name]


def test_store_keeps_models_apart(tmp_path: Path) -> None:
    """Each model has its own directory."""
    store = Store(tmp_path, 2**30)
    for model in ("toy", "other"):
        store.write(model, f"{model}\n".encode(), {})
    store.close()

    assert [name.split("/")[0] for name in files(tmp_path)] == ["other", "toy"]
    assert lines(tmp_path) == ["other", "toy"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_store_is_its_owners_alone(tmp_path: Path, umask: int) -> None:
    """Files are 0600 and directories 0700 from the log's root down, whatever the umask."""
    root = tmp_path / "state" / "log"
    before = os.umask(umask)
    try:
        with contextlib.closing(Store(root, 2**30)) as store:
            store.write("toy", b"line\n", {})
    finally:
        os.umask(before)

    found = [root, *root.rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in found if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in found if path.is_file()} == {0o600}
    assert len(found) == 4


def test_store_leaves_the_modes_of_directories_that_exist(tmp_path: Path) -> None:
    """A host that shares its log with a group keeps its choice."""
    tmp_path.chmod(0o750)
    with contextlib.closing(Store(tmp_path, 2**30)) as store:
        store.write("toy", b"line\n", {})

    assert tmp_path.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("suffix", ["", ".open", ".gz"])
def test_store_overwrites_no_file(tmp_path: Path, suffix: str) -> None:
    """An earlier process of the same number keeps its files, closed, open or compressed."""
    folder = tmp_path / "toy" / today()
    folder.mkdir(parents=True)
    taken = folder / f"{stem()}-0.jsonl{suffix}"
    taken.write_bytes(gzip.compress(b"old\n"))
    content = taken.read_bytes()

    store = Store(tmp_path, 2**30)
    store.write("toy", b"new\n", {})
    store.close()

    assert taken.read_bytes() == content
    assert (folder / f"{stem()}-1.jsonl").read_text() == "new\n"


def test_store_begins_a_file_at_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has its size is closed, and no line is split."""
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 10)
    store = Store(tmp_path, 2**30)
    for number in range(6):
        store.write("toy", f"line {number}\n".encode(), {})
    store.close()

    assert len(files(tmp_path)) == 3
    assert lines(tmp_path) == [f"line {number}" for number in range(6)]


def test_store_begins_a_file_at_its_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is closed when its hour is over, so that readers soon find it whole."""
    monkeypatch.setattr(module, "MAX_FILE_SECONDS", 0.0)
    store = Store(tmp_path, 2**30)
    store.write("toy", b"one\n", {})
    store.write("toy", b"two\n", {})
    store.close()

    assert len(files(tmp_path)) == 2


def test_store_begins_a_directory_at_midnight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The day is that of the write, in UTC."""

    class Clock(dt.datetime):
        """A clock that a test moves."""

        moment = dt.datetime(2026, 3, 4, 23, 59, 59, tzinfo=dt.UTC)

        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Clock:
            moment = cls.moment.astimezone(tz)
            return cls(*moment.timetuple()[:6], tzinfo=tz)

    monkeypatch.setattr(module, "dt", types.SimpleNamespace(datetime=Clock, UTC=dt.UTC))
    store = Store(tmp_path, 2**30)
    store.write("toy", b"before\n", {})
    Clock.moment += dt.timedelta(seconds=1)
    store.write("toy", b"after\n", {})
    store.close()

    assert [name.split("/")[1] for name in files(tmp_path)] == ["dt=2026-03-04", "dt=2026-03-05"]
    assert lines(tmp_path) == ["before", "after"]


def test_store_leaves_no_empty_file(tmp_path: Path) -> None:
    """A directory that lost its disk is not filled with names."""
    script = """
    import resource, signal, sys
    from pathlib import Path
    from mlembed.telemetry.store import Store

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = Store(Path(sys.argv[1]), 2**30)
    for limit in (0, 5, 100):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        for number in range(3):
            try:
                store.write("toy", f"a line {number}\\n".encode(), {})
            except OSError as error:
                print(error.strerror)
    store.close()
    """

    output = run_script(script, tmp_path).splitlines()

    assert output[:3] == ["File too large"] * 3
    assert len(output) == 6
    assert lines(tmp_path) == ["a line 0", "a line 1", "a line 2"]
    assert len(files(tmp_path)) == 1


def test_store_goes_on_after_a_daemon_closed_all_files(tmp_path: Path) -> None:
    """A host's own file that got the number of ours takes no line, stays open, and none is lost."""
    store = Store(tmp_path / "log", 2**30)
    store.write("toy", b"one\n", {})
    number = store._files["toy"]._descriptor
    os.close(number)
    store.write("toy", b"two\n", {})
    store.close()

    store.write("toy", b"three\n", {})
    number = store._files["toy"]._descriptor
    with (tmp_path / "host.txt").open("wb", buffering=0) as host:
        os.dup2(host.fileno(), number)
        store.write("toy", b"four\n", {})
        store.close()
        os.write(number, b"the host's\n")
        os.close(number)

    assert lines(tmp_path / "log") == ["one", "two", "three", "four"]
    assert (tmp_path / "host.txt").read_text() == "the host's\n"


@pytest.mark.parametrize("closed", [True, False])
def test_store_survives_a_removed_directory(tmp_path: Path, closed: bool) -> None:  # noqa: FBT001
    """Who deletes the log under a running host loses what was in it, and nothing that comes after."""
    store = Store(tmp_path, 2**30)
    store.write("toy", b"one\n", {})
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()

    if closed:
        store.close()
    store.write("toy", b"two\n", {"layout": lambda: b"head\n"})
    store.close()

    assert lines(tmp_path) == ["head", "two"]


def test_store_survives_a_directory_that_is_moved_away(tmp_path: Path) -> None:
    """Who puts the log elsewhere and a copy in its place finds what comes later in a new file."""
    root, moved = tmp_path / "log", tmp_path / "moved"
    store = Store(root, 2**30)
    store.write("toy", b"one\n", {})
    root.rename(moved)
    shutil.copytree(moved, root)
    store.write("toy", b"two\n", {})
    store.close()

    assert lines(moved) == ["one"]
    assert lines(root) == ["one", "two"]
    assert [name.endswith(".open") for name in files(root)] == [True, False]


def test_store_never_takes_a_standard_stream(tmp_path: Path) -> None:
    """A host that closed its streams and opens its own has nothing of the log in them."""
    script = """
    import os, sys
    from pathlib import Path
    from mlembed.telemetry.archive import Archive
    from mlembed.telemetry.store import Store

    folder = Path(sys.argv[1])
    for number in (0, 1, 2):
        os.close(number)
    store = Store(folder / "log", 2**30)
    store.write("toy", b"one\\n", {})
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        assert os.open(folder / name, os.O_RDWR | os.O_CREAT) == number
    os.write(1, b"the host's output")
    os.write(2, b"the host's errors")
    store.write("toy", b"two\\n", {})
    store.close()

    for number in (0, 1, 2):
        os.close(number)
    (path,) = folder.rglob("*.jsonl")
    archive = Archive(folder / "log", 2**30)
    archive.add(path)
    archive.work(lambda *_: None)
    for number in (0, 1, 2):
        assert os.open(folder / "later", os.O_RDWR | os.O_CREAT) == number
    while archive.work(lambda *_: None):
        pass
    """

    run_script(script, tmp_path)

    (path,) = (tmp_path / "log").rglob("*.jsonl.gz")
    assert gzip.decompress(path.read_bytes()) == b"one\ntwo\n"
    texts = [(tmp_path / name).read_text() for name in ("stdin", "stdout", "stderr", "later")]
    assert texts == ["", "the host's output", "the host's errors", ""]


def test_store_of_many_processes(tmp_path: Path) -> None:
    """Each process writes its own files, and no line is torn or lost."""
    script = """
    import os, sys
    from pathlib import Path
    from mlembed.telemetry.store import Store

    children = []
    for child in range(4):
        pid = os.fork()
        if pid == 0:
            store = Store(Path(sys.argv[1]), 2**30)
            for number in range(200):
                store.write("toy", f"{child} {number} {'x' * 500}\\n".encode(), {})
            store.close()
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    """
    run_script(script, tmp_path)

    assert len(files(tmp_path)) == 4
    assert sorted(line.split()[:2] for line in lines(tmp_path)) == sorted(
        [str(child), str(number)] for child in range(4) for number in range(200)
    )
    assert all(line.endswith("x" * 500) for line in lines(tmp_path))


def test_store_abandon_leaves_the_file_to_its_process(tmp_path: Path) -> None:
    """A forked child neither renames nor removes what its parent writes."""
    parent, child = Store(tmp_path, 2**30), Store(tmp_path, 2**30)
    parent.write("toy", b"one\n", {})
    child._files.update(parent._files)

    child.abandon()
    child.close()

    assert files(tmp_path) == [f"toy/{today()}/{stem()}-0.jsonl.open"]
    assert lines(tmp_path) == ["one"]
