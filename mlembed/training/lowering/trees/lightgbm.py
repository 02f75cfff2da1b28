"""Lower LightGBM's estimators, which compute in double precision throughout.

Imported when a candidate is one of them, never before: the library is optional.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor

from mlembed.errors import LoweringError
from mlembed.training.lowering.ensemble import Child, Ensemble, Mode
from mlembed.training.lowering.registry import FeatureSpec, class_name, register
from mlembed.training.lowering.trees import lightgbm_text
from mlembed.training.lowering.trees.coding import tell_categories

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.graph import Builder
    from mlembed.training.lowering.trees.lightgbm_text import Model, Split, Tree

# What lies between is zero to LightGBM: kZeroThreshold of its meta.h, a float32.
ZERO = float(np.float32(1e-35))
_PLAIN = (
    *("regression", "regression_l1", "huber", "fair", "quantile", "mape"),
    *("l2", "l1", "mse", "mae", "rmse", "mean_squared_error", "mean_absolute_error"),
    *("l2_root", "root_mean_squared_error", "regression_l2", "mean_absolute_percentage_error"),
)
_EXP = ("poisson", "gamma", "tweedie")
_SIGMOID = ("binary", "cross_entropy", "xentropy", "multiclassova")
_ALIASES = ("multiclass", "softmax", "multiclass_ova", "ova", "ovr")
_OTHER = ("cross_entropy_lambda", "xentlambda")
_OBJECTIVES = (*_PLAIN, *_EXP, *_SIGMOID, *_ALIASES, *_OTHER)
# Settings under which `predict` does something else than add up the trees.
_REFUSED = (
    *("linear_tree", "linear_trees", "pred_early_stop", "start_iteration_predict"),
    *("num_iteration_predict", "categorical_feature", "cat_feature", "categorical_column"),
    *("cat_column", "categorical_features"),
)


def _check(estimator: Any) -> None:
    name, settings = class_name(estimator), estimator.get_params()
    objective = settings.get("objective")
    if objective is not None and objective not in _OBJECTIVES:
        raise LoweringError(
            f"{name}: objective has no known link; use one of {', '.join(_OBJECTIVES)}"
        )
    refused = [key for key in _REFUSED if settings.get(key)]
    if refused:
        raise LoweringError(
            f"{name}: {', '.join(refused)} has no exact form here; leave it out. Categories are "
            "told by the record"
        )


def _read(estimator: Any) -> Model:
    _check(estimator)
    return lightgbm_text.read(estimator.booster_.model_to_string())  # as many as predict uses


def _splits(estimator: Any) -> dict[int, list[float]]:
    splits: dict[int, list[float]] = {}
    for tree in _read(estimator).trees:
        for split in tree.splits:
            if split.codes is None:
                points = splits.setdefault(split.feature, [])
                points += [split_point(split.threshold), ZERO, -ZERO]
    return splits


def lower_sum(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower what the trees add up to, before the link: the decision function of a classifier.

    LightGBM averages random forests in `predict` only.
    """
    return _sum(_read(estimator), builder, x, specs)


def _sum(model: Model, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    x = _without_zeros(model, builder, x, len(specs))
    ensemble = Ensemble()
    for number, tree in enumerate(model.trees):
        ensemble.add(_tree(ensemble, tree, number % model.n_scores))
    return ensemble.lower(builder, x, model.n_scores, width=len(specs))


@register(
    LGBMClassifier,
    LGBMRegressor,
    prepare=tell_categories,
    check=_check,
    splits=_splits,
    decision=lower_sum,
)
def lower_lightgbm(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower a fitted LightGBM estimator.

    Raises:
        LoweringError: If its objective or a setting has no exact form.
    """
    model = _read(estimator)
    total = _sum(model, builder, x, specs)
    if model.is_average:
        n_iterations = len(model.trees) // model.n_scores
        total = builder.node("Div", total, builder.constant(float(n_iterations)))
    return _link(model, builder, total)


def _link(model: Model, builder: Builder, total: str) -> str:
    if model.objective == "multiclass":
        return builder.node("Softmax", total, axis=1)
    if model.objective in _EXP:
        return builder.node("Exp", total)
    if model.objective in _SIGMOID:
        slope = float(model.options.get("sigmoid", "1"))
        if slope != 1:
            total = builder.node("Mul", total, builder.constant(slope))
        return builder.node("Sigmoid", total)
    if model.objective == "cross_entropy_lambda":
        grown = builder.node("Add", builder.node("Exp", total), builder.constant(1.0))
        return builder.node("Log", grown)
    if "sqrt" in model.options:
        return builder.node("Mul", total, builder.node("Abs", total))
    if model.objective not in _PLAIN:
        raise LoweringError(f"lightgbm: fitted with an unknown objective, use one of {_OBJECTIVES}")
    return total


def _without_zeros(model: Model, builder: Builder, x: str, width: int) -> str:
    """Return *x* with NaN for zeros in the columns where those count as missing."""
    kinds: dict[int, set[str]] = {}
    for tree in model.trees:
        for split in tree.splits:
            if split.codes is None:
                kinds.setdefault(split.feature, set()).add(split.missing)
    zeros = [position for position, kind in kinds.items() if "zero" in kind]
    if any(len(kinds[position]) > 1 for position in zeros):
        raise LoweringError(
            "lightgbm: zero counts as missing in some trees and not in others; fit it at once, "
            "not from a model with another zero_as_missing"
        )
    if not zeros:
        return x
    bounds = np.full(width, -1.0)
    bounds[zeros] = ZERO
    is_zero = builder.node("LessOrEqual", builder.node("Abs", x), builder.constant(bounds))
    return builder.node("Where", is_zero, builder.constant(np.nan), x)


def _tree(ensemble: Ensemble, tree: Tree, target: int) -> Child:
    leaves = [ensemble.leaf(weight, target) for weight in tree.leaves]
    children: dict[int, Child] = {~i: leaf for i, leaf in enumerate(leaves)}
    for index in reversed(range(len(tree.splits))):  # parents stand before their children
        split = tree.splits[index]
        children[index] = _node(ensemble, split, children[split.left], children[split.right])
    return children[0] if tree.splits else leaves[0]


def _node(ensemble: Ensemble, split: Split, left: Child, right: Child) -> Child:
    if split.codes is not None:  # missing and unseen codes are not in the set
        return ensemble.member_split(split.feature, split.codes, left, right)
    # Where the fit saw nothing missing, LightGBM takes the missing for 0.
    nan_left = split.threshold >= 0.0 if split.missing == "none" else split.default_left
    point = split_point(split.threshold)
    return ensemble.split(split.feature, Mode.LTE, point, left, right, nan_is_true=nan_left)


def split_point(threshold: float) -> float:
    """Return the greatest double left of a threshold: LightGBM takes `[-ZERO, ZERO]` for 0."""
    if abs(threshold) > ZERO:
        return threshold
    return ZERO if threshold >= 0.0 else math.nextafter(-ZERO, -math.inf)
