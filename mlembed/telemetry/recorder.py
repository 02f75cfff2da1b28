"""Write what the host's threads predict later, on one thread a process, and account for all of it."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import logging
import math
import threading
import time
from typing import TYPE_CHECKING, Any

from mlembed import forking
from mlembed.telemetry.bridge import HostTelemetry
from mlembed.telemetry.events import Outcome
from mlembed.telemetry.intake import Intake, Lot, Sized
from mlembed.telemetry.notices import tell
from mlembed.telemetry.store import Store
from mlembed.telemetry.writer import Writer

if TYPE_CHECKING:
    from mlembed.settings import Settings
    from mlembed.telemetry.block import Slots
    from mlembed.telemetry.events import Call
    from mlembed.telemetry.source import Source

_BATCH = 256  # written without letting go of the interpreter: under a millisecond
_EXIT_SECONDS = 2.0

_ON = "; predictions go on, losses are counted"
_WARNINGS = {
    "store": "mlembed cannot write its prediction log in %s (%s)" + _ON,
    "record": "mlembed cannot describe some predictions for the log in %s (%s)" + _ON,
    "otel": "the host's OpenTelemetry failed beside the prediction log in %s (%s)" + _ON,
    "tidy": "mlembed cannot compress or remove old files of its log in %s (%s)" + _ON,
}
_recorders: dict[tuple[object, ...], Recorder] = {}
_registry_lock = threading.RLock()  # a signal's handler may load a model, too


class Recorder(Intake):
    """The intake and the writer thread of one log directory.

    Args:
        settings: Where to write, how much may wait and for how long.

    Attributes:
        bridge: The host's OpenTelemetry.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.queue_bytes)
        self.settings = settings
        self.bridge = HostTelemetry(export_features=settings.export_features)
        self._begin()

    def _begin(self) -> None:
        self._store = Store(self.settings.log_dir, self.settings.log_bytes)
        self._wake = threading.Event()
        self._ending = threading.Event()
        # A signal's handler may predict while its thread starts the writer's.
        self._start = threading.RLock()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._writer = Writer(self._store, self.bridge, self._lose)
        self._warned: set[str] = set()
        self._is_over = False

    def _wake_writer(self) -> None:
        if self._is_over:
            self._finish()
            return
        if self._thread is None:
            self._start_thread()
        self.soft_bytes = self.much_bytes if self._thread is not None else 0
        if self.waiting_bytes >= self.much_bytes and not self._wake.is_set():
            self._wake.set()

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
        self.queue.append(done)
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
        self._finish()

    def end(self) -> None:
        """Close; what is still taken while the interpreter ends is written by who predicts."""
        self._is_over = True
        self.close()

    def _finish(self) -> None:
        self.close_blocks()  # or a later prediction would wait there, and nobody come
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
                if self._thread is not None:  # a signal's handler was faster
                    return
                # Where no thread can be had, what waits is written by flush, close or at exit.
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _write_forever(self) -> None:
        while not self._ending.is_set():
            self._wake.wait(self.settings.flush_seconds)
            self._wake.clear()
            try:
                self._drain()
                self._tidy()
            except Exception as error:  # noqa: BLE001  not even a lack of memory ends it
                self._lose("record", 0, error)
        self.soft_bytes = 0
        self._thread = None

    def _drain(self, timeout_seconds: float = -1.0) -> bool:
        if not self._writing.acquire(timeout=timeout_seconds):
            return False
        deadline = math.inf if timeout_seconds < 0 else time.monotonic() + timeout_seconds
        try:
            self._look()
            self._write_blocks()
            while self.queue:
                if time.monotonic() > deadline:
                    return False
                self._write_some()
            self._widest = 1
            self._writer.settle()
        finally:
            self._writing.release()
        return True

    def _tidy(self) -> None:
        """Compress and remove old files while nothing waits to be written."""
        with self._writing:
            while not (self._ending.is_set() or self._wake.is_set()):
                try:
                    if not self._store.tidy(self._count):
                        return
                except Exception as error:  # noqa: BLE001  a log must never end its writer
                    self._lose("tidy", 0, error)
                    return

    def _look(self) -> None:
        before = self.bridge.found
        try:
            self.bridge.look()
        except Exception as error:  # noqa: BLE001  the host's provider may raise anything
            self._warn("otel", error)
        self.trace_each(self.bridge.traces or self._is_over)
        if self.bridge.found != before:
            # What is registered last runs first: before the host's own providers shut down.
            atexit.unregister(_close_all)
            atexit.register(_close_all)

    def _write_blocks(self) -> None:
        """Write what stands in blocks; let go of those that are full or left by their owners."""
        self.close_sinks()
        waiting: dict[Source, list[Slots]] = {}
        for _ in range(len(self.blocks)):
            block = self.blocks.popleft()
            is_left = block.is_left  # asked first: what was written before is taken
            slots = block.take()
            if is_left:
                self.let_go(block)
            else:
                self.blocks.append(block)
            if block.source is None or slots.start == slots.stop:
                continue
            parts = waiting.setdefault(block.source, [])
            parts.append(slots)
            if sum(slots.stop - slots.start for slots in parts) >= _BATCH:
                self._writer.write_slots(block.source, waiting.pop(block.source), self.dropped)
        for source, parts in waiting.items():
            self._writer.write_slots(source, parts, self.dropped)

    def _write_some(self) -> None:
        items: list[Any] = []
        lot: Lot | None = None
        for _ in range(min(_BATCH, len(self.queue))):
            item = self.queue.popleft()
            if isinstance(item, Lot):
                lot = item
                break
            items.append(item)
        if items:
            self._write_items(items)
        if lot is not None:
            try:
                while some := list(itertools.islice(lot.calls, _BATCH)):
                    self._writer.write({some[0][0]: some}, (), self.dropped)
            finally:
                self._free(lot.n_bytes)

    def _write_items(self, items: list[Any]) -> None:
        calls: dict[Source, list[Call]] = {}
        outcomes: list[Outcome] = []
        flushed: list[threading.Event] = []
        freed = 0
        for item in items:
            if type(item) is tuple:
                calls.setdefault(item[0], []).append(item)
            elif isinstance(item, Sized):
                calls.setdefault(item.call[0], []).append(item.call)
                freed += item.n_bytes
            elif isinstance(item, Outcome):
                outcomes.append(item)
            elif isinstance(item, threading.Event):
                flushed.append(item)
        self._writer.write(calls, outcomes, self.dropped)
        self._free(freed)
        if flushed:
            self._write_blocks()
            self._writer.settle()
        for event in flushed:
            event.set()

    def _free(self, n_bytes: int) -> None:
        with self._counting:
            self._sized_bytes -= n_bytes

    def _lose(self, place: str, count: int, error: Exception) -> None:
        self._count(f"{place}_{type(error).__name__}", count)
        self._warn(place, error)

    def _warn(self, place: str, error: Exception) -> None:
        if place not in self._warned:
            self._warned.add(place)
            # Only the system's own words are known to hold no value of a record.
            why = str(error) if isinstance(error, OSError) else type(error).__name__
            tell(logging.WARNING, _WARNINGS[place], self.settings.log_dir, why)

    def forget_parent(self) -> None:
        """Begin anew in a forked child: what waits is the parent's to write."""
        self._store.abandon()
        self.bridge.forget_parent()
        self.abandon()
        self._begin()


def recorder_for(settings: Settings) -> Recorder:
    """Return this process's recorder for *settings*; those that log alike share one."""
    alike = (settings.log_dir, settings.export_features, settings.queue_bytes)
    key = (*alike, settings.flush_seconds, settings.log_bytes)
    with _registry_lock:
        recorder = _recorders.get(key)
        if recorder is None:
            recorder = _recorders[key] = Recorder(settings)
        return recorder


def _close_all() -> None:
    deadline = time.monotonic() + _EXIT_SECONDS
    for recorder in list(_recorders.values()):
        if time.monotonic() < deadline:
            recorder.end()


def _after_fork() -> None:
    global _registry_lock  # noqa: PLW0603  a lock held by a thread that is gone stays locked
    _registry_lock = threading.RLock()
    for recorder in _recorders.values():
        recorder.forget_parent()


atexit.register(_close_all)
forking.in_child(_after_fork)
