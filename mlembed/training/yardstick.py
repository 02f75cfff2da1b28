"""The metric that a trainer judges by, whatever the kind of the label."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from mlembed.monitoring.judged import measure_of
from mlembed.monitoring.metrics import DEFAULT_METRIC, METRICS
from mlembed.monitoring.multiclass import CLASS_METRICS, DEFAULT_CLASS_METRIC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Metrics that a constant is best in, so that nothing can be chosen by them; and what to do instead.
UNFIT = {
    "ece": "a constant is calibrated best; choose by log_loss, and ask for Gates(calibration_error=)",
    "recall": "calling everything positive is best; choose by average_precision or f1, and ask for "
    "threshold=ByRecall()",
}


@dataclasses.dataclass(frozen=True)
class Yardstick:
    """One metric of one kind of label.

    Attributes:
        metric: Its name.
        kind: Kind of the label.
        threshold: Score from which the label is positive; NaN where that has no meaning.
    """

    metric: str
    kind: str
    threshold: float

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return (CLASS_METRICS if self.kind == "multiclass" else METRICS)[self.metric].sign

    def of(self, y: Floats, scores: Floats) -> float:
        """Return the metric of labels `(n,)` and scores `(n,)` or `(n, n_classes)`."""
        if self.kind == "multiclass":
            return measure_of(self.metric, y, scores, self.threshold)(np.ones(len(y)))
        return float(METRICS[self.metric].of(y, scores, self.threshold))

    def goodness(self, values: Sequence[float]) -> float:
        """Return the mean of *values*, such that more is better."""
        return self.sign * float(np.mean(values))


def default_metric(kind: str) -> str:
    """Return the metric of a label of *kind*, where none is declared."""
    return DEFAULT_CLASS_METRIC if kind == "multiclass" else DEFAULT_METRIC[kind]


def suits(metric: str, kind: str) -> bool:
    """Tell whether candidates for a label of *kind* can be chosen by *metric*."""
    return metric in metrics_for(kind)


def metrics_for(kind: str) -> list[str]:
    """Return the names of the metrics by which candidates for a label of *kind* can be chosen."""
    if kind == "multiclass":
        return list(CLASS_METRICS)
    return [name for name, metric in METRICS.items() if metric.kind == kind and name not in UNFIT]
