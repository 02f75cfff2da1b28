"""Room for the plain predictions of one thread: numbers side by side, and no object for each.

The thread that predicts writes a slot and then counts it; the writer's thread reads what is
counted. Nobody else writes, so neither ever waits for the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import NDArray

    from mlembed.telemetry.events import Call
    from mlembed.telemetry.source import Source

MAX_SLOTS = 64
_BLOCK_BYTES = 64 * 1024
_OBJECT_BYTES = 128  # of a text or a small dictionary beside what it holds
_SHARE = 64  # of the recorder's room that one block may take


class Owner(Protocol):
    """Who writes into a block, one prediction at a time."""

    block: Block


class Block:
    """Slots for predictions of one bundle by one owner.

    Args:
        source: The bundle.
        owner: Returns its owner, or None once that is gone.
        size: How many slots there are.
        first: Sequence number of the first slot's prediction; the others follow.
        is_sink: Whether what is written into it is counted as lost, and never read.

    Attributes:
        cells: The slots, `source.slot_bytes` each: row, score, Unix time and latency.
        keys: The host's key of the entity, by slot.
        unknown: Values outside their vocabulary by column, by slot.
        counted_bytes: Memory that its recorder counts for it.
        n: Slots that are written.
        room: Slots that may be written; 0 once the block is closed.
        read: Slots that the writer has read.
    """

    __slots__ = (
        *("cells", "counted_bytes", "first", "is_sink", "keys", "n"),
        *("owner", "read", "room", "size", "source", "unknown"),
    )

    def __init__(
        self,
        source: Source | None,
        owner: Callable[[], Owner | None],
        size: int,
        first: int,
        *,
        is_sink: bool = False,
    ) -> None:
        self.source = source
        self.owner = owner
        self.size = size
        self.is_sink = is_sink
        self.counted_bytes = 0
        self.cells = bytearray(size * source.slot_bytes if source is not None else 0)
        self.begin(first)

    def begin(self, first: int) -> None:
        """Make all its slots free; only its owner may, and only of a sink."""
        self.first = first
        self.keys: dict[int, str] = {}
        self.unknown: dict[int, Mapping[str, str]] = {}
        self.n = self.read = 0
        self.room = self.size

    @property
    def n_bytes(self) -> int:
        """Memory it takes."""
        return (
            len(self.cells)
            + _texts_bytes(self.keys.values())
            + sum(map(words_bytes, self.unknown.values()))
        )

    @property
    def is_left(self) -> bool:
        """Whether nothing will be written into it any more."""
        owner = self.owner()
        is_full = self.n == self.size and not self.is_sink
        return owner is None or owner.block is not self or is_full

    def take(self) -> Slots:
        """Return what was written since the last time."""
        start, self.read = self.read, self.n
        return Slots(self, start, self.read)


def n_slots(source: Source, room_bytes: int) -> int:
    """Return how many slots a block of *source* has where *room_bytes* may wait."""
    most = min(_BLOCK_BYTES, room_bytes // _SHARE)
    return max(1, min(MAX_SLOTS, most // source.slot_bytes))


def words_bytes(words: Mapping[str, str]) -> int:
    """Return the memory that one record's values outside their vocabulary take."""
    return _OBJECT_BYTES + _texts_bytes(words.values())


def _texts_bytes(texts: Collection[str]) -> int:
    return _OBJECT_BYTES * len(texts) + 4 * sum(map(len, texts))


class Slots(NamedTuple):
    """Some slots of a block: those from `start` to before `stop`."""

    block: Block
    start: int
    stop: int

    @property
    def rows(self) -> NDArray[np.float64]:
        """The rows with the score behind each, `(n_slots, n_columns + 1)`."""
        words = np.frombuffer(self.block.cells).reshape(self.block.size, -1)
        return words[self.start : self.stop, :-2]

    @property
    def times(self) -> tuple[list[int], list[int]]:
        """Unix times and latencies, in nanoseconds."""
        words = np.frombuffer(self.block.cells, dtype=np.int64).reshape(self.block.size, -1)
        moments, latencies = words[self.start : self.stop, -2:].T.tolist()
        return moments, latencies

    @property
    def keys(self) -> list[str | None]:
        """The host's key of each entity, or None."""
        return list(map(self.block.keys.get, range(self.start, self.stop)))

    @property
    def unknown(self) -> list[Mapping[str, str] | None]:
        """Values outside their vocabulary by column, or None."""
        return list(map(self.block.unknown.get, range(self.start, self.stop)))

    def calls(self) -> list[Call]:
        """Return the predictions one by one, as the others wait."""
        source, first = self.block.source, self.block.first
        if source is None:
            return []
        rows = self.rows
        moments, latencies = self.times
        return [
            (
                *(source, moment, first + slot, latency, score, "ok", "", key),
                *(row[:-1].tobytes(), unknown, None, 1.0),
            )
            for slot, moment, latency, score, key, unknown, row in zip(
                *(range(self.start, self.stop), moments, latencies, rows[:, -1].tolist()),
                *(self.keys, self.unknown, rows),
                strict=True,
            )
        ]


CLOSED = Block(None, lambda: None, 0, 0)
