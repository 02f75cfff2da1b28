"""A metric as a function of the rows' weights, for many sets of weights at once.

Rows are sorted once; after that every metric is a few sums over them. A weight of k counts as k
copies of the row.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mlembed.monitoring.metrics import METRICS, N_BINS, pinball, quantile_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Many = Callable[[Floats], Floats]

_TINY = float(np.finfo(np.float64).eps)


@dataclasses.dataclass(frozen=True, slots=True)
class Measure:
    """A metric of weighted rows; NaN where it is undefined.

    Attributes:
        many: Takes weights `(n_sets, n)`, gives values `(n_sets,)`.
    """

    many: Many

    def __call__(self, weights: Floats) -> float:
        """Return the value for one set of weights, `(n,)`."""
        return float(self.many(weights[np.newaxis])[0])

    def times(self, weights: Floats) -> Measure:
        """Return the measure of rows that have *weights*, `(n,)`, before they are drawn."""
        return Measure(lambda drawn: self.many(drawn * weights))

    def among(self, rows: NDArray[np.intp]) -> Measure:
        """Return the measure of these *rows*, `(n,)`, as a function of the weights of all."""
        return Measure(lambda drawn: self.many(np.take(drawn, rows, axis=1)))


def measure(metric: str, y: Floats, scores: Floats, threshold: float) -> Measure:
    """Return *metric* as a function of row weights.

    Args:
        metric: A name in `METRICS`.
        y: Labels, `(n,)`; 0 and 1 for a binary label.
        scores: `(n,)`.
        threshold: Score from which the label is positive.
    """
    if metric in _RANKED:
        return Measure(_ranked(y, scores, _RANKED[metric]))
    many = _many(metric, y, scores, threshold)
    return Measure(_of_both(many, y == 1) if METRICS[metric].needs_both else many)


def ratio(above: Floats, below: Floats, empty: float = float("nan")) -> Many:
    """Return the quotient of two weighted sums.

    Args:
        above: What is summed above the line, `(n,)`.
        below: What is summed below it, `(n,)`.
        empty: The quotient where the sum below is 0.
    """

    def many(weights: Floats) -> Floats:
        divisor = weights @ below
        values = np.full(len(weights), empty)
        np.divide(weights @ above, divisor, out=values, where=divisor > 0)
        return values

    return many


def _many(metric: str, y: Floats, scores: Floats, threshold: float) -> Many:
    if metric in _DECIDED:
        called, true = (scores >= threshold).astype(float), (y == 1).astype(float)
        return ratio(*_DECIDED[metric](called, true), empty=0.0)
    if metric == "ece":
        return _calibration_error(y, scores)
    losses = _losses(metric, y, scores, threshold)
    if losses is None:
        return _repeated(metric, y, scores, threshold)
    mean = ratio(losses, np.abs(y) if metric == "wape" else np.ones(len(y)))
    return (lambda weights: np.sqrt(mean(weights))) if metric == "rmse" else mean


def _losses(metric: str, y: Floats, scores: Floats, threshold: float) -> Floats | None:
    quantile = quantile_of(metric)
    if quantile is not None:
        return pinball(y, scores, quantile)
    return _LOSSES[metric](y, scores, threshold) if metric in _LOSSES else None


def _of_both(many: Many, positive: NDArray[np.bool_]) -> Many:
    sides = np.stack([positive, ~positive], axis=1).astype(np.float64)

    def checked(weights: Floats) -> Floats:
        both = np.all(weights @ sides > 0, axis=1)
        values = np.full(len(weights), np.nan)
        values[both] = many(weights if both.all() else weights[both])
        return values

    return checked


class _Ranks(NamedTuple):
    """How positives and negatives lie, the highest scores first; for each positive, `(n_ups,)`.

    Attributes:
        above: How many negatives have a higher score.
        reached: How many have the same or a higher one.
        alike: Place of the last positive of the same score.
    """

    above: NDArray[np.intp]
    reached: NDArray[np.intp]
    alike: NDArray[np.intp]


def _ranked(y: Floats, scores: Floats, of: Callable[[_Ranks, Floats, Floats], Floats]) -> Many:
    """Return a metric of ranks; NaN where one side has no row.

    It is looked at the positives alone: where they are rare, little is summed but the negatives.
    """
    order = np.argsort(-scores, kind="stable")
    positive = (y == 1)[order]
    ups, downs = order[positive], order[~positive]
    high, low = -scores[ups], -scores[downs]
    ranks = _Ranks(
        above=np.searchsorted(low, high, "left"),
        reached=np.searchsorted(low, high, "right"),
        alike=np.searchsorted(high, high, "right") - 1,
    )

    def many(weights: Floats) -> Floats:
        drawn = np.take(weights, ups, axis=1)
        so_far = np.zeros((len(weights), len(downs) + 1))
        np.cumsum(np.take(weights, downs, axis=1), axis=1, out=so_far[:, 1:])
        both = (drawn.sum(axis=1) > 0) & (so_far[:, -1] > 0)
        values = np.full(len(weights), np.nan)
        if both.all():
            return of(ranks, drawn, so_far)
        values[both] = of(ranks, drawn[both], so_far[both])
        return values

    return many


def _starts(ordered: Floats) -> NDArray[np.intp]:
    """Return where in sorted scores each distinct one begins."""
    return np.flatnonzero(np.diff(ordered, prepend=np.nan) != 0)


def _summed(rows: Floats, starts: NDArray[np.intp]) -> Floats:
    if len(starts) == rows.shape[1]:
        return rows
    sums: Floats = np.add.reduceat(rows, starts, axis=1)
    return sums


def _roc_auc(ranks: _Ranks, drawn: Floats, so_far: Floats) -> Floats:
    """Compute from weights of positives and from the sums of those of negatives; ties count half."""
    lost = np.take(so_far, ranks.above, axis=1)
    lost += np.take(so_far, ranks.reached, axis=1)
    pairs = drawn.sum(axis=1) * so_far[:, -1]
    values: Floats = 1 - np.einsum("ij,ij->i", drawn, lost) / 2 / pairs
    return values


def _average_precision(ranks: _Ranks, drawn: Floats, so_far: Floats) -> Floats:
    true = np.take(np.cumsum(drawn, axis=1), ranks.alike, axis=1)
    called = true + np.take(so_far, ranks.reached, axis=1)
    precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
    values: Floats = np.einsum("ij,ij->i", drawn, precision) / drawn.sum(axis=1)
    return values


def _calibration_error(y: Floats, scores: Floats) -> Many:
    order = np.argsort(scores, kind="stable")
    gaps = (y - scores)[order]
    starts = _starts(scores[order])

    def many(weights: Floats) -> Floats:
        w = np.take(weights, order, axis=1)
        sizes, sums = _summed(w, starts), _summed(w * gaps, starts)
        reached = np.cumsum(sizes, axis=1)
        total = reached[:, -1:]
        known = np.where(total > 0, total, np.nan)
        middle = np.nan_to_num((reached - sizes / 2) * N_BINS / known)
        bins = np.minimum(middle, N_BINS - 1).astype(np.intp)
        bins += N_BINS * np.arange(len(w))[:, np.newaxis]
        found = np.bincount(bins.ravel(), sums.ravel(), minlength=N_BINS * len(w))
        values: Floats = np.abs(found.reshape(len(w), N_BINS)).sum(axis=1) / known[:, 0]
        return values

    return many


def _repeated(metric: str, y: Floats, scores: Floats, threshold: float) -> Many:
    def one(weights: Floats) -> float:
        rows = np.repeat(np.arange(len(y)), np.rint(weights).astype(np.int64))
        return METRICS[metric].of(y[rows], scores[rows], threshold)

    return lambda weights: np.array([one(row) for row in weights])


def _log_loss(y: Floats, scores: Floats, _threshold: float) -> Floats:
    p = np.clip(scores, _TINY, 1 - _TINY)
    loss: Floats = -np.log(np.where(y == 1, p, 1 - p))
    return loss


_RANKED: dict[str, Callable[[_Ranks, Floats, Floats], Floats]] = {
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
}
_DECIDED: dict[str, Callable[[Floats, Floats], tuple[Floats, Floats]]] = {
    "precision": lambda called, true: (called * true, called),
    "recall": lambda called, true: (called * true, true),
    "f1": lambda called, true: (2 * called * true, called + true),
}
_LOSSES: dict[str, Callable[[Floats, Floats, float], Floats]] = {
    "log_loss": _log_loss,
    "brier": lambda y, s, _: (s - y) ** 2,
    "error": lambda y, s, t: ((s >= t) != (y == 1)).astype(np.float64),
    "mae": lambda y, s, _: np.abs(s - y),
    "rmse": lambda y, s, _: (s - y) ** 2,
    "wape": lambda y, s, _: np.abs(s - y),
}
