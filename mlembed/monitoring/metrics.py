"""The measures of a model, the same offline, in the bundle and in the monitor.

A metric means one function in training and in monitoring, so that a promise made when a
model was published can be compared with what it does in service.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn import metrics as sk

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Kind = Literal["binary", "regression"]
    Values = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True)
class Metric:
    """A measure of scores against the truth.

    Attributes:
        kind: The kind of label it is for.
        sign: 1 where more is better, -1 where less is.
        of: Computes it from labels `(n,)`, scores `(n,)` and the threshold.
        needs_both: Whether it is undefined where the truth holds one class only.
    """

    kind: Kind
    sign: int
    of: Callable[[Values, Values, float], float]
    needs_both: bool = False


METRICS: dict[str, Metric] = {
    "roc_auc": Metric("binary", 1, lambda y, s, _: float(sk.roc_auc_score(y, s)), needs_both=True),
    "average_precision": Metric(
        "binary", 1, lambda y, s, _: float(sk.average_precision_score(y, s)), needs_both=True
    ),
    "log_loss": Metric("binary", -1, lambda y, s, _: float(sk.log_loss(y, s, labels=[0.0, 1.0]))),
    "brier": Metric("binary", -1, lambda y, s, _: float(np.mean((s - y) ** 2))),
    "error": Metric("binary", -1, lambda y, s, t: float(np.mean((s >= t) != (y == 1)))),
    "mae": Metric("regression", -1, lambda y, s, _: float(np.mean(np.abs(s - y)))),
    "rmse": Metric("regression", -1, lambda y, s, _: float(np.sqrt(np.mean((s - y) ** 2)))),
}
DEFAULT_METRIC: dict[str, str] = {"binary": "roc_auc", "regression": "mae"}


def is_defined(metric: Metric, y: Values) -> bool:
    """Tell whether *metric* has a value for the labels *y*, `(n,)`."""
    return len(y) > 0 and not (metric.needs_both and len(np.unique(y)) < 2)  # noqa: PLR2004


def evaluate(kind: Kind, y: Values, scores: Values, threshold: float = 0.5) -> dict[str, float]:
    """Return every metric of *kind* that is defined for *y*, by name.

    Args:
        kind: Kind of the label.
        y: Labels, `(n,)`; 0 and 1 for a binary label.
        scores: `(n,)`.
        threshold: Score from which the label is positive.
    """
    return {
        name: metric.of(y, scores, threshold)
        for name, metric in METRICS.items()
        if metric.kind == kind and is_defined(metric, y)
    }
