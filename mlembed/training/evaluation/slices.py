"""Where the model is worst: the metric on the rows of one value, or one quarter, of a column.

The worst of many slices looks worse than it is, by luck: its interval says by how much.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.monitoring import bootstrap
from mlembed.monitoring.judged import measure_of, sign_of, undefined
from mlembed.monitoring.metrics import METRICS
from mlembed.training.evaluation.values import MISSING, label_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.training.evaluation.rows import Rows

    Floats = NDArray[np.float64]

MIN_ROWS = 50
MIN_OF_CLASS = 5  # a ranking of fewer positives is a matter of one row
MAX_AUTOMATIC = 20
_QUARTERS = (0.25, 0.5, 0.75)
_FEW = 6


@dataclasses.dataclass(frozen=True)
class Slice:
    """Rows that share a value of a column.

    Attributes:
        column: Name of the column.
        value: The value, or the range, in words.
        rows: Their numbers, `(n,)`.
    """

    column: str
    value: str
    rows: NDArray[np.intp]


@dataclasses.dataclass(frozen=True)
class _Measured:
    part: Slice
    of: bootstrap.Measure
    value: float


def slices(
    rows: Rows,
    metric: str,
    threshold: float,
    names: Sequence[str] = (),
    *,
    min_rows: int = MIN_ROWS,
    resamples: int = 500,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Measure *metric* on slices, worst first.

    Args:
        rows: Rows to measure on.
        metric: A name in `METRICS`, or in `CLASS_METRICS` for several classes.
        threshold: Score from which the label is positive.
        names: Columns to slice by, all slices kept; by default every category, boolean and
            number, of which the worst 20 slices are kept.
        min_rows: Fewest rows of a slice.
        resamples: How often rows or entities are drawn.
        seed: Seed of the draws.

    Returns:
        Column, value and rows `n` of each slice; with `value_of_metric`, the ends `low` and `high`
        of its interval where it can be had, and `difference` from all rows, negative where the
        slice is worse. Slices that cannot be measured come last, largest first, with a `reason`.

    Raises:
        DataError: If the rows have no such column.
    """
    sign, most = sign_of(metric, rows.scores), None if names else MAX_AUTOMATIC
    good, poor = [], []
    for part in _all(rows, names):
        y, scores = rows.y[part.rows], rows.scores[part.rows]
        reason = undefined(metric, y, scores)
        if len(y) < min_rows:
            reason = f"fewer than {min_rows} rows"
        elif not reason and _is_ranked(metric, rows) and _rarer(y) < MIN_OF_CLASS:
            reason = f"fewer than {MIN_OF_CLASS} rows of one class"
        if reason:
            poor.append(_described(part) | {"reason": reason})
        else:
            of = measure_of(metric, y, scores, threshold)
            good.append(_Measured(part, of, of(np.ones(len(y)))))
    good.sort(key=lambda item: (sign * item.value, item.part.column, item.part.value))
    poor.sort(key=lambda item: -item["n"])
    kept = good[:most]
    ends = _ends(rows, kept, resamples, seed)
    whole = measure_of(metric, rows.y, rows.scores, threshold)(np.ones(rows.n))
    found = [
        _described(item.part)
        | {"value_of_metric": item.value, "difference": sign * (item.value - whole)}
        | ({} if end is None else {"low": end[0], "high": end[1]})
        for item, end in zip(kept, ends, strict=True)
    ]
    return found + poor[:most]


def _all(rows: Rows, names: Sequence[str]) -> Iterator[Slice]:
    chosen = names or [
        column.name
        for column in rows.columns
        if column.kind != "timestamp" and (column.kind != "integer" or _is_small(rows, column))
    ]
    for name in chosen:
        position = rows.position(name)
        for value, inside in _cut(rows.columns[position], rows.x[:, position]):
            yield Slice(name, value, np.flatnonzero(inside))


def _is_small(rows: Rows, column: Column) -> bool:
    """Tell whether an integer is a quantity rather than the number of an entity."""
    values = rows.x[:, rows.position(column.name)]
    return column.name != rows.entity and len(np.unique(values)) <= max(rows.n // 2, 2)


def _cut(column: Column, values: Floats) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Cut by value where there are few, by quarter where there are many; missing ones apart."""
    missing = np.isnan(values)
    known = np.unique(values[~missing])
    if column.kind in {"category", "boolean"} or len(known) <= _FEW:
        for code in known.tolist():
            yield label_of(column, code), values == code
    else:
        edges = np.unique(np.quantile(values[~missing], _QUARTERS, method="closest_observation"))
        bins = np.where(missing, -1, np.searchsorted(edges, values))
        for number in np.unique(bins[~missing]).tolist():
            yield _range(column, edges, number), bins == number
    if missing.any():
        yield MISSING, missing


def _range(column: Column, edges: Floats, number: int) -> str:
    words = []
    if number > 0:
        words.append(f"above {label_of(column, edges[number - 1])}")
    if number < len(edges):
        words.append(f"up to {label_of(column, edges[number])}")
    return " ".join(words)


def _is_ranked(metric: str, rows: Rows) -> bool:
    return rows.scores.ndim == 1 and METRICS[metric].needs_both


def _rarer(y: Floats) -> int:
    positives = int((y == 1).sum())
    return min(positives, len(y) - positives)


def _described(part: Slice) -> dict[str, Any]:
    return {"column": part.column, "value": part.value, "n": len(part.rows)}


def _ends(
    rows: Rows, found: Sequence[_Measured], resamples: int, seed: int
) -> list[tuple[float, float] | None]:
    """Return the interval of each slice; one draw of weights serves them all."""
    values = np.full((resamples, len(found)), np.nan)
    parts = [item.of.among(item.part.rows) for item in found]
    start = 0
    for weights in bootstrap.draws(rows.n, resamples, seed, rows.clusters) if found else ():
        values[start : start + len(weights)] = bootstrap.each_of(parts, weights)
        start += len(weights)
    for i, item in enumerate(found):
        if rows.entities_of(item.part.rows) < bootstrap.MIN_CLUSTERS:
            values[:, i] = np.nan
    return [bootstrap.interval(values[:, i]) for i in range(len(found))]
