"""Take records from the host's threads and write them later, on one thread a process.

`append` never blocks, never raises and takes no lock the writer holds. What cannot be kept is
counted with its reason, never silently lost.
"""

from __future__ import annotations

import atexit
import collections
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from mlembed.telemetry.bridge import HostTelemetry
from mlembed.telemetry.events import Entry, Outcome, log_line, outcome_record, prediction_record
from mlembed.telemetry.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.settings import Settings

_LOG = logging.getLogger("mlembed")
_BATCH = 512
_ENTRY_BYTES = 1024  # a generous bound of one waiting entry with its row and strings
_EXIT_SECONDS = 2.0

_recorders: dict[Path, Recorder] = {}
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
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._start = threading.Lock()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._warned = False

    def append(self, item: Entry | Outcome) -> None:
        """Take *item* to be written later; drop and count it where too much waits."""
        if len(self._queue) >= self._limit:
            self.dropped["queue_full"] += 1
            return
        self._append(item)
        if self._thread is None:
            self._start_thread()

    def flush(self, timeout_seconds: float = _EXIT_SECONDS) -> bool:
        """Wait until all that was taken before this call is written.

        Args:
            timeout_seconds: Longest wait.

        Returns:
            Whether it was.
        """
        if self._thread is None or not self._thread.is_alive():
            self._drain()
            return True
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
        if thread is None or not thread.is_alive():
            self._drain()
            with self._writing:
                self._store.close()

    def _start_thread(self) -> None:
        with self._start:
            if self._thread is None:
                self.bridge.look()
                self._ending.clear()
                self._thread = threading.Thread(
                    target=self._write_forever, name="mlembed-writer", daemon=True
                )
                self._thread.start()

    def _write_forever(self) -> None:
        while not self._ending.is_set():
            self._wake.wait(self.settings.flush_seconds)
            self._wake.clear()
            self._drain()
        self._thread = None

    def _drain(self) -> None:
        with self._writing:
            self._write_waiting()

    def _write_waiting(self) -> None:
        self.bridge.look()
        while self._queue:
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
            for event in flushed:
                event.set()

    def _write(self, model: str, entries: list[Entry], outcomes: list[Outcome]) -> None:
        count = len(entries) + len(outcomes)
        try:
            entries = [self.bridge.trace(entry) for entry in entries]
            records = [prediction_record(entry) for entry in entries]
            records += [outcome_record(outcome) for outcome in outcomes]
            self._store.write(model, log_line(records))
        except Exception as error:  # noqa: BLE001  a log must never end its writer
            self._lose("store_" + type(error).__name__, count, error)
        try:
            self.bridge.emit(entries, outcomes, self.dropped)
        except Exception as error:  # noqa: BLE001
            self._lose("otel_" + type(error).__name__, count, error)

    def _lose(self, reason: str, count: int, error: Exception) -> None:
        self.dropped[reason] += count
        if not self._warned:
            self._warned = True
            _LOG.warning(
                "mlembed cannot keep its prediction log in %s (%s); predictions go on, losses "
                "are counted",
                self.settings.log_dir,
                error,
            )

    def forget_parent(self) -> None:
        """Begin anew in a forked child: what waits is the parent's to write."""
        self._store = Store(self.settings.log_dir)
        self.dropped.clear()
        self._start_empty()


def recorder_for(settings: Settings) -> Recorder:
    """Return this process's recorder of the log directory in *settings*."""
    with _registry_lock:
        recorder = _recorders.get(settings.log_dir)
        if recorder is None:
            recorder = _recorders[settings.log_dir] = Recorder(settings)
        return recorder


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
