"""Closed files are compressed and old ones removed, a piece at a time, and each loss is counted."""

from __future__ import annotations

import collections
import gzip
import os
import time
from typing import TYPE_CHECKING

import pytest

from mlembed.telemetry import archive as module
from mlembed.telemetry.archive import Archive

if TYPE_CHECKING:
    from pathlib import Path

LINE = b'{"eventName":"mlembed.prediction"}\n'


def log_file(root: Path, name: str, n_lines: int, age_seconds: float = 0.0) -> Path:
    """Write a log file of so many events."""
    path = root / "toy" / "dt=2026-11-01" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = LINE * n_lines
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    moment = time.time() - age_seconds
    os.utime(path, (moment, moment))
    return path


def work(archive: Archive) -> collections.Counter[str]:
    """Do all the work there is; return what was lost."""
    lost: collections.Counter[str] = collections.Counter()

    def lose(reason: str, n_records: int) -> None:
        lost[reason] += n_records

    while archive.work(lose):
        pass
    return lost


def test_closed_file_is_compressed(tmp_path: Path) -> None:
    """Its content is the same, its mode the owner's alone, and the plain file is gone."""
    path = log_file(tmp_path, "h-1-0.jsonl", 50_000)
    archive = Archive(tmp_path, 2**30)
    archive.add(path)

    assert not work(archive)

    (packed,) = path.parent.iterdir()
    assert packed.name == "h-1-0.jsonl.gz"
    assert gzip.decompress(packed.read_bytes()) == LINE * 50_000
    assert packed.stat().st_mode & 0o777 == 0o600


def test_work_is_done_in_pieces(tmp_path: Path) -> None:
    """A reader between two pieces finds the plain file whole, and no name it would read but that."""
    path = log_file(tmp_path, "h-1-0.jsonl", 50_000)
    archive = Archive(tmp_path, 2**30)
    archive.add(path)
    seen = []
    while archive.work(lambda *_: None):
        seen.append(sorted(p.name for p in path.parent.iterdir() if not p.name.endswith(".part")))

    assert len(seen) > 50_000 * len(LINE) // module._PIECE_BYTES
    assert seen[0] == ["h-1-0.jsonl"]
    assert {tuple(names) for names in seen} == {("h-1-0.jsonl",), ("h-1-0.jsonl.gz",)}


def test_a_file_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    """Who deletes the log under a running host may."""
    archive = Archive(tmp_path, 2**30)
    archive.add(tmp_path / "gone.jsonl")
    archive.add(log_file(tmp_path, "h-1-1.jsonl", 3))

    work(archive)

    assert [p.name for p in tmp_path.rglob("*.gz")] == ["h-1-1.jsonl.gz"]
    assert not list(tmp_path.rglob("*.part"))


def test_full_disk_leaves_the_plain_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be compressed stays as it was, and nothing half written stays beside it."""
    path = log_file(tmp_path, "h-1-0.jsonl", 50_000)
    archive = Archive(tmp_path, 2**30)
    archive.add(path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError, match="No space left"):
        work(archive)
    monkeypatch.undo()

    assert [p.name for p in path.parent.iterdir()] == ["h-1-0.jsonl"]
    assert not work(archive)


def test_oldest_files_make_room(tmp_path: Path) -> None:
    """Beyond the cap the oldest go first, of any process, and their records are counted."""
    old = log_file(tmp_path, "other-9-0.jsonl", 30_000, age_seconds=900)
    older = log_file(tmp_path, "h-1-0.jsonl.gz", 40_000, age_seconds=1_000)
    new = log_file(tmp_path, "h-1-1.jsonl", 30_000, age_seconds=10)
    archive = Archive(tmp_path, new.stat().st_size + 1_000)

    lost = work(archive)

    assert lost == {"disk_cap": 70_000}
    assert not old.exists()
    assert not older.exists()
    assert new.exists()


def test_open_files_are_left_unless_stale(tmp_path: Path) -> None:
    """A file that somebody is writing is nobody's to remove; one left by a dead process is."""
    written = log_file(tmp_path, "h-1-0.jsonl.open", 30_000, age_seconds=600)
    stale = log_file(tmp_path, "h-2-0.jsonl.open", 10_000, age_seconds=10_000)

    lost = work(Archive(tmp_path, 1_000))

    assert lost == {"disk_cap": 10_000}
    assert written.exists()
    assert not stale.exists()


def test_nothing_is_removed_below_the_cap(tmp_path: Path) -> None:
    """A log within its size keeps every file, and asks the disk once."""
    log_file(tmp_path, "h-1-0.jsonl", 10, age_seconds=10**6)
    archive = Archive(tmp_path, 1_000_000)

    assert not work(archive)
    assert len(list(tmp_path.rglob("*.jsonl"))) == 1
    assert not archive.work(lambda *_: None)
