"""What the score does, on average, when one column takes one value in every row.

Friedman, "Greedy function approximation: a gradient boosting machine", Annals of Statistics 29(5),
2001, section 8.2. Where columns go together some of the rows so made exist nowhere: the share of
rows near each value says where the line rests on data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.serving.pool import shared
from mlembed.training.evaluation.values import label_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.training.evaluation.rows import Rows

    Floats = NDArray[np.float64]
    Score = Callable[[Floats], Floats]

MAX_ROWS = 400
MAX_POINTS = 20
MAX_COLUMNS = 6


def dependence(
    rows: Rows, names: Sequence[str], score: Score, *, seed: int = 0
) -> list[dict[str, Any]]:
    """Return the mean score at the values of each column.

    Args:
        rows: Rows to average over, of which at most 400 are used.
        names: Columns to describe.
        score: Scores rows `(n, n_columns)` as the host will, `(n,)`.
        seed: Seed of the choice of rows.

    Returns:
        Column, kind, values `x`, mean scores `y` and the `share` of rows at or nearest to each;
        `labels` of categories and booleans; `missing` with its own `y` and `share` where a number
        or time may be missing. At most 20 values a column.

    Raises:
        DataError: If the rows have no such column.
    """
    size = min(rows.n, MAX_ROWS)
    picks = np.random.default_rng(seed).choice(rows.n, size, replace=False)
    x = rows.x[np.sort(picks)]
    return shared(lambda name: _curve(rows, rows.position(name), x, score), names)


def _curve(rows: Rows, position: int, x: Floats, score: Score) -> dict[str, Any]:
    column, values = rows.columns[position], rows.x[:, position]
    named = column.kind in {"category", "boolean"}
    known = values[np.isfinite(values)]
    points, counts = _levels(known) if named else _grid(known)
    missing = int(np.count_nonzero(np.isnan(values)))
    cells = [*points.tolist(), *([np.nan] if missing else [])]
    means = _means(x, position, cells, score)
    shares = [*(counts / len(values)).tolist(), missing / len(values)]
    found: dict[str, Any] = {"column": column.name, "kind": column.kind}
    if named:
        labels = [label_of(column, cell) for cell in cells]
        places = list(range(len(cells)))
        return found | {"x": places, "y": means, "labels": labels, "share": shares[: len(cells)]}
    found |= {"x": points.tolist(), "y": means[: len(points)], "share": shares[: len(points)]}
    return found | ({"missing": {"y": means[-1], "share": shares[-1]}} if missing else {})


def _levels(known: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Return the most frequent codes, most frequent first, and how many rows have each."""
    codes, counts = np.unique(known, return_counts=True)
    order = np.argsort(-counts, kind="stable")[: MAX_POINTS - 1]
    return codes[order], counts[order]


def _grid(known: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Return values of equally many rows each, and how many rows are nearest to each.

    Where many rows share a value, the points they leave go to the other rows.
    """
    points = _quantiles(known, MAX_POINTS)
    others = known[~np.isin(known, points)]
    points = np.union1d(points, _quantiles(others, MAX_POINTS - len(points)))
    halves = points[:-1] + np.diff(points) / 2
    return points, np.bincount(np.searchsorted(halves, known), minlength=len(points))


def _quantiles(known: Floats, most: int) -> Floats:
    values = np.unique(known)
    if len(values) <= most:
        return values
    middles = (np.arange(most) + 0.5) / max(most, 1)
    return np.unique(np.quantile(known, middles, method="closest_observation"))


def _means(x: Floats, position: int, cells: Sequence[float], score: Score) -> list[float]:
    if not cells:
        return []
    changed = np.tile(x, (len(cells), 1))
    changed[:, position] = np.repeat(cells, len(x))
    means: list[float] = score(changed).reshape(len(cells), len(x)).mean(axis=1).tolist()
    return means


def worth_describing(importance: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the most important columns, of those that matter at all."""
    return [item["column"] for item in importance if item["drop"] > 0][:MAX_COLUMNS]
