"""Take records from the host's threads and write them later, on one thread a process.

`append` never blocks, never raises and takes no lock the writer holds. What cannot be kept is
counted with its reason, never silently lost.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from mlembed.telemetry.bridge import HostTelemetry
from mlembed.telemetry.events import Entry, Outcome, log_line, outcome_record, prediction_record
from mlembed.telemetry.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlembed.settings import Settings

_LOG = logging.getLogger("mlembed")
_BATCH = 512
_ENTRY_BYTES = 1024  # a generous bound of one waiting entry with its row and strings
_EXIT_SECONDS = 2.0
_ON = "; predictions go on, losses are counted"
_WARNINGS = {
    "store": "mlembed cannot write its prediction log in %s (%s)" + _ON,
    "record": "mlembed cannot describe some predictions for the log in %s (%s)" + _ON,
    "otel": "the host's OpenTelemetry failed beside the prediction log in %s (%s)" + _ON,
}

T = TypeVar("T")
R = TypeVar("R")

_recorders: dict[tuple[object, ...], Recorder] = {}
_registry_lock = threading.Lock()


class Recorder:
    """The queue and the writer thread of one log directory.

    Args:
        settings: Where to write, how much may wait and for how long.

    Attributes:
        dropped: Records lost so far, by reason.
        bridge: The host's OpenTelemetry.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.dropped: collections.Counter[str] = collections.Counter()
        self.bridge = HostTelemetry(export_features=settings.export_features)
        self._limit = max(64, settings.queue_bytes // _ENTRY_BYTES)
        self._store = Store(settings.log_dir)
        self._start_empty()

    def _start_empty(self) -> None:
        self._queue: collections.deque[Entry | Outcome | threading.Event] = collections.deque()
        self._append = self._queue.append
        self._batch_bytes = 0
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._start = threading.Lock()
        self._writing = threading.Lock()
        # Held for an addition alone; a signal's handler may predict while its thread holds it.
        self._counting = threading.RLock()
        self._thread: threading.Thread | None = None
        self._warned: set[str] = set()

    def append(self, item: Entry | Outcome) -> None:
        """Take *item* to be written later; drop and count it where too much waits."""
        if len(self._queue) >= self._limit:
            self._count("queue_full", 1)
            return
        self._append(item)
        if self._thread is None:
            self._start_thread()

    def append_batch(self, entries: Iterable[Entry]) -> None:
        """Take the events of a batch, as `append` does; their rows count with their true size."""
        for entry in entries:
            size = _row_bytes(entry)
            with self._counting:
                fits = self._batch_bytes + size <= self.settings.queue_bytes
                fits = fits and len(self._queue) < self._limit
                self._batch_bytes += size * fits
            if fits:
                self.append(entry)
            else:
                self._count("queue_full", 1)

    def flush(self, timeout_seconds: float = _EXIT_SECONDS) -> bool:
        """Wait until all that was taken before this call is written.

        Args:
            timeout_seconds: Longest wait.

        Returns:
            Whether it was.
        """
        thread = self._thread
        if thread is None or not thread.is_alive():
            return self._drain(timeout_seconds)
        done = threading.Event()
        self._append(done)
        self._wake.set()
        return done.wait(timeout_seconds)

    def close(self) -> None:
        """Write what waits, within two seconds, give the files their names and end the thread.

        A later `append` begins anew.
        """
        thread = self._thread
        if thread is not None and thread.is_alive():
            self._ending.set()
            self._wake.set()
            thread.join(_EXIT_SECONDS)
            if thread.is_alive():
                return
        if self._drain(_EXIT_SECONDS):
            with self._writing:
                self._store.close()

    def _start_thread(self) -> None:
        with self._start:
            if self._thread is None:
                self._look()
                self._ending.clear()
                thread = threading.Thread(
                    target=self._write_forever, name="mlembed-writer", daemon=True
                )
                # Where no thread can be had, what waits is written by flush, close or at exit.
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _write_forever(self) -> None:
        while not self._ending.is_set():
            self._wake.wait(self.settings.flush_seconds)
            self._wake.clear()
            self._drain()
        self._thread = None

    def _drain(self, timeout_seconds: float = -1.0) -> bool:
        if not self._writing.acquire(timeout=timeout_seconds):
            return False
        try:
            self._look()
            while self._queue:
                self._write_some()
        finally:
            self._writing.release()
        return True

    def _look(self) -> None:
        before = self.bridge.found
        try:
            self.bridge.look()
        except Exception as error:  # noqa: BLE001  the host's provider may raise anything
            self._warn("otel", error)
        if self.bridge.found != before:
            # What is registered last runs first: before the host's own providers shut down.
            atexit.unregister(_close_all)
            atexit.register(_close_all)

    def _write_some(self) -> None:
        entries: dict[str, list[Entry]] = {}
        outcomes: dict[str, list[Outcome]] = {}
        flushed = []
        for _ in range(min(_BATCH, len(self._queue))):
            item = self._queue.popleft()
            if isinstance(item, Entry):
                entries.setdefault(item.source.name, []).append(item)
            elif isinstance(item, Outcome):
                outcomes.setdefault(item.model, []).append(item)
            else:
                flushed.append(item)
        for model in sorted({*entries, *outcomes}):
            self._write(model, entries.get(model, []), outcomes.get(model, []))
        with self._counting:
            self._batch_bytes -= sum(_row_bytes(e) for some in entries.values() for e in some)
        for event in flushed:
            event.set()

    def _write(self, model: str, entries: list[Entry], outcomes: list[Outcome]) -> None:
        entries = [self._traced(entry) for entry in entries]
        records = self._each(prediction_record, entries, "record")
        records += self._each(outcome_record, outcomes, "record")
        try:
            if records:
                self._store.write(model, log_line(records))
        except Exception as error:  # noqa: BLE001  a log must never end its writer
            self._lose("store", len(records), error)
        self._each(self.bridge.log_prediction, entries, "otel")
        self._each(self.bridge.log_outcome, outcomes, "otel")
        try:
            self.bridge.count(entries, outcomes, self.dropped)
        except Exception as error:  # noqa: BLE001  idem
            self._lose("otel", 1, error)

    def _traced(self, entry: Entry) -> Entry:
        try:
            return self.bridge.trace(entry)
        except Exception as error:  # noqa: BLE001  the local log is written whatever the host does
            self._lose("otel", 1, error)
            return entry

    def _each(self, function: Callable[[T], R], items: Iterable[T], place: str) -> list[R]:
        """Return what *function* makes of each item; one that fails spoils no other."""
        results = []
        for item in items:
            try:
                results.append(function(item))
            except Exception as error:  # noqa: BLE001  idem
                self._lose(place, 1, error)
        return results

    def _lose(self, place: str, count: int, error: Exception) -> None:
        self._count(f"{place}_{type(error).__name__}", count)
        self._warn(place, error)

    def _count(self, reason: str, count: int) -> None:
        with self._counting:
            self.dropped[reason] += count

    def _warn(self, place: str, error: Exception) -> None:
        if place not in self._warned:
            self._warned.add(place)
            # Only the system's own words are known to hold no value of a record.
            why = str(error) if isinstance(error, OSError) else type(error).__name__
            _LOG.warning(_WARNINGS[place], self.settings.log_dir, why)

    def forget_parent(self) -> None:
        """Begin anew in a forked child: what waits is the parent's to write."""
        self._store.abandon()
        self._store = Store(self.settings.log_dir)
        self.dropped.clear()
        self.bridge.forget_parent()
        self._start_empty()


def recorder_for(settings: Settings) -> Recorder:
    """Return this process's recorder for *settings*; those that log alike share one."""
    alike = (settings.log_dir, settings.export_features, settings.queue_bytes)
    key = (*alike, settings.flush_seconds)
    with _registry_lock:
        recorder = _recorders.get(key)
        if recorder is None:
            recorder = _recorders[key] = Recorder(settings)
        return recorder


def _row_bytes(entry: Entry) -> int:
    return 0 if entry.row is None or isinstance(entry.row, bytes) else entry.row.nbytes


def _close_all() -> None:
    deadline = time.monotonic() + _EXIT_SECONDS
    for recorder in list(_recorders.values()):
        if time.monotonic() < deadline:
            recorder.close()


def _after_fork() -> None:
    global _registry_lock  # noqa: PLW0603  a lock held by a thread that is gone stays locked
    _registry_lock = threading.Lock()
    for recorder in _recorders.values():
        recorder.forget_parent()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
