"""Take what the host's threads predict and keep it, bounded in bytes, until it is written.

Taking never blocks, never raises and takes no lock the writer holds for longer than an addition.
Where room gets scarce a known share is kept, so that counts stay unbiased; what cannot be kept is
counted with its reason.
"""

from __future__ import annotations

import abc
import collections
import threading
import weakref
from typing import TYPE_CHECKING, NamedTuple

from mlembed.telemetry.block import CLOSED, Block, n_slots, words_bytes
from mlembed.telemetry.events import text_bytes
from mlembed.telemetry.ids import SEQUENCE, is_sampled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlembed.telemetry.block import Owner
    from mlembed.telemetry.events import Call, Outcome
    from mlembed.telemetry.source import Source

_WAKE_SHARE = 4  # the writer is woken when a quarter of the room is taken
_SCARCE = 0.8  # share of the room from which predictions are sampled
_HALVINGS = 4
_SINKS = 64  # so many are kept before those that are left are looked for
FULL = "queue_full"


class Sized(NamedTuple):
    """A call that takes more memory than its source says, and how much more."""

    call: Call
    n_bytes: int


class Lot(NamedTuple):
    """The calls of a batch, made where they are written, and the memory they take."""

    calls: Iterator[Call]
    n_bytes: int


class Intake(abc.ABC):
    """What waits to be written.

    Args:
        room_bytes: Memory that may wait.

    Attributes:
        dropped: Records lost so far, by reason.
        is_traced: Whether each prediction is taken by itself, as it needs its span.
        queue: What waits one by one.
        blocks: What waits as numbers, in blocks of the threads that predict.
        much_bytes: Memory that is worth writing at once.
        soft_bytes: Room that needs no second look; 0 where there is no writer yet.
    """

    def __init__(self, room_bytes: int) -> None:
        self.dropped: collections.Counter[str] = collections.Counter()
        self.is_traced = True  # until somebody has looked
        self.much_bytes = room_bytes // _WAKE_SHARE
        self._room = room_bytes
        self._clear()

    def _clear(self) -> None:
        self.queue: collections.deque[Call | Sized | Lot | Outcome | threading.Event] = (
            collections.deque()
        )
        self.blocks: collections.deque[Block] = collections.deque()
        self.soft_bytes = 0
        self._sinks: set[Block] = set()
        self._many_sinks = _SINKS
        self._widest = 1
        self._sized_bytes = self._block_bytes = 0
        # Held for an addition alone; a signal's handler may predict while its thread holds it.
        self._counting = threading.RLock()

    @abc.abstractmethod
    def _wake_writer(self) -> None:
        """See that there is a writer, and that it comes soon where much waits."""

    def next_block(self, owner: Owner, source: Source) -> Block:
        """Give *owner*, whose block is full or closed, another one and return it.

        It is closed where room is scarce or each prediction is traced: they must be pressed then.
        Where there is no room at all it is a sink, so that a log in trouble costs no time.
        """
        full, owner.block = owner.block, CLOSED
        with self._counting:
            if full.is_sink:
                self._pour(full)
            elif full.counted_bytes:  # and not let go: its texts are not counted yet
                self._weigh(full)
        self._wake_writer()
        if self.is_traced:
            return CLOSED
        fill = self._fill(0)
        if fill < _SCARCE:
            owner.block = self._new_block(owner, source)
            with self._counting:
                self._weigh(owner.block)
            self.blocks.append(owner.block)
        elif fill >= 1:
            self._give_sink(owner, source, full)
        return owner.block

    def hold_words(self, block: Block, slot: int, words: Mapping[str, str]) -> None:
        """Let *block* hold a record's values outside their vocabulary, as far as there is room.

        Its owner asks for another block next where room is scarce.
        """
        block.unknown[slot] = words
        if block.counted_bytes:  # it is no sink
            n_bytes = words_bytes(words)
            with self._counting:
                block.counted_bytes += n_bytes
                self._block_bytes += n_bytes
            if self._fill(0) >= _SCARCE:
                block.room = 0

    def _weigh(self, block: Block) -> None:
        n_bytes = block.n_bytes
        self._block_bytes += n_bytes - block.counted_bytes
        block.counted_bytes = n_bytes

    def _new_block(self, owner: Owner, source: Source, *, is_sink: bool = False) -> Block:
        size = n_slots(source, self._room)
        return Block(source, weakref.ref(owner), size, SEQUENCE.next(), is_sink=is_sink)

    def _give_sink(self, owner: Owner, source: Source, last: Block) -> None:
        """Let *owner* write into a sink: its last one, if that was one."""
        with self._counting:
            if last in self._sinks:
                last.begin(SEQUENCE.next())
                owner.block = last
            else:
                if len(self._sinks) >= self._many_sinks:
                    self._pour_left()
                    self._many_sinks = 2 * len(self._sinks) + _SINKS
                owner.block = self._new_block(owner, source, is_sink=True)
                self._sinks.add(owner.block)

    def trace_each(self, is_traced: bool) -> None:  # noqa: FBT001  it is what is noted
        """Note whether each prediction is taken by itself from now on."""
        self.is_traced = is_traced
        if is_traced:
            self.close_blocks()

    def close_blocks(self) -> None:
        """Let each owner ask for another block with its next prediction."""
        for block in list(self.blocks):
            block.room = 0

    def let_go(self, block: Block) -> None:
        """Free the room of a block that is left by its owner and written."""
        with self._counting:
            self._block_bytes -= block.counted_bytes
            block.counted_bytes = 0

    def close_sinks(self) -> None:
        """Count what fell into sinks; their owners look for room with the next prediction."""
        with self._counting:
            for sink in self._sinks:
                sink.room = 0
                self._pour(sink)
            self._pour_left()

    def _pour_left(self) -> None:
        left = {sink for sink in self._sinks if sink.is_left}  # asked before they are poured
        for sink in left:
            self._pour(sink)
        self._sinks -= left

    def _pour(self, sink: Block) -> None:
        slots = sink.take()
        self.dropped[FULL] += slots.stop - slots.start

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

    def append_batch(self, lot: Lot) -> None:
        """Take the events of a batch: whole where there is room, else each as `press` does."""
        if self._fill(lot.n_bytes) < _SCARCE:
            with self._counting:
                self._sized_bytes += lot.n_bytes
            self.queue.append(lot)
            self._wake_writer()
            return
        for call in lot.calls:
            arrays = (call[4], call[8])
            n_bytes = sum(array.nbytes for array in arrays if array is not None)
            self.press(call, n_bytes + text_bytes(call))

    def append_outcome(self, outcome: Outcome) -> None:
        """Take a report of the truth; it is never sampled."""
        if self._fill(0) < 1:
            self.queue.append(outcome)
        else:
            self._count(FULL, 1)
        self._wake_writer()

    def _fill(self, n_bytes: int) -> float:
        """Return the share of the room that is taken, with *n_bytes* more."""
        return (self.waiting_bytes + self._widest + n_bytes) / self._room

    def _sample(self, call: Call, n_bytes: int) -> Call | None:
        """Return *call* as it is kept, or None: the fuller the queue, the smaller the share."""
        fill = self._fill(n_bytes)
        if fill < _SCARCE or (call[6] and fill < 1):  # errors are kept as long as possible
            return call
        if fill >= 1:
            self._count(FULL, 1)
            return None
        halvings = 1 + int((fill - _SCARCE) / (1 - _SCARCE) * _HALVINGS)
        if is_sampled(call[2], halvings):
            return (*call[:-1], 0.5**halvings)
        self._count("sampled", 1)
        return None

    def lost(self) -> dict[str, int]:
        """Return how many records are lost so far, by reason."""
        with self._counting:
            for sink in self._sinks:
                self._pour(sink)
            return {reason: count for reason, count in self.dropped.items() if count}

    def abandon(self) -> None:
        """Begin anew, empty: what waits is another process's to write."""
        for block in (*self.blocks, *self._sinks):
            block.room = 0  # a call that forked goes on in a block of this process
            block.read = block.n
            block.counted_bytes = 0
        self.dropped.clear()
        self.is_traced = True
        self._clear()

    @property
    def waiting_bytes(self) -> int:
        """Memory that waits."""
        return len(self.queue) * self._widest + self._sized_bytes + self._block_bytes

    def _count(self, reason: str, count: int) -> None:
        with self._counting:
            self.dropped[reason] += count
