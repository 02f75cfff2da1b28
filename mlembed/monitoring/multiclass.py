"""The measures of a model of several classes, the same in training, in the bundle and in the monitor.

Each is a function of the rows' weights, as for other models, so an interval comes at the same price. A
log holds the most probable class alone: what needs the probability of every class can be promised, and
is measured where the graph is run.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from mlembed.monitoring.weighted import Measure, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mlembed.monitoring.weighted import Many

    Floats = NDArray[np.float64]

_TINY = float(np.finfo(np.float64).eps)


@dataclasses.dataclass(frozen=True, slots=True)
class ClassMetric:
    """A measure of several classes against the truth.

    Attributes:
        sign: 1 where more is better, -1 where less is.
        of: Makes the function of weights from places of true classes `(n,)` and answers.
        needs_probabilities: Whether answers are the probabilities `(n, n_classes)`; otherwise they
            are places of the most probable classes, `(n,)`.
    """

    sign: int
    of: Callable[[Floats, Floats, int], Many]
    needs_probabilities: bool = False


def measure(metric: str, y: Floats, answers: Floats, n_classes: int) -> Measure:
    """Return *metric* as a function of row weights.

    Args:
        metric: A name in `CLASS_METRICS`.
        y: Places of the true classes, `(n,)`.
        answers: Probabilities `(n, n_classes)`, or places of the most probable classes, `(n,)`,
            where the metric does not need more.
        n_classes: Number of classes.
    """
    chosen = CLASS_METRICS[metric]
    if answers.ndim > 1 and not chosen.needs_probabilities:
        answers = answers.argmax(axis=1).astype(np.float64)
    return Measure(chosen.of(y, answers, n_classes))


def evaluate_classes(y: Floats, probabilities: Floats) -> dict[str, float]:
    """Return every metric by name.

    Args:
        y: Places of the true classes, `(n,)`, at least one.
        probabilities: `(n, n_classes)`.
    """
    ones, n_classes = np.ones(len(y)), probabilities.shape[1]
    return {name: measure(name, y, probabilities, n_classes)(ones) for name in CLASS_METRICS}


def aligned(probabilities: Floats, classes: Sequence[str], wanted: Sequence[str]) -> Floats:
    """Return the probabilities of the *wanted* classes, in their order.

    A class that is not wanted is left out; a wanted one that the model does not know has the
    probability 0.

    Args:
        probabilities: `(n, n_classes)`.
        classes: The model's classes.
        wanted: The classes to return.
    """
    places = {name: place for place, name in enumerate(classes)}
    columns = np.zeros((len(probabilities), len(wanted)))
    for place, name in enumerate(wanted):
        if name in places:
            columns[:, place] = probabilities[:, places[name]]
    return columns


def _error(y: Floats, codes: Floats, _n_classes: int) -> Many:
    return ratio((codes != y).astype(np.float64), np.ones(len(y)))


def _balanced_error(y: Floats, codes: Floats, n_classes: int) -> Many:
    """Compute the mean of the classes' error rates, over the classes that are there.

    One less the balanced accuracy: Brodersen et al., "The balanced accuracy and its posterior
    distribution", ICPR 2010.
    """
    places, wrong = y.astype(np.intp), (codes != y).astype(np.float64)

    def one(weights: Floats) -> float:
        sizes = np.bincount(places, weights, minlength=n_classes)
        missed = np.bincount(places, weights * wrong, minlength=n_classes)
        there = sizes > 0
        return float(np.mean(missed[there] / sizes[there])) if there.any() else float("nan")

    return lambda weights: np.array([one(row) for row in weights])


def _macro_f1(y: Floats, codes: Floats, n_classes: int) -> Many:
    """Compute the mean of the classes' F1, over the classes that are true or answered somewhere."""
    places, given = y.astype(np.intp), codes.astype(np.intp)
    right = (codes == y).astype(np.float64)

    def one(weights: Floats) -> float:
        both = np.bincount(places, weights, minlength=n_classes)
        both += np.bincount(given, weights, minlength=n_classes)
        hits = 2 * np.bincount(places, weights * right, minlength=n_classes)
        there = both > 0
        return float(np.mean(hits[there] / both[there])) if there.any() else float("nan")

    return lambda weights: np.array([one(row) for row in weights])


def _log_loss(y: Floats, probabilities: Floats, _n_classes: int) -> Many:
    own = np.take_along_axis(probabilities, y.astype(np.intp)[:, np.newaxis], axis=1)[:, 0]
    return ratio(-np.log(np.clip(own, _TINY, 1 - _TINY)), np.ones(len(y)))


DEFAULT_CLASS_METRIC = "error"
CLASS_METRICS: dict[str, ClassMetric] = {
    "error": ClassMetric(-1, _error),
    "balanced_error": ClassMetric(-1, _balanced_error),
    "macro_f1": ClassMetric(1, _macro_f1),
    "log_loss": ClassMetric(-1, _log_loss, needs_probabilities=True),
}
