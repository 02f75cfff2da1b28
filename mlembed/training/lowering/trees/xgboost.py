"""Lower XGBoost's estimators, which compute in float32.

Features are cast to float32 and leaves added up in float32, here as there, so the sums are the
library's own to the bit. Its links then round to float32 where the graph uses doubles: scores
agree to 1e-6, relative to max(1, |score|), and the family says so to the proof.

Imported when a candidate is one of them, never before: the library is optional.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn.base
from onnx import TensorProto
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier, XGBRFRegressor

from mlembed.errors import LoweringError
from mlembed.training.lowering.ensemble import Child, Ensemble, Mode
from mlembed.training.lowering.registry import FeatureSpec, class_name, register
from mlembed.training.lowering.trees.guarding import Guarded, guard
from mlembed.training.lowering.trees.nodes import last_left

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlembed.training.lowering.graph import Builder

TOLERANCE = 1e-6
_PLAIN = (
    *("reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror"),
    "reg:quantileerror",
)
_EXP = ("count:poisson", "reg:gamma", "reg:tweedie")
_SIGMOID = ("binary:logistic", "reg:logistic")
_SOFTMAX = ("multi:softprob", "multi:softmax")
_OBJECTIVES = (*_PLAIN, *_EXP, *_SIGMOID, *_SOFTMAX)


@dataclasses.dataclass(frozen=True, slots=True)
class _Model:
    """What a saved model says, as far as `predict` uses it.

    Attributes:
        objective: Its name.
        start: What the sums of each score start from, float32.
        trees: The score that each tree adds to, and the tree.
    """

    objective: str
    start: list[np.float32]
    trees: list[tuple[int, dict[str, Any]]]


def native_categories(estimator: Any, specs: Sequence[FeatureSpec]) -> Guarded:
    """Return *estimator* behind bounds, a clone that treats features with codes as categories."""
    clone = sklearn.base.clone(estimator)
    if any(spec.n_codes for spec in specs):
        kinds = ["c" if spec.n_codes else "q" for spec in specs]
        clone.set_params(enable_categorical=True, feature_types=kinds)
    return guard(clone, specs)


def _check(estimator: Any) -> None:
    name, settings = class_name(estimator), estimator.get_params()
    if settings.get("objective") not in (None, *_OBJECTIVES):
        raise LoweringError(
            f"{name}: objective has no known link; use one of {', '.join(_OBJECTIVES)}"
        )
    if settings.get("booster") not in (None, "gbtree"):
        raise LoweringError(f"{name}: booster is not of plain trees; use booster='gbtree'")
    if settings.get("multi_strategy") not in (None, "one_output_per_tree"):
        raise LoweringError(f"{name}: use multi_strategy='one_output_per_tree'")
    missing = settings.get("missing")
    if missing is not None and not math.isnan(missing):
        raise LoweringError(f"{name}: missing is a number; leave it at NaN")
    if np.ndim(settings.get("quantile_alpha")):
        raise LoweringError(f"{name}: fits several quantiles; train one model a quantile")


def _read(estimator: Any) -> _Model:
    _check(estimator)
    booster = estimator.get_booster()
    learner = json.loads(booster.save_raw("json"))["learner"]
    boosted, settings = learner["gradient_booster"]["model"], learner["learner_model_param"]
    if settings["num_target"] != "1":
        raise LoweringError(f"{class_name(estimator)}: fitted on several outputs, expected one")
    objective = learner["objective"]["name"]
    n_scores = max(1, int(settings["num_class"]))
    starts = np.array(settings["base_score"].strip("[]").split(","), dtype=np.float32)
    best = booster.attributes().get("best_iteration")
    end = boosted["iteration_indptr"][-1 if best is None else int(best) + 1]
    return _Model(
        objective=objective,
        start=[_margin(objective, start) for start in np.broadcast_to(starts, n_scores)],
        trees=list(zip(boosted["tree_info"][:end], boosted["trees"][:end], strict=True)),
    )


def _margin(objective: str, base_score: np.float32) -> np.float32:
    """Return the sum that stands for a base score, in float32 as XGBoost computes it."""
    one = np.float32(1.0)
    if objective in _SIGMOID:
        return np.float32(-np.log(one / base_score - one))
    return np.float32(np.log(base_score)) if objective in _EXP else base_score


def _splits(estimator: Any) -> Mapping[int, Sequence[float]]:
    splits: dict[int, list[float]] = {}
    for _, tree in _read(estimator).trees:
        for index, left in enumerate(tree["left_children"]):
            if left >= 0 and not tree["split_type"][index]:
                threshold = np.float32(tree["split_conditions"][index])
                below = np.nextafter(threshold, np.float32(-np.inf))
                point = float(last_left(np.array([below], dtype=np.float64))[0])
                splits.setdefault(tree["split_indices"][index], []).append(point)
    return splits


@register(
    XGBClassifier,
    XGBRegressor,
    XGBRFClassifier,
    XGBRFRegressor,
    prepare=native_categories,
    check=_check,
    splits=_splits,
    tolerance=TOLERANCE,
)
def lower_xgboost(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower a fitted XGBoost estimator.

    Raises:
        LoweringError: If its objective or a setting has no form to 1e-6.
    """
    model, ensemble = _read(estimator), Ensemble()
    offsets = list(model.start)
    for target, tree in model.trees:
        ensemble.add(_tree(ensemble, tree, target, offsets[target]))
        offsets[target] = np.float32(0.0)
    floats = builder.node("Cast", x, to=TensorProto.FLOAT)
    total = ensemble.lower(builder, floats, len(offsets), np.float32, width=len(specs))
    total = builder.node("Cast", total, to=TensorProto.DOUBLE)
    if model.objective in _SOFTMAX:
        return builder.node("Softmax", total, axis=1)
    if model.objective in _EXP:
        return builder.node("Exp", total)
    if model.objective in _SIGMOID:
        return builder.node("Sigmoid", total)
    return total


def _tree(ensemble: Ensemble, tree: dict[str, Any], target: int, offset: np.float32) -> Child:
    sets = _sets(tree)
    children: dict[int, Child] = {}
    for index in reversed(_reached(tree)):
        left, right = tree["left_children"][index], tree["right_children"][index]
        value = np.float32(tree["split_conditions"][index])
        if left < 0:
            children[index] = ensemble.leaf(float(offset + value), target)
            continue
        feature, nan_left = tree["split_indices"][index], bool(tree["default_left"][index])
        one, other = children[left], children[right]
        if index not in sets:
            children[index] = ensemble.split(
                feature, Mode.LT, float(value), one, other, nan_is_true=nan_left
            )
            continue
        # Codes of the set go right, and unseen ones left; the missing have a side of their own.
        children[index] = ensemble.member_split(
            feature, sets[index], other, one, nan_is_true=not nan_left
        )
    return children[0]


def _reached(tree: dict[str, Any]) -> list[int]:
    """Return the nodes that pruning left, parents before children."""
    found = [0]
    for index in found:  # grows while it is read
        if tree["left_children"][index] >= 0:
            found += [tree["left_children"][index], tree["right_children"][index]]
    return found


def _sets(tree: dict[str, Any]) -> dict[int, list[float]]:
    """Return the codes that go right, by categorical split."""
    return {
        node: [float(code) for code in tree["categories"][start : start + size]]
        for node, start, size in zip(
            tree["categories_nodes"],
            tree["categories_segments"],
            tree["categories_sizes"],
            strict=True,
        )
    }
