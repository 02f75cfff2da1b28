"""Resample a metric: how far it could lie elsewhere by luck of the rows.

A resample is a count for each row, so rows are sorted once and every metric is a few sums over
them; two models measured with the same counts are compared row by row.

Method: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 6 and 13.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlembed.monitoring.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Measure = Callable[[Floats], float]

_TINY = float(np.finfo(np.float64).eps)
_LEVELS = (2.5, 97.5)
_DEFINED = 0.9


def measure(metric: str, y: Floats, scores: Floats, threshold: float) -> Measure:
    """Return the function from row weights `(n,)` to the metric of so weighted rows.

    Args:
        metric: A name in `METRICS`.
        y: Labels, `(n,)`; 0 and 1 for a binary label.
        scores: `(n,)`.
        threshold: Score from which the label is positive.

    Returns:
        A function that gives NaN where the metric is undefined.
    """
    if metric in _RANKED:
        return _ranked(y, scores, _RANKED[metric])
    if metric in _LOSSES:
        return _mean(_LOSSES[metric](y, scores, threshold), root=metric == "rmse")
    return _repeated(metric, y, scores, threshold)


def resample(measures: Sequence[Measure], n: int, resamples: int, seed: int) -> Floats:
    """Measure the same resampled rows with each of *measures*.

    Args:
        measures: Functions of `(n,)` row weights.
        n: Number of rows.
        resamples: How often to draw.
        seed: Seed of the draws.

    Returns:
        `(resamples, len(measures))`; NaN where a metric is undefined for the rows drawn.
    """
    random = np.random.default_rng(seed)
    values = np.empty((resamples, len(measures)))
    for i in range(resamples):
        counts = np.bincount(random.integers(0, n, n), minlength=n).astype(np.float64)
        values[i] = [of(counts) for of in measures]
    return values


def interval(values: Floats) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of *values*, `(resamples,)`.

    None where more than a tenth of them are undefined, since the rest would be a biased choice.
    """
    good = values[np.isfinite(values)]
    if good.size < _DEFINED * values.size:
        return None
    low, high = np.percentile(good, _LEVELS)
    return float(low), float(high)


def _ranked(y: Floats, scores: Floats, of: Callable[[Floats, Floats], float]) -> Measure:
    order = np.argsort(-scores, kind="stable")
    ordered, positive = scores[order], y[order] == 1
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(y) else order

    def value(weights: Floats) -> float:
        w = weights[order]
        ups = np.add.reduceat(np.where(positive, w, 0.0), starts)
        downs = np.add.reduceat(np.where(positive, 0.0, w), starts)
        return of(ups, downs) if ups.sum() > 0 and downs.sum() > 0 else float("nan")

    return value


def _roc_auc(ups: Floats, downs: Floats) -> float:
    """Compute from weights of positives and negatives of each distinct score, highest first."""
    below = downs.sum() - np.cumsum(downs)
    return float(np.sum(ups * (below + downs / 2)) / (ups.sum() * downs.sum()))


def _average_precision(ups: Floats, downs: Floats) -> float:
    true, called = np.cumsum(ups), np.cumsum(ups + downs)
    precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
    return float(np.sum(ups * precision) / ups.sum())


def _mean(losses: Floats, *, root: bool) -> Measure:
    def value(weights: Floats) -> float:
        total = float(weights.sum())
        mean = float(weights @ losses) / total if total > 0 else float("nan")
        return mean**0.5 if root else mean

    return value


def _repeated(metric: str, y: Floats, scores: Floats, threshold: float) -> Measure:
    def value(weights: Floats) -> float:
        rows = np.repeat(np.arange(len(y)), np.rint(weights).astype(np.int64))
        return METRICS[metric].of(y[rows], scores[rows], threshold)

    return value


def _log_loss(y: Floats, scores: Floats, _threshold: float) -> Floats:
    p = np.clip(scores, _TINY, 1 - _TINY)
    loss: Floats = -np.log(np.where(y == 1, p, 1 - p))
    return loss


_RANKED = {"roc_auc": _roc_auc, "average_precision": _average_precision}
_LOSSES: dict[str, Callable[[Floats, Floats, float], Floats]] = {
    "log_loss": _log_loss,
    "brier": lambda y, s, _: (s - y) ** 2,
    "error": lambda y, s, t: ((s >= t) != (y == 1)).astype(np.float64),
    "mae": lambda y, s, _: np.abs(s - y),
    "rmse": lambda y, s, _: (s - y) ** 2,
}
