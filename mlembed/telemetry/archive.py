"""Compress closed log files, and keep the log below its greatest size.

The work is done a piece at a time, so the writer's thread is never away for long. A file keeps its
name until its compressed form is whole: whoever reads finds one of the two.
"""

from __future__ import annotations

import collections
import contextlib
import gzip
import os
import time
import zlib
from typing import TYPE_CHECKING, BinaryIO

from mlembed.telemetry.events import OUTCOME, PREDICTION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PIECE_BYTES = 256 * 1024
_LEVEL = 1  # base64 hardly gains from more
_GZIP = 31  # zlib's window size that writes a gzip header
_STALE_SECONDS = 2 * 3600.0  # a file is written for an hour at most
_LAST_STANDARD = 2
_CLOSED = (".jsonl", ".jsonl.gz")
_EVENTS = (f'"eventName":"{PREDICTION}"'.encode(), f'"eventName":"{OUTCOME}"'.encode())


class Archive:
    """What becomes of the files of a log once they are closed.

    Args:
        root: Directory of the log.
        max_bytes: Most that all its files may take.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._waiting: collections.deque[Path] = collections.deque()
        self._work: Iterator[None] | None = None
        self._look_due = True

    def add(self, path: Path | None) -> None:
        """Compress *path* when there is time."""
        if path is not None:
            self._waiting.append(path)
        self._look_due = True

    def work(self, lose: Callable[[str, int], None]) -> bool:
        """Do a piece of work; return whether there is more.

        Args:
            lose: Is told why records were removed, and how many.
        """
        if self._work is None:
            if self._waiting:
                self._work = _compress(self._waiting.popleft())
            elif self._look_due:
                self._look_due = False
                self._work = self._make_room(lose)
            else:
                return False
        try:
            next(self._work)
        except StopIteration:
            self._work = None
        except BaseException:
            self._work = None
            raise
        return True

    def stop(self) -> None:
        """Leave what is not done: a closed file is as good as a compressed one."""
        self._waiting.clear()
        self._work = None

    def _make_room(self, lose: Callable[[str, int], None]) -> Iterator[None]:
        """Remove the oldest files, whoever wrote them, until the rest fits."""
        found = sorted(_files(self._root))
        total = sum(size for _, size, _ in found)
        for moment, size, path in found:
            if total <= self._max_bytes:
                return
            stale = time.time() - moment > _STALE_SECONDS
            if not (path.name.endswith(_CLOSED) or stale):
                continue  # somebody is writing it
            yield
            n_records = 0
            with contextlib.suppress(OSError, EOFError, zlib.error):
                for count in _counts(path):
                    n_records += count
                    yield
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                path.unlink()
                lose("disk_cap", n_records)
            total -= size


def _files(root: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield time of the last change, size and path of each file of the log."""
    for path in root.glob("*/dt=*/*.jsonl*"):
        with contextlib.suppress(OSError):
            status = path.stat()
            yield status.st_mtime, status.st_size, path


def _counts(path: Path) -> Iterator[int]:
    """Yield the number of predictions and outcomes in each line of the file at *path*."""
    with contextlib.ExitStack() as stack:
        file: BinaryIO | gzip.GzipFile = stack.enter_context(path.open("rb"))
        if path.suffix == ".gz":
            file = stack.enter_context(gzip.GzipFile(fileobj=file))
        for line in file:
            yield sum(map(line.count, _EVENTS))


def _compress(path: Path) -> Iterator[None]:
    """Replace *path* by its gzip, a piece at a time."""
    part, whole = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.gz")
    try:
        with (
            open(path, "rb", opener=open_apart) as source,
            open(part, "xb", opener=open_apart) as target,
        ):
            packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
            while piece := source.read(_PIECE_BYTES):
                target.write(packer.compress(piece))
                yield
            target.write(packer.flush())
        part.rename(whole)
        path.unlink()
    except FileNotFoundError:
        return  # the log was removed
    finally:
        part.unlink(missing_ok=True)


def open_apart(path: str | Path, flags: int) -> int:
    """Open *path* for its owner alone, never as one of the three standard streams.

    Where a host closed these, their numbers are free, and who opens them anew would write into
    the log or take it away.
    """
    low, descriptor = [], os.open(path, flags, 0o600)
    try:
        while descriptor <= _LAST_STANDARD:
            low.append(descriptor)
            descriptor = os.dup(descriptor)
    finally:
        for taken in low:
            os.close(taken)
    return descriptor
