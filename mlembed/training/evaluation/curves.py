"""What every threshold would bring: ROC, precision and recall, gain, cost.

A curve keeps at most 200 points, its ends among them; those between are picked so that no stretch
of it goes without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.training.evaluation.cuts import cuts_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.training.costs import Costs
    from mlembed.training.evaluation.cuts import Cuts

    Floats = NDArray[np.float64]
    Curve = dict[str, list[float]]

MAX_POINTS = 200


def curves(y: Floats, scores: Floats, costs: Costs | None = None) -> dict[str, Curve]:
    """Return the curves by name; those that need two classes are absent where there is one.

    Args:
        y: 0 or 1, `(n,)`.
        scores: `(n,)`.
        costs: What each mistake costs, for the cost curve.

    Raises:
        DataError: If a score is not finite.
    """
    cuts = cuts_of(y, scores)
    found = {}
    if 0 < cuts.positives < cuts.n:
        found["roc"] = _roc(cuts)
        found["precision_recall"] = _precision_recall(cuts)
    if cuts.positives:
        found["gain"] = _along(cuts.labelled / cuts.n, cuts.recall)
    if costs is not None:
        found["cost"] = _cost(cuts, costs.mean(cuts, y))
    return found


def _roc(cuts: Cuts) -> Curve:
    false = cuts.labelled - cuts.true
    return _along(false / (cuts.n - cuts.positives), cuts.recall)


def _precision_recall(cuts: Cuts) -> Curve:
    """Keep each recall's first threshold, which has the best precision; begin at the first."""
    first = np.flatnonzero(np.diff(cuts.true, prepend=0) > 0)
    x, y = cuts.recall[first], cuts.precision[first]
    keep = _spread(x)
    return _curve(x[keep], y[keep])


def _cost(cuts: Cuts, cost: Floats) -> Curve:
    x, y = cuts.thresholds[::-1], cost[::-1]
    keep = np.union1d(_spread(np.arange(len(x)), MAX_POINTS - 1), np.argmin(y))
    return _curve(x[keep], y[keep])


def _along(x: Floats, y: Floats) -> Curve:
    keep = _spread(x + y)
    return _curve(x[keep], y[keep])


def _spread(positions: NDArray[Any], most: int = MAX_POINTS) -> NDArray[np.intp]:
    """Pick at most *most* of increasing *positions*, evenly spread, the ends among them."""
    if len(positions) <= most:
        return np.arange(len(positions))
    targets = np.linspace(positions[0], positions[-1], most)
    picks: NDArray[np.intp] = np.unique(np.searchsorted(positions, targets))
    return picks


def _curve(x: Floats, y: Floats) -> Curve:
    return {"x": x.tolist(), "y": y.tolist()}
