"""A metric of answers of either kind: one score a row, or a probability for each of several classes.

Some names, such as `error`, mean a metric of either; the shape of the answers says which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlembed.monitoring import multiclass, weighted
from mlembed.monitoring.metrics import METRICS, is_defined

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mlembed.monitoring.weighted import Measure

    Floats = NDArray[np.float64]


def measure_of(metric: str, y: Floats, answers: Floats, threshold: float) -> Measure:
    """Return *metric* as a function of row weights.

    Args:
        metric: A name in `METRICS`, or in `CLASS_METRICS` for several classes.
        y: Labels, `(n,)`; places of the true classes for several.
        answers: Scores `(n,)`, or probabilities `(n, n_classes)`.
        threshold: Score from which the label is positive.
    """
    if answers.ndim > 1:
        return multiclass.measure(metric, y, answers, answers.shape[1])
    return weighted.measure(metric, y, answers, threshold)


def sign_of(metric: str, answers: Floats) -> int:
    """Return 1 where more of *metric* is better, -1 where less is."""
    return (multiclass.CLASS_METRICS if answers.ndim > 1 else METRICS)[metric].sign


def undefined(metric: str, y: Floats, answers: Floats) -> str:
    """Return why *metric* has no value for these rows; empty where it has one."""
    if not len(y):
        return "there are none"
    if answers.ndim > 1 or is_defined(METRICS[metric], y):
        return ""
    return "of one class" if METRICS[metric].needs_both else "0 throughout"
