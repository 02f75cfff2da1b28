"""Lower histogram gradient boosting: one tree operator, then the inverse link.

Every branch is the estimator's own, on doubles: missing values, categories the fit never saw
and infinite thresholds included.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn.base
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from mlembed.errors import LoweringError
from mlembed.training.lowering.ensemble import Child, Ensemble, Mode
from mlembed.training.lowering.registry import FeatureSpec, class_name, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.graph import Builder

# Operator that turns the sum of the leaves into the score, by loss.
_LINKS = {
    "log_loss": "Sigmoid",
    "squared_error": "",
    "absolute_error": "",
    "quantile": "",
    "poisson": "Exp",
    "gamma": "Exp",
}


@dataclasses.dataclass(frozen=True, slots=True)
class _Inputs:
    """How the estimator's own, reordered input relates to the feature matrix.

    Attributes:
        positions: Position in the feature matrix, by the estimator's feature.
        codes: Codes the fit saw, in the estimator's own numbering, by its feature.
    """

    positions: tuple[int, ...]
    codes: dict[int, tuple[float, ...]]


def native_categories(estimator: Any, specs: Sequence[FeatureSpec]) -> Any:
    """Return a clone of *estimator* that treats features with codes as categories.

    Constraints given by feature name (`monotonic_cst={"age": 1}`) become positions, because the
    estimator is fitted on a matrix without names.

    Raises:
        LoweringError: If a constraint names no feature.
    """
    clone = sklearn.base.clone(estimator)
    categories = [i for i, spec in enumerate(specs) if spec.n_codes]
    clone.set_params(categorical_features=categories or None)
    constraints = clone.monotonic_cst
    if isinstance(constraints, dict):
        names = [spec.name for spec in specs]
        unknown = sorted(set(constraints) - set(names))
        if unknown:
            raise LoweringError(
                f"{class_name(estimator)}: monotonic_cst names {unknown}, expected some of {names}"
            )
        clone.set_params(monotonic_cst=[constraints.get(name, 0) for name in names])
    return clone


def _check(estimator: Any) -> None:
    if estimator.loss not in _LINKS:
        raise LoweringError(
            f"{class_name(estimator)}: loss has no known link; use one of {', '.join(_LINKS)}"
        )


def _splits(estimator: Any) -> dict[int, list[float]]:
    inputs = _inputs(estimator)
    splits: dict[int, list[float]] = {}
    for tree in _trees(estimator):
        nodes = tree.nodes[(tree.nodes["is_leaf"] == 0) & (tree.nodes["is_categorical"] == 0)]
        for feature, threshold in zip(nodes["feature_idx"], nodes["num_threshold"], strict=True):
            if math.isfinite(threshold):
                splits.setdefault(inputs.positions[feature], []).append(float(threshold))
    return splits


@register(
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    prepare=native_categories,
    check=_check,
    splits=_splits,
)
def lower_boosting(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower a fitted histogram gradient boosting estimator.

    Raises:
        LoweringError: If it was fitted on more than two classes.
    """
    del specs
    if estimator.n_trees_per_iteration_ != 1:
        raise LoweringError(f"{class_name(estimator)}: fitted on more than two classes, expected 2")
    inputs, ensemble = _inputs(estimator), Ensemble()
    baseline = float(np.ravel(estimator._baseline_prediction)[0])  # noqa: SLF001  no public name
    for tree in _trees(estimator):
        # The baseline rides on the first tree: an Add of its own would cost a microsecond.
        ensemble.add(_tree(ensemble, tree, inputs, 0.0 if len(ensemble) else baseline))
    total = ensemble.lower(builder, x)
    link = _LINKS[estimator.loss]
    return builder.node(link, total) if link else total


def _trees(estimator: Any) -> list[Any]:
    return [tree for (tree,) in estimator._predictors]  # noqa: SLF001  no public name


def _inputs(estimator: Any) -> _Inputs:
    is_category = estimator.is_categorical_
    if is_category is None:
        return _Inputs(tuple(range(estimator.n_features_in_)), {})
    # The estimator moves its categories to the front and numbers their codes afresh.
    order = [*np.flatnonzero(is_category), *np.flatnonzero(~is_category)]
    encoder = estimator._preprocessor.named_transformers_["encoder"]  # noqa: SLF001  idem
    codes = {
        feature: tuple(float(code) for code in seen if not math.isnan(code))
        for feature, seen in enumerate(encoder.categories_)
    }
    return _Inputs(tuple(int(position) for position in order), codes)


def _tree(ensemble: Ensemble, tree: Any, inputs: _Inputs, offset: float) -> Child:
    children: dict[int, Child] = {}
    for index in reversed(range(len(tree.nodes))):  # parents stand before their children
        node = tree.nodes[index]
        if node["is_leaf"]:
            children[index] = ensemble.leaf(float(node["value"]) + offset)
            continue
        left, right = children[int(node["left"])], children[int(node["right"])]
        position = inputs.positions[node["feature_idx"]]
        missing_left = bool(node["missing_go_to_left"])
        if not node["is_categorical"]:
            children[index] = ensemble.split(
                position,
                Mode.LTE,
                float(node["num_threshold"]),
                left,
                right,
                nan_is_true=missing_left,
            )
            continue
        words = tree.raw_left_cat_bitsets[node["bitset_idx"]]
        seen = inputs.codes[int(node["feature_idx"])]
        goes_left = [bool(words[i // 32] >> (i % 32) & 1) for i in range(len(seen))]
        # Unseen codes go the missing way, so the set tested is the one of the other branch.
        named = [
            code for code, is_left in zip(seen, goes_left, strict=True) if is_left != missing_left
        ]
        away, home = (right, left) if missing_left else (left, right)
        children[index] = ensemble.member_split(position, named, away, home)
    return children[0]
