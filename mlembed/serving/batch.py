"""The answers for many records at once, and what is logged of them."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from mlembed.telemetry.ids import SEQUENCE, uuid7
from mlembed.telemetry.intake import Lot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mlembed.bundle.task import Interval
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
        outputs: What a graph that takes tensors gave; empty for columns and for a fallback.
        interval: Where the truth lies around a score, or None.
        probabilities: Of each class, in the bundle's order, `(n_records, n_classes)`; None but for
            the answers of a multiclass.
    """

    outputs: Mapping[str, NDArray[Any]] = types.MappingProxyType({})
    interval: Interval | None = None
    probabilities: NDArray[np.float64] | None = None

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
    def labels(self) -> list[bool | str | None]:
        """The decided class of each record; None where the model abstains or gives a quantity."""
        return [self._decide(score)[0] for score in self.scores.tolist()]

    @property
    def intervals(self) -> NDArray[np.float64] | None:
        """Lower and upper end of where each truth lies, `(n_records, 2)`; as `Prediction.interval`."""
        if self.interval is None:
            return None
        low, high = -self.interval.below, self.interval.above
        return self.scores[:, None] + (low, high)

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
        failed = f", fallback after {self.error.partition(':')[0]}" if self.error else ""
        return f"<Batch of {len(self)} by {self.model}@{self.version}{failed}>"


def lot(
    source: Source,
    batch: Batch,
    matrix: NDArray[np.float64] | None,
    unknown: UnknownCells,
    latency_ns: int,
) -> Lot:
    """Return what is logged of *batch*: events of at most 256 rows.

    The scores are copied: the host may change its own while they wait.
    """
    scores = batch.scores.copy()
    texts = sum(len(text) for cells in unknown.values() for text in cells.values())
    n_bytes = scores.nbytes + 4 * texts + len(batch.sequences) * source.entry_bytes
    if matrix is not None:
        n_bytes += matrix.nbytes
    same = (batch.time_ns, latency_ns, batch.error)
    return Lot(_calls(source, batch.sequences, same, scores, matrix, unknown), n_bytes)


def _calls(
    source: Source,
    sequences: Sequence[int],
    same: tuple[int, int, str],
    scores: NDArray[np.float64],
    matrix: NDArray[np.float64] | None,
    unknown: UnknownCells,
) -> Iterator[Call]:
    """Yield the events; what they need not hold, such as a batch's outputs, is freed before."""
    time_ns, latency_ns, error = same
    reason = "fallback" if error else "ok"
    strange: dict[int, dict[str, dict[int, str]]] = {}
    for name, cells in unknown.items():
        for row, text in cells.items():
            given = strange.setdefault(row // _EVENT_ROWS, {})
            given.setdefault(name, {})[row % _EVENT_ROWS] = text
    for event, sequence in enumerate(sequences):
        rows = slice(event * _EVENT_ROWS, (event + 1) * _EVENT_ROWS)
        yield (
            *(source, time_ns, sequence, latency_ns, scores[rows]),
            *(reason, error, None),
            *(None if matrix is None else matrix[rows], strange.get(event), None, 1.0),
        )
