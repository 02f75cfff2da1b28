"""The local prediction log: OTLP-JSON lines in files that one process alone writes.

    <root>/<model>/dt=<day>/<host>-<pid>-<seq>.jsonl.open     being written
    <root>/<model>/dt=<day>/<host>-<pid>-<seq>.jsonl          closed, perhaps .gz later

Every line is complete in itself, so a process that dies leaves at most one torn last line.
Days are UTC; files are readable by their owner alone.
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

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_FILE_SECONDS = 3600.0


class LogFile:
    """The file of one model that this process is writing.

    Args:
        folder: Directory of the model.
    """

    def __init__(self, folder: Path) -> None:
        day = dt.datetime.now(dt.UTC).date().isoformat()
        host = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:64]
        self._day = day
        self._deadline = time.monotonic() + MAX_FILE_SECONDS
        self._size = 0
        directory = folder / f"dt={day}"
        # The mode counts for the last directory alone, so each is made by itself.
        for path in (folder.parent, folder, directory):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path, self._file = _create(directory, f"{host}-{os.getpid()}")

    @property
    def is_full(self) -> bool:
        """Whether the next line belongs into a new file."""
        today = dt.datetime.now(dt.UTC).date().isoformat()
        return (
            self._size >= MAX_FILE_BYTES or time.monotonic() >= self._deadline or today != self._day
        )

    def write(self, line: str) -> None:
        """Append *line*, which ends in a newline, and hand it to the system."""
        data = line.encode("utf-8")
        written = self._file.write(data)
        if written != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += len(data)

    def close(self) -> None:
        """Close the file and give it its final name; remove it if it holds no line."""
        self.abandon()
        with contextlib.suppress(OSError):
            if self._size:
                self.path.rename(self.path.with_suffix(""))
            else:
                self.path.unlink()

    def abandon(self) -> None:
        """Close the file and leave it as it is, to the process it belongs to."""
        with contextlib.suppress(OSError):
            self._file.close()


class Store:
    """The log files of this process.

    Args:
        root: Directory of the log.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: dict[str, LogFile] = {}

    def write(self, model: str, line: str) -> None:
        """Append *line* to the log of *model*.

        Raises:
            OSError: If it cannot be written; the next call tries a new file.
        """
        file = self._files.get(model)
        if file is not None and file.is_full:
            self._files.pop(model).close()
            file = None
        if file is None:
            file = self._files[model] = LogFile(self.root / model)
        try:
            file.write(line)
        except OSError:
            self._files.pop(model).close()
            raise

    def close(self) -> None:
        """Close every file."""
        while self._files:
            self._files.popitem()[1].close()

    def abandon(self) -> None:
        """Let go of every file, in a forked child: they are the parent's."""
        while self._files:
            self._files.popitem()[1].abandon()


def _create(directory: Path, stem: str) -> tuple[Path, FileIO]:
    sequence = 0
    while True:
        path = directory / f"{stem}-{sequence}.jsonl.open"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        closed = path.with_suffix("")
        if not (closed.exists() or closed.with_name(f"{closed.name}.gz").exists()):
            with contextlib.suppress(FileExistsError):
                # No buffer: a process forked in mid-write would write the rest a second time.
                return path, os.fdopen(os.open(path, flags, 0o600), "ab", buffering=0)
        sequence += 1
