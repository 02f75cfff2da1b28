"""Say in numbers what a training table holds, for its readers and for the next table.

Cells are personal data: values are shown only where ten rows share them, and not at all for a
column that the prediction log must not show.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.training.distinct import count_texts, is_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.training.dataset import Dataset

    Floats = NDArray[np.float64]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
N_BINS = 20
N_TOP = 10
MIN_ROWS_SHOWN = 10
HIDDEN = ("drop", "hash")
_MAX_LENGTH = 200
_DECILES = np.arange(1, 10) / 10


def summarise(columns: Sequence[Column], dataset: Dataset) -> dict[str, Any]:
    """Return the summary of a table in plain JSON types.

    Args:
        columns: The record's columns.
        dataset: The table.

    Returns:
        `digest`, `n` (rows kept), `n_read`, `n_rejected`, `reasons` (rows that broke each rule),
        and for each of `columns`: `missing_share`, `n_distinct`, and where values may be shown
        `minimum`, `maximum`, `mean`, `quantiles` (5, 25, 50, 75 and 95 %), `histogram` (20 bins of
        one width) and `bins` (about ten of as many rows; the first and last are open) of finite
        numbers and times in seconds since 1970, `top` (value and rows) of categories and booleans.
    """
    held = dataset.held()
    return {
        "digest": dataset.digest,
        "n": len(dataset.y),
        "n_read": dataset.n_read,
        "n_rejected": dataset.n_rejected,
        "reasons": dict(dataset.reasons.most_common()),
        "columns": [describe_column(column, held[column.name]) for column in columns],
    }


def describe_column(column: Column, values: Any) -> dict[str, Any]:
    """Return the summary of one column as a `Dataset` holds it, `(n_records,)`."""
    told: dict[str, Any] = {"column": column.name, "kind": column.kind}
    if column.kind in ("category", "boolean"):
        counts = count_named(values)
        told |= _presence(len(values), sum(counts.values()), len(counts))
        return told if column.log in HIDDEN else told | {"top": _top(counts)}
    present = np.sort(values[~np.isnan(values)])
    n_distinct = int((present[1:] != present[:-1]).sum()) + 1 if len(present) else 0
    told |= _presence(len(values), len(present), n_distinct)
    finite = present[np.isfinite(present)]
    if column.log in HIDDEN or not len(finite):
        return told
    told |= {"mean": _mean(finite), "bins": _bins(finite)}
    return told if column.log == "bucket" else told | _spread(finite)


def _presence(n: int, n_present: int, n_distinct: int) -> dict[str, Any]:
    return {"missing_share": (n - n_present) / n if n else 0.0, "n_distinct": n_distinct}


def count_named(values: Any) -> dict[str, int]:
    """Return how many rows have each value of a category, or true and false of a boolean."""
    if is_text(values):
        return count_texts(values)
    counts = {"true": int((values == 1).sum()), "false": int((values == 0).sum())}
    return {name: count for name, count in counts.items() if count}


def _top(counts: Mapping[str, int]) -> list[list[Any]]:
    shown = [
        (name, count)
        for name, count in counts.items()
        if count >= MIN_ROWS_SHOWN and len(name) <= _MAX_LENGTH
    ]
    return [[*pair] for pair in sorted(shown, key=lambda pair: (-pair[1], pair[0]))[:N_TOP]]


def _mean(ordered: Floats) -> float:
    # Divided first, so that the largest doubles do not add up to infinity.
    mean = float(np.sum(ordered / len(ordered)))
    return min(max(mean, float(ordered[0])), float(ordered[-1]))


def _bins(ordered: Floats) -> dict[str, Any]:
    """Return the inner edges of the deciles, and the rows of each bin with the open ends."""
    edges = np.unique(ordered[(_DECILES * len(ordered)).astype(np.intp)])
    return {"edges": edges.tolist(), "counts": count_bins(ordered, edges).tolist()}


def count_bins(values: Floats, edges: Floats) -> NDArray[np.intp]:
    """Count values in bins whose inner edges, `(n_bins - 1,)`, belong to the bin on their right."""
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)


def _spread(ordered: Floats) -> dict[str, Any]:
    low, high = float(ordered[0]), float(ordered[-1])
    positions = (np.array(QUANTILES) * (len(ordered) - 1)).astype(np.intp)
    told: dict[str, Any] = {
        "minimum": low,
        "maximum": high,
        "quantiles": ordered[positions].tolist(),
    }
    if low == high:
        return told | {"histogram": {"edges": [low, high], "counts": [len(ordered)]}}
    if not math.isfinite(high - low):
        return told
    edges = np.linspace(low, high, N_BINS + 1)
    counts = count_bins(ordered, edges[1:-1])
    return told | {"histogram": {"edges": edges.tolist(), "counts": counts.tolist()}}
