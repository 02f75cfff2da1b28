"""The journal file of a study: opened whole, shared, and never left to a process that is gone."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING

from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from mlembed.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from optuna.storages import BaseStorage


def open_storage(path: Path | None) -> BaseStorage:
    """Open the journal at *path*, or a storage in memory for None.

    A last line that a killed process or a full disk cut short is dropped: its trial was not
    finished, and is tried again.

    Call it within `using`.
    """
    if path is None:
        return InMemoryStorage()
    path.parent.mkdir(parents=True, exist_ok=True)
    _drop_torn_end(path)
    return JournalStorage(JournalFileBackend(str(path)))


@contextlib.contextmanager
def using(path: Path | None) -> Iterator[None]:
    """Use the journal at *path*.

    Raises:
        DataError: If the file is damaged, or cannot be written.
    """
    try:
        yield
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"the study {path} is damaged ({type(error).__name__}): move it away to begin anew, or "
            "name another file with --study"
        ) from error
    except OSError as error:
        raise DataError(
            f"the study {path} cannot be written ({error.strerror}): name another file with --study"
        ) from error


def _drop_torn_end(path: Path) -> None:
    if not path.exists():
        return
    lock = JournalFileSymlinkLock(str(path))  # the one that the journal's writers hold
    lock.acquire()
    try:
        _truncate_to_lines(path)
    finally:
        lock.release()


def _truncate_to_lines(path: Path) -> None:
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        kept, step = end, 1 << 16
        while kept:
            start = max(0, kept - step)
            file.seek(start)
            newline = file.read(kept - start).rfind(b"\n")
            if newline >= 0:
                kept = start + newline + 1
                break
            kept = start
        if kept < end:
            file.truncate(kept)


def owner() -> str:
    """Return what tells this process from all others, now and later."""
    return f"{socket.gethostname()} {os.getpid()} {_started(os.getpid())}"


def abandoned(name: str) -> bool:
    """Tell whether the process that `owner` called *name* is known to be gone.

    One of another machine cannot be seen from here, and is taken for alive.
    """
    host, _, rest = name.partition(" ")
    pid, _, started = rest.partition(" ")
    if host != socket.gethostname() or not pid.isdigit():
        return not name
    return _started(int(pid)) != started


def _started(pid: int) -> str:
    """Return when process *pid* began, in the words of the system; empty where it is gone.

    Where the system does not tell, "alive" says that there is such a process.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        pass
    if os.path.isdir("/proc/self"):  # noqa: PTH112
        return ""
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"
