"""How far two sides of scores are apart, and on which rows their labels differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Scores = NDArray[np.float64]


def errors(ours: Scores, theirs: Scores, *, relative: bool) -> Scores:
    """Return the difference of each row, of its worst class where there are several.

    Args:
        ours: Scores, `(n_records,)` or `(n_records, n_classes)`.
        theirs: The scores they should be, of the same shape.
        relative: Whether to measure in units of max(1, |score|).

    Returns:
        Array of shape `(n_records,)`: 0 for equal infinities and where both are NaN, infinite where
        one is.
    """
    if ours.shape != theirs.shape:
        return np.full(len(theirs), np.inf)
    with np.errstate(invalid="ignore", over="ignore"):
        scale = np.maximum(1.0, np.abs(theirs)) if relative else 1.0
        same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        apart = np.where(same, 0.0, np.abs(ours - theirs) / scale)
    found: Scores = np.where(np.isnan(apart), np.inf, apart)
    return found if found.ndim == 1 else found.reshape(len(found), -1).max(axis=1, initial=0.0)


def labels(
    ours: Scores, theirs: Scores, threshold: float | None, tolerance: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which rows get different labels, and which could: their score is a tie.

    Args:
        ours: Scores, `(n_records,)` or `(n_records, n_classes)`.
        theirs: The scores they should be.
        threshold: Score from which one label is positive; None has no labels. Several classes
            need none: the label is the class with the greatest score.
        tolerance: Scores no further apart than this tie.
    """
    if theirs.ndim > 1:
        two = np.sort(theirs, axis=1)[:, -2:]
        apart = ours.argmax(axis=1) != theirs.argmax(axis=1)
        return apart, two[:, 1] - two[:, 0] <= 2 * tolerance
    if threshold is None:
        return np.zeros(len(ours), bool), np.zeros(len(ours), bool)
    return (ours >= threshold) != (theirs >= threshold), np.abs(theirs - threshold) <= tolerance
