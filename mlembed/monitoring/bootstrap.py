"""Resample a metric: how far it could lie elsewhere by luck of the rows.

Two models measured with the same weights are compared row by row. Where rows of one entity are
alike, whole entities are drawn: rows drawn one by one would promise more than is known.

Rows: drawn with replacement (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
chapters 6 and 13). Entities: each gets a Poisson(1) weight that all its rows share (Owen and
Eckles, "Bootstrapping data arrays of arbitrary order", Annals of Applied Statistics 6(3), 2012;
Field and Welsh, "Bootstrapping clustered data", Journal of the Royal Statistical Society B 69(3),
2007).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlembed.monitoring.weighted import Measure, measure
from mlembed.serving.pool import shared

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["MIN_CLUSTERS", "Measure", "draws", "each_of", "interval", "measure", "resample"]

MIN_CLUSTERS = 10  # fewer say nothing of how entities differ
_LEVELS = (2.5, 97.5)
_DEFINED = 0.9
_CELLS = 2**18  # of one block of weights, so that it stays in the processor's cache


def resample(
    measures: Sequence[Measure],
    n: int,
    resamples: int,
    seed: int,
    clusters: NDArray[np.integer] | None = None,
) -> Floats:
    """Measure the same resampled rows with each of *measures*.

    Args:
        measures: Functions of row weights.
        n: Number of rows.
        resamples: How often to draw.
        seed: Seed of the draws.
        clusters: Number of each row's entity, `(n,)`; whole entities are drawn then.

    Returns:
        `(resamples, len(measures))`; NaN where a metric is undefined for the rows drawn, and
        throughout where there are fewer entities than `MIN_CLUSTERS`.
    """
    values = np.full((resamples, len(measures)), np.nan)
    if clusters is not None and len(np.unique(clusters)) < MIN_CLUSTERS:
        return values
    start = 0
    for weights in draws(n, resamples, seed, clusters):
        values[start : start + len(weights)] = each_of(measures, weights)
        start += len(weights)
    return values


def each_of(measures: Sequence[Measure], weights: Floats) -> Floats:
    """Return what each of *measures* gives for *weights*, `(n_sets, len(measures))`.

    A second core takes its share, where one is free.
    """
    found = np.empty((len(weights), len(measures)))

    def measure_one(j: int) -> None:
        found[:, j] = measures[j].many(weights)

    shared(measure_one, range(len(measures)))
    return found


def draws(
    n: int, resamples: int, seed: int, clusters: NDArray[np.integer] | None = None
) -> Iterator[Floats]:
    """Yield the row weights of the resamples in blocks, `(n_block, n)`.

    Args:
        n: Number of rows.
        resamples: How often to draw.
        seed: Seed of the draws.
        clusters: Number of each row's entity, `(n,)`.
    """
    random = np.random.default_rng(seed)
    codes = None if clusters is None else np.unique(clusters, return_inverse=True)[1]
    step = max(1, _CELLS // max(n, 1))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        yield _rows(random, n, size) if codes is None else _entities(random, codes, size)


def interval(values: Floats) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of *values*, `(resamples,)`.

    None where more than a tenth of them are undefined, since the rest would be a biased choice.
    """
    good = values[np.isfinite(values)]
    if good.size < _DEFINED * values.size:
        return None
    low, high = np.percentile(good, _LEVELS)
    return float(low), float(high)


def _rows(random: np.random.Generator, n: int, size: int) -> Floats:
    weights = np.empty((size, n))
    for i in range(size):
        weights[i] = np.bincount(random.integers(0, n, n), minlength=n)
    return weights


def _entities(random: np.random.Generator, codes: NDArray[np.intp], size: int) -> Floats:
    weights = random.poisson(1.0, (size, int(codes.max()) + 1)).astype(np.float64)
    return np.take(weights, codes, axis=1)
