"""The answers for many records at once, and what is logged of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlembed.telemetry.ids import SEQUENCE, uuid7

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mlembed.serving.decision import Decide
    from mlembed.serving.prediction import Reason
    from mlembed.serving.tables import UnknownCells
    from mlembed.telemetry.events import Call
    from mlembed.telemetry.source import Source

_EVENT_ROWS = 256  # rows one event holds, so that it stays below 64 KiB


class Batch:
    """The answers for many records, in their order.

    Attributes:
        scores: `(n_records,)`.
        model: Name of the model.
        version: Version that answered; empty where none could.
        error: What failed, where the fallback answers for all; empty otherwise.
    """

    def __init__(
        self,
        scores: NDArray[np.float64],
        decide: Decide,
        model: str,
        version: str,
        time_ns: int,
        error: str = "",
    ) -> None:
        self.scores = scores
        self.model = model
        self.version = version
        self.error = error
        self.time_ns = time_ns
        self.sequences = [SEQUENCE.next() for _ in range(0, len(scores), _EVENT_ROWS)]
        self._decide = decide

    @property
    def labels(self) -> list[bool | None]:
        """The decided class of each record; None where the model abstains or gives a quantity."""
        return [self._decide(score)[0] for score in self.scores.tolist()]

    @property
    def reasons(self) -> list[Reason]:
        """ok, fallback or abstain, for each record."""
        return [self._decide(score)[1] for score in self.scores.tolist()]

    @property
    def ids(self) -> list[str]:
        """An id for each record, `<event>/<row>`; give it back to `Model.outcome`."""
        events = [uuid7(self.time_ns // 1_000_000, sequence) for sequence in self.sequences]
        return [
            f"{events[row // _EVENT_ROWS]}/{row % _EVENT_ROWS}" for row in range(len(self.scores))
        ]

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        return f"<Batch of {len(self)} by {self.model}@{self.version}>"


def batch_calls(
    source: Source,
    batch: Batch,
    matrix: NDArray[np.float64] | None,
    unknown: UnknownCells,
    latency_ns: int,
) -> Iterator[Call]:
    """Yield what is logged of *batch*, at most 256 rows each.

    Scores are copied: the host may change its own while they wait.
    """
    reason = "fallback" if batch.error else "ok"
    for event, sequence in enumerate(batch.sequences):
        start = event * _EVENT_ROWS
        rows = slice(start, start + _EVENT_ROWS)
        strange = {
            name: {
                row - start: value for row, value in cells.items() if row // _EVENT_ROWS == event
            }
            for name, cells in unknown.items()
        }
        yield (
            *(source, batch.time_ns, sequence, latency_ns, batch.scores[rows].copy()),
            *(reason, batch.error, None),
            *(None if matrix is None else matrix[rows], strange or None, None, 1.0),
        )
