"""How good a model is on rows it was not trained on, in numbers.

    evaluate(Rows(y=y, scores=scores, columns=columns, x=x), Plan(metric="roc_auc"), score)

Every number comes from arrays and a seed alone, in plain JSON types, so that it can be made again.
"""

from __future__ import annotations

from mlembed.training.evaluation.contrast import contrast
from mlembed.training.evaluation.rows import Rows
from mlembed.training.evaluation.whole import Plan, evaluate

__all__ = ["Plan", "Rows", "contrast", "evaluate"]
