"""Lower what is made of decision trees: one module a family, one tree operator for all of them."""

from __future__ import annotations

from mlembed.training.lowering.registry import register_later
from mlembed.training.lowering.trees import (
    coding,
    forest,
    gradient,
    guarding,
    histogram,
    isolation,
)
from mlembed.training.lowering.trees.histogram import native_categories

__all__ = ["BUILT_IN", "native_categories"]

BUILT_IN = (coding, forest, gradient, guarding, histogram, isolation)

# The extra `boosting`: neither library is imported by a trainer that does not use it.
register_later(
    "mlembed.training.lowering.trees.lightgbm",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
)
register_later(
    "mlembed.training.lowering.trees.xgboost",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
    "xgboost.sklearn.XGBRFClassifier",
    "xgboost.sklearn.XGBRFRegressor",
)
