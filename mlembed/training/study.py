"""The journal file of a study: shared, mended where it was torn, refused where it is damaged.

A line that a killed process or a full disk cut short was never read by anyone, so it is dropped
before the next one is written; nothing else in the file is ever changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileSymlinkLock

from mlembed.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

    from optuna.storages import BaseStorage

_START = b'{"op_code":'
_ENDS = "datetime_complete"
_PROCESSES = Path("/proc")


def open_storage(path: Path | None) -> BaseStorage:
    """Open the journal at *path*, or a storage in memory for None; call it within `using`.

    Raises:
        DataError: If there is a file that is no study, or one that is damaged.
    """
    if path is None:
        return InMemoryStorage()
    path.parent.mkdir(parents=True, exist_ok=True)
    _require_journal(path)
    try:
        return JournalStorage(_Journal(path))
    except OSError:
        raise
    except Exception as error:
        raise _damaged(path, error) from error


@contextlib.contextmanager
def using(path: Path | None) -> Iterator[None]:
    """Use the journal at *path*.

    Raises:
        DataError: If the file is damaged, or cannot be written.
    """
    try:
        yield
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise DataError(
            f"the study {path} cannot be written ({error.strerror}): name another file with --study"
        ) from error


def require_usable(path: Path) -> None:
    """Open the journal at *path* and let it be, so that nobody waits for what cannot be kept.

    Raises:
        DataError: If the file is damaged or no study, or cannot be written.
    """
    with using(path):
        open_storage(path)


class _Journal(BaseJournalBackend):
    """A journal of whole lines, read and written by one process at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ends = [0]  # where each line that was read ends
        path.open("ab").close()

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """Read the lines from number *log_number_from*, one of those that were read or the next."""
        with self._locked() as file:
            file.seek(self._ends[log_number_from])
            *lines, _ = file.readall().split(b"\n")
        found = [json.loads(line) for line in lines]
        del self._ends[log_number_from + 1 :]
        for line in lines:
            self._ends.append(self._ends[-1] + len(line) + 1)
        return found

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append *logs*, whole or not at all."""
        lines = "".join(f"{json.dumps(log, separators=(',', ':'))}\n" for log in logs)
        with self._locked() as file:
            end = _whole(file)
            file.truncate(end)
            file.seek(end)
            try:
                _write(file, lines.encode())
            except BaseException:
                file.truncate(end)
                raise
            if any(_ENDS in log for log in logs):  # what is lost with a machine was not finished
                os.fsync(file.fileno())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[FileIO]:
        """Open the file and hold it against others.

        The system's own lock goes with a process that is killed; a link stands for it where the
        disk has none.
        """
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(self._path.open("r+b", buffering=0))
            try:
                _lock(file)
            except OSError:
                link = JournalFileSymlinkLock(str(self._path))
                link.acquire()
                stack.callback(link.release)
            yield file


def _lock(file: FileIO) -> None:
    if os.name != "posix":  # pragma: no cover
        raise OSError
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX)


def _write(file: FileIO, data: bytes) -> None:
    """Write all of *data*: an unbuffered file may take a part, as where the disk is nearly full."""
    while data:
        data = data[file.write(data) :]


def _whole(file: FileIO) -> int:
    """Return where the last whole line of *file* ends."""
    kept = file.seek(0, os.SEEK_END)
    step = 1 << 16
    while kept:
        start = max(0, kept - step)
        file.seek(start)
        newline = file.read(kept - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        kept = start
    return 0


def _require_journal(path: Path) -> None:
    """Refuse a file that someone keeps for another purpose: its last line is not ours to drop."""
    if not path.exists():
        return
    head = b""
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(len(_START))
    if not (path.is_file() and _START.startswith(head)):
        raise DataError(f"{path} is no study: name another file with --study")


def _damaged(path: Path | None, error: Exception) -> DataError:
    return DataError(
        f"the study {path} is damaged ({type(error).__name__}): move it away to begin anew, or "
        "name another file with --study"
    )


def owner() -> str:
    """Return what tells this thread of this process from all others, now and later."""
    pid = os.getpid()
    return f"{socket.gethostname()} {pid} {_started(pid)} {threading.get_ident()}"


def abandoned(name: str) -> bool:
    """Tell whether the process that `owner` called *name* is known to be gone.

    One of another machine cannot be seen from here, and is taken for alive.
    """
    host, *words = name.split(" ")
    if host != socket.gethostname() or not words:
        return not name
    return _started(int(words[0])) != words[1]


def _started(pid: int) -> str:
    """Return when process *pid* began, in the words of the system; empty where it is gone.

    Where the system does not tell, "alive" says that there may be such a process.
    """
    if (_PROCESSES / "self").exists():
        try:
            text = (_PROCESSES / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return ""
        state, *fields = text.rpartition(")")[2].split()
        return "" if state in "ZX" else fields[18]
    if os.name != "posix":  # pragma: no cover  asking Windows in this way would end the process
        return "alive"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "alive"
