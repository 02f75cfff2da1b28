"""Join outcomes to the predictions they are about.

An outcome counts once and for one prediction only; reports may come late, twice, revised or about
predictions this log does not hold.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.bundle.classes import Places

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from mlembed.bundle.manifest import Task
    from mlembed.monitoring.log import LoggedOutcome, PredictionLog


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Joined:
    """Rows whose truth is known.

    Attributes:
        rows: Positions in the log, increasing, `(matched,)`.
        values: The truth of each: a bool, a number or a class.
        delays: Seconds from the prediction to what happened (or its report), of each.
        unmatched: Outcomes about predictions this log does not hold.
        superseded: Outcomes that a later or higher revision replaced.
    """

    rows: NDArray[np.int64]
    values: NDArray[np.object_]
    delays: NDArray[np.float64]
    unmatched: int
    superseded: int

    @property
    def matched(self) -> int:
        """Number of predictions with an outcome."""
        return len(self.rows)

    @property
    def delay_median_seconds(self) -> float | None:
        """Median label delay; None where nothing was joined."""
        return float(np.median(self.delays)) if self.matched else None

    def only(self, mask: NDArray[np.bool_]) -> Joined:
        """Return the joined rows that *mask*, one flag a row of the log, keeps."""
        kept = mask[self.rows]
        return dataclasses.replace(
            self, rows=self.rows[kept], values=self.values[kept], delays=self.delays[kept]
        )


def join(log: PredictionLog) -> Joined:
    """Find the outcome of each prediction.

    By the prediction's id; where an outcome names a key alone, by the latest prediction of that key
    made at or before what happened. The highest revision wins, among equals the latest report.
    """
    by_id = {prediction_id: row for row, prediction_id in enumerate(log.ids.tolist())}
    by_key = _Keys(log) if any(not outcome.prediction_id for outcome in log.outcomes) else None
    kept: dict[int, LoggedOutcome] = {}
    unmatched = 0
    for outcome in log.outcomes:
        if outcome.prediction_id:
            row = _row_of(by_id, outcome.prediction_id)
        else:
            row = by_key.latest(outcome.key, outcome.moment_ns) if by_key else None
        if row is None:
            unmatched += 1
        elif row not in kept or outcome.rank >= kept[row].rank:
            kept[row] = outcome
    rows = np.array(sorted(kept), dtype=np.int64)
    found = [kept[row] for row in rows.tolist()]
    moments = np.array([outcome.moment_ns for outcome in found], dtype=np.int64)
    return Joined(
        rows=rows,
        values=np.fromiter((o.value for o in found), dtype=object, count=len(found)),
        delays=(moments - log.time_ns[rows]) / 1e9,
        unmatched=unmatched,
        superseded=len(log.outcomes) - unmatched - len(kept),
    )


def labels_of(task: Task, values: Iterable[Any]) -> NDArray[np.float64]:
    """Return outcomes as labels: 0 and 1 for a binary task, numbers for a regression.

    Of several classes a label is the place of its class.

    Args:
        task: The bundle's task; the class it calls positive is 1, every other class 0.
        values: Outcomes.

    Returns:
        `(n,)`; NaN where a value is no label of this task.
    """
    if task.kind == "multiclass":
        return codes_of(task, values)
    read = _binary_label if task.kind == "binary" else _number_label
    return np.array([read(task, value) for value in values], dtype=np.float64)


def codes_of(task: Task, values: Iterable[Any]) -> NDArray[np.float64]:
    """Return the place of each class, `(n,)`; NaN where a value is none of a multiclass *task*."""
    places = Places(task.classes)
    return np.array([places.of(value) for value in values], dtype=np.float64)


class _Keys:
    """The predictions of each key, by time."""

    def __init__(self, log: PredictionLog) -> None:
        self._times: dict[str, list[int]] = {}
        self._rows: dict[str, list[int]] = {}
        keys, times = log.keys.tolist(), log.time_ns.tolist()
        for row in np.argsort(log.time_ns, kind="stable").tolist():
            if keys[row] is not None:
                self._times.setdefault(keys[row], []).append(times[row])
                self._rows.setdefault(keys[row], []).append(row)

    def latest(self, key: str, moment_ns: int) -> int | None:
        """Return the row of the latest prediction of *key* at or before *moment_ns*."""
        number = bisect.bisect_right(self._times.get(key, []), moment_ns)
        return self._rows[key][number - 1] if number else None


def _row_of(by_id: dict[str, int], prediction_id: str) -> int | None:
    # A batch of one row is logged like a single prediction, but its id still ends in /0.
    row = by_id.get(prediction_id)
    return by_id.get(prediction_id.removesuffix("/0")) if row is None else row


def _binary_label(task: Task, value: Any) -> float:
    if isinstance(value, str):
        return float(value == task.positive) if value else math.nan
    return float(value) if value in (0, 1) else math.nan


def _number_label(_task: Task, value: Any) -> float:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan
