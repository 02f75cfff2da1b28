"""SQLite connections: one a thread, and none across a fork.

SQLite must not see a connection on both sides of a fork: the child would believe it holds locks
that only its parent has, and the parent could delete the write-ahead log under it. So a fork waits
for the statement that is running, closes every connection, and each side opens its own again. A
connection is not closed while a cursor of it lives, so whoever uses one closes its cursors first.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from typing import TYPE_CHECKING

from mlembed_crm.errors import OutboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_OPEN_ATTEMPTS = 5


class _Slot:
    """One thread's place for a connection, and the lock that a fork takes.

    Its finalizer holds the connection, not a cycle that the slot may end in: Python finalizes the
    parts of a cycle in no set order, and warns of a connection that is finalized open. At exit none
    is closed from another thread, which may be in the midst of a statement: that ends the process.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._held: list[sqlite3.Connection] = []
        weakref.finalize(self, _close, self._held).atexit = False

    @property
    def connection(self) -> sqlite3.Connection | None:
        return self._held[-1] if self._held else None

    def hold(self, connection: sqlite3.Connection) -> None:
        self._held.append(connection)

    def close(self) -> None:
        _close(self._held)

    def __del__(self) -> None:  # once Python ends, no finalizer runs any more
        self.close()


def _close(held: list[sqlite3.Connection]) -> None:
    while held:
        held.pop().close()


_slots: weakref.WeakSet[_Slot] = weakref.WeakSet()
_slots_lock = threading.RLock()
_stopped: list[_Slot] = []


class Connections:
    """The connections of this process to the database *path*.

    Args:
        path: The database file; made with mode 0600 if it does not exist. SQLite gives the files
            beside it the same mode.
        busy_seconds: Longest wait for another writer.
        prepare: Run on every new connection.
    """

    def __init__(
        self, path: Path, busy_seconds: float, prepare: Callable[[sqlite3.Connection], None]
    ) -> None:
        self.path = path
        self._busy_seconds = busy_seconds
        self._prepare = prepare
        self._local = threading.local()

    @contextlib.contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """Lend this thread's connection; no fork happens meanwhile.

        Raises:
            OutboxError: If the database cannot be opened, or SQLite fails inside the block; the
                connection is replaced then.
        """
        slot = getattr(self._local, "slot", None)
        if slot is None:
            with _slots_lock:
                slot = self._local.slot = _Slot()
                _slots.add(slot)
        with slot.lock:
            try:
                with explained(self.path):
                    connection = slot.connection
                    if connection is None:
                        connection = self._open()
                        slot.hold(connection)
                    yield connection
            except OutboxError:
                slot.close()
                raise

    def close(self) -> None:
        """Close this thread's connection; those of other threads close when they end."""
        slot = getattr(self._local, "slot", None)
        if slot is not None:
            with slot.lock:
                slot.close()

    def _open(self) -> sqlite3.Connection:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(
            self.path,
            timeout=self._busy_seconds,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _use_write_ahead_log(connection)
            connection.execute("PRAGMA synchronous=FULL")
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection


@contextlib.contextmanager
def explained(path: Path | str) -> Iterator[None]:
    """Turn what SQLite and the file system raise into an `OutboxError` that names *path*."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise OutboxError(f"outbox {path}: a text holds half a surrogate pair") from error
    except sqlite3.Error as error:
        raise OutboxError(f"outbox {path}: {error}. {_remedy(str(error))}") from error
    except OutboxError:
        raise
    except OSError as error:
        raise OutboxError(
            f"outbox {path}: {error.strerror}. Its directory must exist and be writable"
        ) from error


def _remedy(problem: str) -> str:
    for sign, remedy in (
        ("locked", "Another writer held it too long; raise busy_seconds or end that writer"),
        ("not a database", "This is no SQLite file; name another path or move it aside"),
        ("malformed", "The file is damaged; move it aside and restore a copy"),
        ("readonly", "Make the file and its directory writable for this user"),
        ("full", "Free space on its disk"),
        ("no such table", "Open an Outbox on this database file first"),
    ):
        if sign in problem:
            return remedy
    return "Look at the file, its directory and the disk"


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # SQLite does not wait for this switch as it waits for a writer.
    for attempt in range(_OPEN_ATTEMPTS):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or attempt == _OPEN_ATTEMPTS - 1:
                raise
            threading.Event().wait(0.02 * 2**attempt)
        else:
            return


def _before_fork() -> None:
    _slots_lock.acquire()
    for slot in list(_slots):
        slot.lock.acquire()
        _stopped.append(slot)
        with contextlib.suppress(sqlite3.Error):
            slot.close()


def _after_fork() -> None:
    while _stopped:
        _stopped.pop().lock.release()
    _slots_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
