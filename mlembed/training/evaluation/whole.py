"""Everything that is measured on held-out rows, in one call."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from mlembed.errors import DataError
from mlembed.monitoring.metrics import METRICS
from mlembed.monitoring.metrics import evaluate as metrics_of
from mlembed.monitoring.multiclass import evaluate_classes
from mlembed.training.evaluation.calibration import calibration
from mlembed.training.evaluation.classes import of_classes
from mlembed.training.evaluation.confusion import confusion
from mlembed.training.evaluation.curves import curves
from mlembed.training.evaluation.dependence import dependence, worth_describing
from mlembed.training.evaluation.importance import importance
from mlembed.training.evaluation.intervals import intervals
from mlembed.training.evaluation.residuals import residuals
from mlembed.training.evaluation.slices import slices

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from mlembed.training.conformal import Band
    from mlembed.training.costs import Costs
    from mlembed.training.evaluation.rows import Rows
    from mlembed.training.threshold import Chosen

    Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure.

    Attributes:
        metric: Name of the trainer's metric, of the label's kind.
        threshold: The threshold that was chosen, or is declared; without meaning for a regression.
        costs: What mistakes cost on the held-out rows, for the cost curve.
        band: The interval of a regression, found on calibration rows.
        slices: Columns to slice by; those of the row where none is named.
        resamples: How often rows or entities are drawn.
        seed: Seed of everything random.
    """

    metric: str
    threshold: Chosen | float = 0.5
    costs: Costs | None = None
    band: Band | None = None
    slices: tuple[str, ...] = ()
    resamples: int = 500
    seed: int = 0

    @property
    def positive_from(self) -> float:
        """Score from which the label is positive."""
        threshold = self.threshold
        return float(threshold) if isinstance(threshold, (int, float)) else threshold.value


def evaluate(
    rows: Rows, plan: Plan, score: Callable[[Floats], Floats] | None = None
) -> dict[str, Any]:
    """Measure how good a model is, in plain JSON types; what does not apply is absent.

    Args:
        rows: Rows that neither the estimator nor its threshold has seen.
        plan: What to measure.
        score: Scores rows `(n, n_columns)` as the host will, `(n,)` or `(n, n_classes)`;
            importance and dependence are left out without it.

    Raises:
        DataError: If the metric is undefined for the rows.
    """
    at = plan.positive_from
    values = _values(rows, plan)
    if plan.metric not in values:
        raise DataError(
            f"{plan.metric} is undefined on the {rows.n} held-out rows, whose labels are all of "
            "one class or 0. Hold out other rows, or more"
        )
    drawn = {"resamples": plan.resamples, "seed": plan.seed}
    found: dict[str, Any] = {
        "n": rows.n,
        "metric": plan.metric,
        "metrics": values,
        "intervals": intervals(rows, values, at, **drawn),
        "bootstrap": {
            "resamples": plan.resamples,
            "clusters": rows.n_clusters,
            "entity": rows.entity or None,
        },
    }
    if rows.classes:
        found |= of_classes(rows)
    elif METRICS[plan.metric].kind == "binary":
        found |= _of_two_classes(rows, plan)
    else:
        found |= _of_quantities(rows, plan)
    if rows.columns:
        found["slices"] = slices(rows, plan.metric, at, plan.slices, **drawn)
    if rows.columns and score is not None:
        found["importance"] = importance(rows, plan.metric, at, score, seed=plan.seed)
        if not rows.classes:
            names = worth_describing(found["importance"])
            found["dependence"] = dependence(rows, names, score, seed=plan.seed)
    return found


def _values(rows: Rows, plan: Plan) -> dict[str, float]:
    if rows.classes:
        return evaluate_classes(rows.y, rows.scores)
    kind = METRICS[plan.metric].kind
    return metrics_of(kind, rows.y, rows.scores, plan.positive_from, plan.metric)


def _of_two_classes(rows: Rows, plan: Plan) -> dict[str, Any]:
    threshold = plan.threshold
    declared = {"rule": "declared", "value": plan.positive_from, "detail": {}}
    return {
        "positives": int((rows.y == 1).sum()),
        "confusion": confusion(rows.y, rows.scores >= plan.positive_from),
        "calibration": calibration(rows.y, rows.scores, rows.clusters),
        "calibration_error": METRICS["ece"].of(rows.y, rows.scores, 0.5),
        "threshold": declared if isinstance(threshold, (int, float)) else threshold.to_json(),
        "curves": curves(rows.y, rows.scores, plan.costs),
    }


def _of_quantities(rows: Rows, plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = {"residuals": residuals(rows)}
    if plan.band is not None:
        found["interval"] = plan.band.measured(rows.y, rows.scores, rows.clusters)
    return found
