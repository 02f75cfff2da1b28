"""Write rows later, on one thread a process, in bulk, and account for all of them.

No answer waits for the database, and a batch only for room while it keeps up: what it does not take
is tried again, what finds no room while it is down is dropped and counted. The thread begins with
the first row, never at a fork or an import.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import functools
import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from django.db import DataError, IntegrityError, close_old_connections, connections

from mlembed import forking
from mlembed.telemetry.notices import tell
from mlembed_django.backlog import Backlog, Waiting
from mlembed_django.inserting import explained, insert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.db.models import Model

MAX_BYTES = 16 * 1024 * 1024
ROWS = 500
_FLUSH_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 30.0
_MAX_DOUBLINGS = 32  # far beyond that pause, and within a float
_EXIT_SECONDS = 2.0
_ROOM_SECONDS, _LOOK_SECONDS = 5.0, 0.01
_TOLD_SECONDS, _PATIENCE_SECONDS = 0.5, 30.0
_MANY_ROWS = 20_000
_LATER = "rows are not written yet"
_REFUSED = (DataError, IntegrityError, ValueError, TypeError, OverflowError)


class Writer:
    """The backlog of one database, and the thread that writes it.

    Args:
        using: Alias of the database.
    """

    def __init__(self, using: str) -> None:
        self.using = using
        self._inherited: Any = None
        self._holder = 0
        self._begin()
        _writers.add(self)

    def _begin(self) -> None:
        self._backlog = self._empty()
        self._n_done = 0
        self.lost: collections.Counter[str] = collections.Counter()
        self._told: set[str] = set()
        # A signal's handler may predict while its thread holds it.
        self._starting = threading.RLock()
        self._wake, self._ending = threading.Event(), threading.Event()
        self._writing = threading.RLock()
        self._thread: threading.Thread | None = None
        self._failures = 0
        self._keeps_up = True

    def _empty(self) -> Backlog:
        return Backlog(functools.partial(self.lose, "row"))

    def put(self, n_bytes: int, n_rows: int, make: Callable[[], Iterable[Model]]) -> None:
        """Take rows, to be written within about a second; drop them where there is no room."""
        if not self._backlog.add(Waiting(n_bytes, n_rows, make), MAX_BYTES):
            self.lose("full", n_rows, "more wait than there is room for")
            return
        if not self._is_running():
            self._start()
        if self._backlog.n_waiting >= ROWS and not self._failures:
            self._wake.set()

    def make_room(self, n_bytes: int) -> None:
        """Wait a moment for room, as long as the database keeps up.

        A batch may be one of thousands that a job makes faster than any database writes.
        """
        deadline = time.monotonic() + (_ROOM_SECONDS if self._keeps_up else 0.0)
        while not self._backlog.has_room(n_bytes, MAX_BYTES):
            if self._failures or not self._is_running() or time.monotonic() >= deadline:
                self._keeps_up = False
                return
            self._wake.set()
            time.sleep(_LOOK_SECONDS)
        self._keeps_up = True

    def flush(self, timeout_seconds: float = _EXIT_SECONDS) -> bool:
        """Wait until all that was taken before this call is written; return whether it was."""
        if not self._is_running():
            return self._drain()
        done = self._backlog.mark()
        self._wake.set()
        return done.wait(timeout_seconds)

    def finish(self, hear: Callable[[int], None] | None = None) -> int:
        """Wait until all that was taken before this call is written, as long as the database takes any.

        Args:
            hear: Hears every half second how many rows are left.

        Returns:
            How many rows are left: none, unless for half a minute not one was written.
        """
        if not self._is_running():
            self._drain()
            return self.waiting
        end = self._n_done + self.waiting
        done = self._backlog.mark()
        n_done, since = self._n_done, time.monotonic()
        while self._is_running():
            self._wake.set()
            if done.wait(_TOLD_SECONDS):
                return 0
            if n_done != self._n_done:
                n_done, since = self._n_done, time.monotonic()
            elif time.monotonic() - since > _PATIENCE_SECONDS:
                break
            if hear is not None:
                hear(self._left(end))
        return 0 if done.is_set() else self._left(end)

    def _left(self, end: int) -> int:
        """Return how many rows wait of those up to row *end*; lost ones wait no more."""
        return min(self.waiting, max(0, end - self._n_done))

    def keep_up(self) -> None:
        """Wait where many rows are to be written, as long as the database takes any.

        A run may answer faster than any database writes. No transaction of the caller may be open:
        the writer could wait for that.
        """
        if self.waiting >= _MANY_ROWS and not self._failures:
            self.finish()

    @property
    def waiting(self) -> int:
        """How many rows are taken and not written."""
        return self._backlog.n_rows

    def close(self) -> None:
        """Write what waits, within two seconds, and end the thread; a later row begins anew."""
        thread = self._thread
        if thread is None or not self._is_running():
            self._drain()
        else:
            self._ending.set()
            self._wake.set()
            thread.join(_EXIT_SECONDS)
        left = self.waiting
        if left:
            self.lose("closed", left, "they could not be written before the end")
            self._backlog = self._empty()

    def lose(self, reason: str, n_rows: int, why: object) -> None:
        """Count *n_rows* rows as lost, and say so the first time."""
        self.lost[reason] += n_rows
        self.warn(f"rows are lost ({reason})", why)

    def warn(self, what: str, why: object) -> None:
        """Tell the log, once for each *what*."""
        if what not in self._told:
            self._told.add(what)
            message = "mlembed, database '%s': %s: %s; predictions go on, losses are counted"
            tell(logging.WARNING, message, self.using, what, explained(why, self.using))

    def _is_running(self) -> bool:
        thread = self._thread
        return thread is not None and thread.is_alive()

    def _start(self) -> None:
        with self._starting:
            if not self._is_running():
                self._ending.clear()
                thread = threading.Thread(target=self._run, name="mlembed-rows", daemon=True)
                with contextlib.suppress(RuntimeError):  # then flush or close write
                    thread.start()
                    self._thread = thread

    def _run(self) -> None:
        while not self._ending.is_set():
            pause = _FLUSH_SECONDS * 2.0 ** min(self._failures, _MAX_DOUBLINGS)
            self._wake.wait(min(pause, _MAX_PAUSE_SECONDS))
            self._wake.clear()
            with self._writing, contextlib.suppress(Exception):  # whatever a connection raises
                close_old_connections()
                self._drain()
                close_old_connections()
                self._inherited = connections[self.using].connection  # see `forget_parent`
        self._drain()
        with contextlib.suppress(Exception):
            connections.close_all()
        self._thread = None

    def _drain(self) -> bool:
        """Write all that waits; return False where the database did not take it."""
        with self._writing:
            try:
                while self._backlog.take(ROWS):
                    self._write()
                    self._backlog.settle()
            except Exception as error:  # noqa: BLE001  it stays in hand, whatever failed
                self._failures += 1
                self.warn(_LATER, error)
                return False
        self._failures = 0
        self._told.discard(_LATER)
        return True

    def _write(self) -> None:
        by_model: dict[type[Model], list[Model]] = {}
        for row in self._backlog.in_hand:
            by_model.setdefault(type(row), []).append(row)
        for rows in by_model.values():
            try:
                insert(rows, self.using)
            except _REFUSED:
                self._write_each(rows)
            self._n_done += len(rows)
            self._backlog.written(rows)

    def _write_each(self, rows: list[Model]) -> None:
        for row in rows:
            try:
                insert([row], self.using)
            except _REFUSED as error:
                self.lose("refused", 1, error)

    def hold_still(self) -> None:
        """Let nothing be written until `go_on`, so that no fork tears a statement in two.

        What a driver has locked at that moment would stay locked in the child for good.
        """
        if self._writing.acquire(timeout=_EXIT_SECONDS):
            self._holder = threading.get_ident()

    def go_on(self) -> None:
        """End `hold_still`."""
        if self._holder == threading.get_ident():
            self._holder = 0
            self._writing.release()

    def forget_parent(self) -> None:
        """Begin anew in a forked child: what waits is the parent's to write."""
        _kept.append(self._inherited)
        self._holder = 0
        self._begin()


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()
# Closing a connection in a child ends it for the parent: what was inherited is kept for good.
_kept: list[Any] = []


def _close_all() -> None:
    deadline = time.monotonic() + _EXIT_SECONDS
    for writer in list(_writers):
        if time.monotonic() < deadline:
            writer.close()


def _before_fork() -> None:
    for writer in list(_writers):
        writer.hold_still()


def _after_in_parent() -> None:
    for writer in list(_writers):
        writer.go_on()


def _after_in_child() -> None:
    for writer in list(_writers):
        writer.forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent)
atexit.register(_close_all)
forking.in_child(_after_in_child)
