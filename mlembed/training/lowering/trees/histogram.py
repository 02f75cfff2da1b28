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
from mlembed.training.lowering.trees.empty_columns import (
    EmptyColumnsClassifier,
    EmptyColumnsRegressor,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

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


_FIELDS = (
    *("is_leaf", "value", "left", "right", "feature_idx", "missing_go_to_left"),
    *("is_categorical", "bitset_idx", "num_threshold"),
)


_CAREFUL = {
    HistGradientBoostingClassifier: EmptyColumnsClassifier,
    HistGradientBoostingRegressor: EmptyColumnsRegressor,
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
    """Return a copy of *estimator* that treats features with codes as categories.

    Constraints given by feature name (`monotonic_cst={"age": 1}`) become positions, because the
    estimator is fitted on a matrix without names.

    Raises:
        LoweringError: If the estimator names categories of its own, a constraint names no feature,
            or a category has more codes than the estimator can tell apart.
    """
    named = estimator.categorical_features
    if type(estimator) in _CAREFUL and not (named is None or isinstance(named, str)):
        raise LoweringError(
            f"{class_name(estimator)}: the record tells what a category is; leave "
            "categorical_features out"
        )
    wide = [spec.name for spec in specs if spec.n_codes > estimator.max_bins]
    if wide:
        raise LoweringError(
            f"{class_name(estimator)}: {', '.join(wide)} has more categories than "
            f"max_bins={estimator.max_bins}; keep the frequent ones with "
            f"mlembed.Category(max_size={estimator.max_bins - 5}), or raise max_bins, at most 255"
        )
    careful: Any = _CAREFUL.get(type(estimator), type(estimator))
    copy = careful(**sklearn.base.clone(estimator).get_params(deep=False))
    categories = [i for i, spec in enumerate(specs) if spec.n_codes]
    copy.set_params(categorical_features=categories or None)
    constraints = copy.monotonic_cst
    if isinstance(constraints, dict):
        names = [spec.name for spec in specs]
        unknown = sorted(set(constraints) - set(names))
        if unknown:
            raise LoweringError(
                f"{class_name(estimator)}: monotonic_cst names {unknown}, expected some of {names}"
            )
        copy.set_params(monotonic_cst=[constraints.get(name, 0) for name in names])
    return copy


def _check(estimator: Any) -> None:
    if estimator.loss not in _LINKS:
        raise LoweringError(
            f"{class_name(estimator)}: loss has no known link; use one of {', '.join(_LINKS)}"
        )


def _splits(estimator: Any) -> dict[int, list[float]]:
    inputs = _inputs(estimator)
    splits: dict[int, list[float]] = {}
    for _, tree in _trees(estimator):
        nodes = tree.nodes[(tree.nodes["is_leaf"] == 0) & (tree.nodes["is_categorical"] == 0)]
        for feature, threshold in zip(nodes["feature_idx"], nodes["num_threshold"], strict=True):
            if math.isfinite(threshold):
                splits.setdefault(inputs.positions[feature], []).append(float(threshold))
    return splits


def lower_sum(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower what the trees add up to, before the link: the decision function of a classifier."""
    inputs, ensemble = _inputs(estimator), Ensemble()
    # The baseline rides on the first trees: an Add of its own would cost a microsecond.
    offsets = [float(value) for value in np.ravel(estimator._baseline_prediction)]  # noqa: SLF001  no public name
    for target, tree in _trees(estimator):
        ensemble.add(_tree(ensemble, tree, inputs, offsets[target], target))
        offsets[target] = 0.0
    return ensemble.lower(builder, x, len(offsets), width=len(specs))


@register(
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    EmptyColumnsClassifier,
    EmptyColumnsRegressor,
    prepare=native_categories,
    check=_check,
    splits=_splits,
    decision=lower_sum,
)
def lower_boosting(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower a fitted histogram gradient boosting estimator."""
    total = lower_sum(estimator, builder, x, specs)
    if estimator.n_trees_per_iteration_ > 1:
        return builder.node("Softmax", total, axis=1)
    link = _LINKS[estimator.loss]
    return builder.node(link, total) if link else total


def _trees(estimator: Any) -> Iterator[tuple[int, Any]]:
    """Return every tree with the score that it adds to, in the order they are added."""
    for trees in estimator._predictors:  # noqa: SLF001  no public name
        yield from enumerate(trees)


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


def _tree(ensemble: Ensemble, tree: Any, inputs: _Inputs, offset: float, target: int) -> Child:
    nodes = {name: tree.nodes[name].tolist() for name in _FIELDS}
    children: dict[int, Child] = {}
    for index in reversed(range(len(tree.nodes))):  # parents stand before their children
        if nodes["is_leaf"][index]:
            children[index] = ensemble.leaf(nodes["value"][index] + offset, target)
            continue
        left, right = children[nodes["left"][index]], children[nodes["right"][index]]
        feature, missing_left = (
            nodes["feature_idx"][index],
            bool(nodes["missing_go_to_left"][index]),
        )
        position = inputs.positions[feature]
        if nodes["is_categorical"][index]:
            # Unseen codes go the missing way, so the set tested is the one of the other branch.
            away, home = (right, left) if missing_left else (left, right)
            words = tree.raw_left_cat_bitsets[nodes["bitset_idx"][index]]
            named = _codes(words, inputs.codes[feature], on_left=not missing_left)
            children[index] = ensemble.member_split(position, named, away, home)
        else:
            threshold = nodes["num_threshold"][index]
            children[index] = ensemble.split(
                position, Mode.LTE, threshold, left, right, nan_is_true=missing_left
            )
    return children[0]


def _codes(words: NDArray[np.uint32], seen: Sequence[float], *, on_left: bool) -> list[float]:
    """Return the codes the fit saw that take one branch of a categorical split."""
    return [code for i, code in enumerate(seen) if bool(words[i // 32] >> (i % 32) & 1) == on_left]
