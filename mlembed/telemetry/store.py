"""The local prediction log: OTLP-JSON lines in files that one process alone writes.

    <root>/<model>/dt=<day>/<host>-<pid>-<seq>.jsonl.open     being written
    <root>/<model>/dt=<day>/<host>-<pid>-<seq>.jsonl          closed
    <root>/<model>/dt=<day>/<host>-<pid>-<seq>.jsonl.gz       compressed

Every line is complete in itself, so a process that dies leaves at most one torn last line, and
what the rows of a bundle mean stands in each file before the first of them. Days are UTC; files
are readable by their owner alone.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import os
import re
import socket
import time
from typing import TYPE_CHECKING

from mlembed.telemetry.archive import Archive, open_apart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Heads = Mapping[str, Callable[[], bytes]]

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_FILE_SECONDS = 3600.0


class LogFile:
    """The file of one model that this process is writing.

    Args:
        folder: Directory of the model.

    Attributes:
        described: Layouts whose meaning stands in the file.
    """

    def __init__(self, folder: Path) -> None:
        day = dt.datetime.now(dt.UTC).date().isoformat()
        host = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:64]
        self._day = day
        self._deadline = time.monotonic() + MAX_FILE_SECONDS
        self._size = 0
        self.described: set[str] = set()
        directory = folder / f"dt={day}"
        # The mode counts for the last directory alone, so each is made by itself.
        for path in (folder.parent, folder, directory):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path, self._descriptor = _create(directory, f"{host}-{os.getpid()}")
        self._identity = _identity(os.fstat(self._descriptor))

    @property
    def is_over(self) -> bool:
        """Whether the next line belongs into a new file: this one is full, or was taken away."""
        today = dt.datetime.now(dt.UTC).date().isoformat()
        return (
            self._size >= MAX_FILE_BYTES
            or time.monotonic() >= self._deadline
            or today != self._day
            or not (self._is_open and self._is_there)
        )

    @property
    def _is_open(self) -> bool:
        """Whether the descriptor is still that of the file: a daemon closes and reuses all."""
        with contextlib.suppress(OSError):
            return _identity(os.fstat(self._descriptor)) == self._identity
        return False

    @property
    def _is_there(self) -> bool:
        """Whether the file still has its name: whoever looks after the disk may take it away."""
        with contextlib.suppress(OSError):
            return _identity(self.path.stat()) == self._identity
        return False

    def write(self, data: bytes) -> None:
        """Append *data*, which ends in a newline, and hand it to the system."""
        written = os.write(self._descriptor, data)
        if written != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += len(data)

    def close(self) -> Path | None:
        """Close the file and return it under its final name; remove it if it holds no line."""
        self.abandon()
        with contextlib.suppress(OSError):
            if not self._is_there:
                return None
            if self._size:
                return self.path.rename(self.path.with_suffix(""))
            self.path.unlink()
        return None

    def abandon(self) -> None:
        """Close the file and leave it as it is, to the process it belongs to."""
        if self._is_open:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)


class Store:
    """The log files of this process.

    Args:
        root: Directory of the log.
        max_bytes: Most that all files below *root* may take.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self.root = root
        self._files: dict[str, LogFile] = {}
        self._archive = Archive(root, max_bytes)

    def write(self, model: str, line: bytes, heads: Heads) -> None:
        """Append *line* to the log of *model*.

        Args:
            model: Name of the model.
            line: One line or more.
            heads: For each layout of its rows, what gives the line that must stand before it.

        Raises:
            OSError: If it cannot be written; the next call tries a new file.
        """
        file = self._files.get(model)
        if file is not None and file.is_over:
            self._archive.add(self._files.pop(model).close())
            file = None
        if file is None:
            file = self._files[model] = LogFile(self.root / model)
        try:
            for layout in heads.keys() - file.described:
                file.write(heads[layout]())
                file.described.add(layout)
            file.write(line)
        except OSError:
            self._files.pop(model).close()
            raise

    def tidy(self, lose: Callable[[str, int], None]) -> bool:
        """Compress a piece of what is closed, or remove what is too much; return whether more waits.

        Args:
            lose: Is told why records were removed, and how many.

        Raises:
            OSError: If a file can be neither compressed nor removed; it is left as it is.
        """
        return self._archive.work(lose)

    def close(self) -> None:
        """Close every file."""
        while self._files:
            self._files.popitem()[1].close()
        self._archive.stop()

    def abandon(self) -> None:
        """Let go of every file, in a forked child: they are the parent's."""
        while self._files:
            self._files.popitem()[1].abandon()


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _create(directory: Path, stem: str) -> tuple[Path, int]:
    sequence = 0
    while True:
        path = directory / f"{stem}-{sequence}.jsonl.open"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        closed = path.with_suffix("")
        if not (closed.exists() or closed.with_name(f"{closed.name}.gz").exists()):
            with contextlib.suppress(FileExistsError):
                # No buffer: a process forked in mid-write would write the rest a second time.
                return path, open_apart(path, flags)
        sequence += 1
