"""Take records from the host's threads and write them later, on one thread a process.

Taking one never blocks, never raises and takes no lock the writer holds. What waits is bounded in
bytes: where room gets scarce a known share is kept, so that counts stay unbiased, and what cannot
be kept is counted with its reason, never silently lost.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from mlembed.telemetry.block import CLOSED, Block, n_slots
from mlembed.telemetry.bridge import HostTelemetry
from mlembed.telemetry.events import Outcome
from mlembed.telemetry.ids import SEQUENCE, is_sampled
from mlembed.telemetry.store import Store
from mlembed.telemetry.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlembed.settings import Settings
    from mlembed.telemetry.block import Owner, Slots
    from mlembed.telemetry.events import Call
    from mlembed.telemetry.source import Source

_BATCH = 256  # written without letting go of the interpreter: under a millisecond
_WAKE_SHARE = 16  # the writer is woken when a sixteenth of the room is taken
_SCARCE = 0.8  # share of the room from which predictions are sampled
_HALVINGS = 4
_EXIT_SECONDS = 2.0

_LOG = logging.getLogger("mlembed")
_ON = "; predictions go on, losses are counted"
_WARNINGS = {
    "store": "mlembed cannot write its prediction log in %s (%s)" + _ON,
    "record": "mlembed cannot describe some predictions for the log in %s (%s)" + _ON,
    "otel": "the host's OpenTelemetry failed beside the prediction log in %s (%s)" + _ON,
    "tidy": "mlembed cannot compress or remove old files of its log in %s (%s)" + _ON,
}
_recorders: dict[tuple[object, ...], Recorder] = {}
_registry_lock = threading.Lock()


class Sized(NamedTuple):
    """A call that takes more memory than its source says, and how much more."""

    call: Call
    n_bytes: int


class Recorder:
    """The queue and the writer thread of one log directory.

    Args:
        settings: Where to write, how much may wait and for how long.

    Attributes:
        dropped: Records lost so far, by reason.
        bridge: The host's OpenTelemetry.
        queue: What waits; whoever predicts may push a call onto it while
            `len(queue) * source.entry_bytes < soft_bytes`, and calls `press` with it otherwise.
        soft_bytes: Room that needs no second look; 0 where there is no writer thread yet.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.dropped: collections.Counter[str] = collections.Counter()
        self.bridge = HostTelemetry(export_features=settings.export_features)
        self._store = self._new_store()
        self._start_empty()

    def _new_store(self) -> Store:
        return Store(self.settings.log_dir, self.settings.log_bytes)

    def _start_empty(self) -> None:
        self.queue: collections.deque[Call | Sized | Outcome | threading.Event] = (
            collections.deque()
        )
        self.soft_bytes = 0
        self._widest = 1
        self._sized_bytes = self._full_bytes = 0
        self._blocks: collections.deque[Block] = collections.deque()
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._start = threading.Lock()
        self._writing = threading.Lock()
        # Held for an addition alone; a signal's handler may predict while its thread holds it.
        self._counting = threading.RLock()
        self._thread: threading.Thread | None = None
        self._writer = Writer(self._store, self.bridge, self._lose)
        self._warned: set[str] = set()

    def next_block(self, owner: Owner, source: Source) -> Block:
        """Give *owner*, whose block is full or closed, another one and return it.

        It is closed where room is scarce or the host traces: predictions must be pressed then.
        """
        full, owner.block = owner.block, CLOSED
        if full.n == full.size:
            with self._counting:
                self._full_bytes += full.n_bytes
        self._wake_writer()
        if not self.bridge.traces and self._fill(0) < _SCARCE:
            size = n_slots(source, self.settings.queue_bytes)
            owner.block = Block(source, weakref.ref(owner), size, SEQUENCE.next())
            self._blocks.append(owner.block)
        return owner.block

    def append(self, call: Call) -> None:
        """Take *call* to be written later; sample or drop it, counted, where too much waits."""
        if len(self.queue) * call[0].entry_bytes < self.soft_bytes:
            self.queue.append(call)
        else:
            self.press(call)

    def press(self, call: Call, n_bytes: int = 0) -> None:
        """Take *call* where room may be scarce, or where its writer has to be woken.

        Args:
            call: The prediction.
            n_bytes: Memory it takes beyond its source's `entry_bytes`.
        """
        self._widest = max(self._widest, call[0].entry_bytes)
        kept = self._sample(call, n_bytes)
        if kept is not None:
            if n_bytes:
                with self._counting:
                    self._sized_bytes += n_bytes
            self.queue.append(Sized(kept, n_bytes) if n_bytes else kept)
        self._wake_writer()

    def append_batch(self, calls: Iterable[Call]) -> None:
        """Take the events of a batch, as `append` does; their rows count with their true size."""
        for call in calls:
            self.press(call, sum(array.nbytes for array in (call[4], call[8]) if array is not None))

    def append_outcome(self, outcome: Outcome) -> None:
        """Take a report of the truth; it is never sampled."""
        if self._fill(0) < 1:
            self.queue.append(outcome)
        else:
            self._count("queue_full", 1)
        self._wake_writer()

    def _fill(self, n_bytes: int) -> float:
        """Return the share of the room that is taken, with *n_bytes* more."""
        waiting = (len(self.queue) + 1) * self._widest + self._sized_bytes + self._full_bytes
        return (waiting + n_bytes) / self.settings.queue_bytes

    def _sample(self, call: Call, n_bytes: int) -> Call | None:
        """Return *call* as it is kept, or None: the fuller the queue, the smaller the share."""
        fill = self._fill(n_bytes)
        if fill < _SCARCE or (call[6] and fill < 1):  # errors are kept as long as possible
            return call
        if fill >= 1:
            self._count("queue_full", 1)
            return None
        halvings = 1 + int((fill - _SCARCE) / (1 - _SCARCE) * _HALVINGS)
        if is_sampled(call[2], halvings):
            return (*call[:-1], 0.5**halvings)
        self._count("sampled", 1)
        return None

    def _wake_writer(self) -> None:
        if self._thread is None:
            self._start_thread()
        full = self.settings.queue_bytes // _WAKE_SHARE
        self.soft_bytes = full if self._thread is not None else 0
        waiting = len(self.queue) * self._widest + self._sized_bytes + self._full_bytes
        if waiting >= full and not self._wake.is_set():
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
            self._tidy()
        self.soft_bytes = 0
        self._thread = None

    def _drain(self, timeout_seconds: float = -1.0) -> bool:
        if not self._writing.acquire(timeout=timeout_seconds):
            return False
        try:
            self._look()
            self._write_blocks()
            while self.queue:
                self._write_some()
            self._writer.settle()
        finally:
            self._writing.release()
        return True

    def _tidy(self) -> None:
        """Compress and remove old files while nothing waits to be written."""
        with self._writing:
            while not self._ending.is_set() and len(self.queue) < _BATCH:
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
        if self.bridge.traces:
            for block in list(self._blocks):
                block.room = 0
        if self.bridge.found != before:
            # What is registered last runs first: before the host's own providers shut down.
            atexit.unregister(_close_all)
            atexit.register(_close_all)

    def _write_blocks(self) -> None:
        """Write what stands in blocks; let go of those that are full or left by their owners."""
        waiting: dict[Source, list[Slots]] = {}
        for _ in range(len(self._blocks)):
            block = self._blocks.popleft()
            is_left = block.is_left  # asked first: what was written before is taken
            slots = block.take()
            if not is_left:
                self._blocks.append(block)
            elif slots.stop == block.size:
                with self._counting:
                    self._full_bytes -= block.n_bytes
            if block.source is None or slots.start == slots.stop:
                continue
            parts = waiting.setdefault(block.source, [])
            parts.append(slots)
            if sum(slots.stop - slots.start for slots in parts) >= _BATCH:
                self._writer.write_slots(block.source, waiting.pop(block.source), self.dropped)
        for source, parts in waiting.items():
            self._writer.write_slots(source, parts, self.dropped)

    def _write_some(self) -> None:
        take = self.queue.popleft
        items: list[Any] = [take() for _ in range(min(_BATCH, len(self.queue)))]
        if set(map(type, items)) == {tuple} and len({item[0] for item in items}) == 1:
            self._writer.write({items[0][0]: items}, (), self.dropped)
            return
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
        if freed:
            with self._counting:
                self._sized_bytes -= freed
        if flushed:
            self._write_blocks()
            self._writer.settle()
        for event in flushed:
            event.set()

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
        self._store = self._new_store()
        self.dropped.clear()
        self.bridge.forget_parent()
        for block in self._blocks:
            block.room = 0  # a call that forked goes on in one of the child's
        self._start_empty()


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
            recorder.close()


def _after_fork() -> None:
    global _registry_lock  # noqa: PLW0603  a lock held by a thread that is gone stays locked
    _registry_lock = threading.Lock()
    for recorder in _recorders.values():
        recorder.forget_parent()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
