"""Whether three in ten of the rows scored 0.3 are positive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlembed.monitoring.metrics import N_BINS, rank_bins
from mlembed.monitoring.shares import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Clusters = NDArray[np.integer]


def calibration(
    y: Floats, scores: Floats, clusters: Clusters | None = None
) -> list[dict[str, float]]:
    """Return the mean score and the share of positives in ten bins of equally many rows.

    Rows of one score share a bin, so there may be fewer bins. `low` and `high` are the ends of the
    95 % Wilson interval of the share.

    Args:
        y: 0 or 1, `(n,)`.
        scores: `(n,)`.
        clusters: Number of each row's entity, `(n,)`; their rows count for less where they are
            alike.
    """
    bins = rank_bins(scores, N_BINS)
    found = []
    for number in np.unique(bins).tolist():
        inside = bins == number
        truth = y[inside]
        low, high = share_interval(truth, None if clusters is None else clusters[inside])
        found.append(
            {
                "n": len(truth),
                "mean_score": float(np.mean(scores[inside])),
                "positive_share": float(np.mean(truth)),
                "low": low,
                "high": high,
            }
        )
    return found


def share_interval(cases: Floats, clusters: Clusters | None = None) -> tuple[float, float]:
    """Return the 95 % score interval of the share of *cases*.

    With entities, rows count as the number of independent ones that would vary as much (Korn and
    Graubard, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", Survey Methodology 24, 1998).

    Args:
        cases: 0 or 1, `(n,)`.
        clusters: Number of each row's entity, `(n,)`.
    """
    n = len(cases) / inflation(cases, clusters)
    k = float(np.mean(cases)) * n
    return wilson(k, n)


def inflation(values: Floats, clusters: Clusters | None) -> float:
    """Return how much more the mean of *values* varies for rows of one entity being alike.

    Kish, "Survey Sampling", 1965, section 5.4: the design effect; at least 1.

    Args:
        values: `(n,)`.
        clusters: Number of each row's entity, `(n,)`.
    """
    apart = values - np.mean(values)
    alone = float(np.sum(apart**2))
    if clusters is None or alone == 0:
        return 1.0
    sums = np.bincount(np.unique(clusters, return_inverse=True)[1], weights=apart)
    return max(1.0, float(np.sum(sums**2)) / alone)
