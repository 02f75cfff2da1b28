"""Say in words what the names in an evaluation mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlembed.monitoring.metrics import METRICS
from mlembed.monitoring.multiclass import CLASS_METRICS

if TYPE_CHECKING:
    from mlembed.bundle.manifest import Task

_METRICS = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier score",
    "error": "share of wrong labels",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "wape": "WAPE",
    "ece": "expected calibration error",
    "f1": "F1",
    "balanced_error": "error, each class alike",
    "macro_f1": "F1, each class alike",
}
_RULES = {
    "cost": "least expected cost",
    "capacity": "as many rows as can be acted on",
    "precision": "the precision asked for",
    "recall": "the recall asked for",
    "declared": "declared, not learnt",
    "estimator": "the estimator's own",
}
_LEAKS = {
    "auc": "predicts the label all alone",
    "gives_away": "gives the label away",
    "later": "is later than the prediction",
    "absent": "is nothing the host will have",
    "identifier": "has about as many values as there are rows",
}
_SIDES = {"train": "training", "calibration": "calibration", "test": "test (measured on)"}


def metric(name: str) -> str:
    """Return the words for a metric; its own name where there are none."""
    return _METRICS.get(name, name)


def direction(name: str) -> str:
    """Say whether more or less of a metric is better; nothing where it is not known."""
    known = METRICS[name] if name in METRICS else CLASS_METRICS.get(name)
    if known is None:
        return ""
    return "higher is better" if known.sign > 0 else "lower is better"


def rule(name: str) -> str:
    """Return the words for how a threshold was chosen."""
    return _RULES.get(name, name)


def leak(kind: str) -> str:
    """Return what is suspicious about a column."""
    return _LEAKS.get(kind, kind)


def side(name: str) -> str:
    """Return the words for one side of the split."""
    return _SIDES.get(name, name)


def meaning(task: Task, tick: str = "'") -> str:
    """Say what a score means, names between *tick*s."""
    label = f"{tick}{task.label}{tick}"
    if task.kind == "multiclass":
        said = f"The label is the most probable {label}, the score its probability."
    elif task.kind == "regression":
        said = f"The score is {label}{f' in {task.unit}' if task.unit else ''}."
    else:
        said = (
            f"The score is the probability that {label} is {task.positive}; "
            f"the label is positive from {task.threshold:.6g}."
        )
    if task.abstain is not None:
        said += f" Between {task.abstain[0]:g} and {task.abstain[1]:g} it gives no label."
    return said
