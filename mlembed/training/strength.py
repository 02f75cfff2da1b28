"""How well one column alone tells the label.

What is learnt from one half of the rows is measured on the other, so that rare values and chance
do not look like knowledge. Missing is a value of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlembed.training.distinct import distinct, is_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    from mlembed.training.coded import Texts

    Floats = NDArray[np.float64]
    Half = tuple[Any, Floats]  # column and label

# Neighbours whose mean stands for a number: many for a class, few for a quantity, whose mean they
# blur.
_NEIGHBOURS = {"binary": 25, "regression": 5}


def separation(values: NDArray[Any] | Texts, y: Floats, *, seed: int = 0) -> float:
    """Return the ROC AUC that one column reaches alone.

    Args:
        values: The column, `(n_records,)`, as a `Dataset` holds it.
        y: Labels, 0 or 1.
        seed: Seed of the halves.

    Returns:
        From .5 (nothing) to 1; the better of its order, either way round, and of the share of
        positives near each value.
    """
    learnt = _out_of_half(values, y, "binary", roc_auc, seed)
    return max(learnt, 0.5, 0.0 if is_text(values) else _ordered(values, y))


def explained(values: NDArray[Any] | Texts, y: Floats, *, seed: int = 0) -> float:
    """Return the share of a quantity's variance that one column explains alone.

    Args:
        values: The column, `(n_records,)`, as a `Dataset` holds it.
        y: Labels.
        seed: Seed of the halves.

    Returns:
        R^2 from 0 to 1, of the label or of its ranks, whichever is larger: a few extreme labels
        do not hide what tells all others.
    """
    codes, _, counts = distinct(y)
    ranks = (np.cumsum(counts) - counts / 2)[codes]  # ties share their mean rank
    found = [_out_of_half(values, label, "regression", _r2, seed) for label in (y, ranks)]
    return max(0.0, *found)


def roc_auc(scores: Floats, y: Floats) -> float:
    """Return the ROC AUC of *scores* for labels 0 and 1, ties counted half; NaN for one class."""
    _, codes = np.unique(scores, return_inverse=True)
    return _auc(np.bincount(codes[y == 1], minlength=codes.max() + 1), np.bincount(codes))


def _auc(positives: NDArray[np.intp], rows: NDArray[np.intp]) -> float:
    """Return the ROC AUC of groups in increasing order, by rows and positives of each."""
    negatives = rows - positives
    below = np.cumsum(negatives) - negatives
    pairs = float(positives.sum()) * float(negatives.sum())
    return float((positives * (below + negatives / 2)).sum() / pairs) if pairs else float("nan")


def _ordered(values: Any, y: Floats) -> float:
    found = distinct(values)
    places = found.codes + 1  # missing comes first
    rows = np.bincount(places, minlength=len(found.values) + 1)
    positives = np.bincount(places[y == 1], minlength=len(rows))
    auc = _auc(positives, rows)
    return max(auc, 1 - auc)


def _out_of_half(
    values: NDArray[Any] | Texts,
    y: Floats,
    kind: str,
    measure: Callable[[Floats, Floats], float],
    seed: int,
) -> float:
    """Return the mean measure of both halves, each foretold by the other; 0 where neither can be."""
    first = np.zeros(len(y), dtype=bool)
    first[np.random.default_rng(seed).permutation(len(y))[: len(y) // 2]] = True
    column = distinct(values).codes if is_text(values) else values
    halves = [(column[side], y[side]) for side in (first, ~first)]
    found = [
        measure(_foretell(known, other[0], kind, text=is_text(values)), other[1])
        for known, other in (halves, halves[::-1])
    ]
    return float(np.mean(found)) if np.isfinite(found).all() else 0.0


def _foretell(known: Half, column: Any, kind: str, *, text: bool) -> Floats:
    values, y = known
    overall = float(y.mean())
    if text:
        return _value_means(values, y, column, overall)
    scores = np.full(len(column), overall)
    missing, absent = np.isnan(values), np.isnan(column)
    if missing.any():
        scores[absent] = y[missing].mean()
    if not missing.all():
        order = np.argsort(values[~missing], kind="stable")
        ordered = (values[~missing][order], y[~missing][order])
        scores[~absent] = _near_means(ordered, column[~absent], _NEIGHBOURS[kind])
    return scores


def _value_means(codes: Any, y: Floats, column: Any, overall: float) -> Floats:
    """Return the mean label of each row's own value, drawn to the overall mean by one row."""
    n_codes = max(int(codes.max()), int(column.max())) + 2
    rows = np.bincount(codes + 1, minlength=n_codes)
    sums = np.bincount(codes + 1, weights=y, minlength=n_codes)
    means: Floats = ((sums + overall) / (rows + 1))[column + 1]
    return means


def _near_means(known: tuple[Floats, Floats], column: Floats, n_near: int) -> Floats:
    """Return the mean label of the rows of the same value, or of the nearest where those are few."""
    values, y = known
    totals = np.concatenate([[0.0], np.cumsum(y)])
    low = np.searchsorted(values, column, side="left")
    high = np.searchsorted(values, column, side="right")
    few = high - low < n_near
    start = np.clip((low[few] + high[few] - n_near) // 2, 0, max(len(values) - n_near, 0))
    low[few], high[few] = start, np.minimum(start + n_near, len(values))
    means: Floats = (totals[high] - totals[low]) / (high - low)
    return means


def _r2(predicted: Floats, y: Floats) -> float:
    spread = float(((y - y.mean()) ** 2).sum())
    return 1 - float(((y - predicted) ** 2).sum()) / spread if spread else float("nan")
