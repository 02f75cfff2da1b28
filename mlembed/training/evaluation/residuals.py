"""How far off the scores of a regression are, and on which side.

A residual is the truth less the score: positive where the score is too low.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.monitoring.metrics import rank_bins
from mlembed.monitoring.shares import Z_95
from mlembed.training.evaluation.calibration import inflation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.training.evaluation.rows import Rows

N_BINS = 30
_TAILS = (0.5, 99.5)


def residuals(rows: Rows) -> dict[str, Any]:
    """Return the histogram of the residuals and their mean in ten bins of the score.

    Args:
        rows: Rows to measure on.

    Returns:
        `bins`, edges that span the inner 99 %, and `counts`, the outermost of which hold what lies
        beyond, too; `by_score` with mean `score`, `mean_error`, its 95 % interval `low`, `high`
        (absent where one row, or one entity, is all there is) and `n` of each bin.
    """
    errors = rows.y - rows.scores
    low, high = np.percentile(errors, _TAILS)
    edges = np.histogram_bin_edges(errors, N_BINS, (low, high))
    counts, _ = np.histogram(np.clip(errors, edges[0], edges[-1]), edges)
    return {"bins": edges.tolist(), "counts": counts.tolist(), "by_score": _by_score(rows, errors)}


def _by_score(rows: Rows, errors: NDArray[np.float64]) -> list[dict[str, float]]:
    bins = rank_bins(rows.scores)
    found = []
    for number in np.unique(bins).tolist():
        inside = bins == number
        own, n = errors[inside], int(np.sum(inside))
        clusters = None if rows.clusters is None else rows.clusters[inside]
        part = {"score": float(np.mean(rows.scores[inside])), "mean_error": float(np.mean(own))}
        if (n if clusters is None else len(np.unique(clusters))) > 1:
            varies = float(np.var(own, ddof=1)) * inflation(own, clusters)
            reach = Z_95 * (varies / n) ** 0.5
            part |= {"low": part["mean_error"] - reach, "high": part["mean_error"] + reach}
        found.append(part | {"n": n})
    return found
