"""Each metric with how far it could lie elsewhere by luck of the rows.

The calibration error has no interval: a resample of rows is by chance less calibrated than the
rows themselves, so percentiles of it would lie too high.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlembed.monitoring import bootstrap
from mlembed.monitoring.judged import measure_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlembed.training.evaluation.rows import Rows

_BIASED = {"ece"}


def intervals(
    rows: Rows, metrics: Iterable[str], threshold: float, *, resamples: int = 500, seed: int = 0
) -> dict[str, list[float]]:
    """Return the 95 % percentile interval of each metric, absent where it cannot be had.

    Args:
        rows: Rows to measure on; entities are drawn whole where they are known.
        metrics: Names in `METRICS`, or in `CLASS_METRICS` for several classes.
        threshold: Score from which the label is positive.
        resamples: How often rows or entities are drawn.
        seed: Seed of the draws.
    """
    names = [name for name in metrics if name not in _BIASED]
    measures = [measure_of(name, rows.y, rows.scores, threshold) for name in names]
    drawn = bootstrap.resample(measures, rows.n, resamples, seed, rows.clusters)
    ends = {name: bootstrap.interval(drawn[:, i]) for i, name in enumerate(names)}
    return {name: list(found) for name, found in ends.items() if found is not None}
