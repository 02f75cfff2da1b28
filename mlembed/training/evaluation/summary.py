"""Describe how good a model is on rows it was not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.monitoring.metrics import evaluate
from mlembed.training.evaluation.calibration import calibration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mlembed.training.trainer import Trainer

    Values = NDArray[np.float64]


def describe(
    trainer: Trainer, y: Values, scores: Values, contest: Mapping[str, float]
) -> dict[str, Any]:
    """Return the bundle's evaluation, in plain JSON types.

    Args:
        trainer: The declaration.
        y: Labels of the held-out rows, `(n_records,)`.
        scores: Their scores, `(n_records,)`.
        contest: Validation metric of every candidate.
    """
    label = trainer.label
    evaluation: dict[str, Any] = {
        "n": len(y),
        "metrics": evaluate(label.kind, y, scores, label.threshold, trainer.metric),
        "contest": {"metric": trainer.metric, "candidates": dict(contest)},
    }
    if label.kind == "binary":
        evaluation["confusion"] = confusion(y, scores >= label.threshold)
        evaluation["calibration"] = calibration(y, scores)
    return evaluation


def confusion(y: Values, positive: NDArray[np.bool_]) -> dict[str, int]:
    """Count truth against label, both `(n,)`."""
    truth = y == 1
    return {
        "true_positive": int(np.sum(truth & positive)),
        "false_positive": int(np.sum(~truth & positive)),
        "false_negative": int(np.sum(truth & ~positive)),
        "true_negative": int(np.sum(~truth & ~positive)),
    }
