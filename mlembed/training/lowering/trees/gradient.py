"""Lower gradient boosting of exact trees: a constant, the shrunken leaves, then the inverse link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

from mlembed.errors import LoweringError
from mlembed.training.lowering.ensemble import Ensemble
from mlembed.training.lowering.registry import FeatureSpec, class_name, register
from mlembed.training.lowering.trees.guarding import guard
from mlembed.training.lowering.trees.nodes import plant, split_points

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlembed.training.lowering.graph import Builder


def _check(estimator: Any) -> None:
    if estimator.init not in (None, "zero"):
        raise LoweringError(
            f"{class_name(estimator)}: starts from an estimator of its own; "
            "leave init at None, or use init='zero'"
        )


def _trees(estimator: Any) -> Iterator[tuple[int, Any]]:
    """Return every tree with the score that it adds to, in the order they are added."""
    for stage in estimator.estimators_:
        yield from enumerate(one.tree_ for one in stage)


def _splits(estimator: Any) -> dict[int, list[float]]:
    return split_points((tree, None) for _, tree in _trees(estimator))


def lower_sum(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower what the trees add up to, before the link: the decision function of a classifier.

    Raises:
        LoweringError: If it was made to start from an estimator of its own.
    """
    _check(estimator)
    ensemble = Ensemble()
    # Whatever the row, the prediction starts from the same constant.
    start = estimator._raw_predict_init(np.zeros((1, len(specs))))  # noqa: SLF001  no public name
    offsets = np.ravel(start).astype(np.float64)
    for target, tree in _trees(estimator):
        weights = offsets[target] + estimator.learning_rate * tree.value[:, 0, 0]
        plant(ensemble, tree, weights, target=target)
        offsets[target] = 0.0
    return ensemble.lower(builder, x, len(offsets))


@register(
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    prepare=guard,
    check=_check,
    splits=_splits,
    decision=lower_sum,
)
def lower_gradient(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower a fitted gradient boosting estimator."""
    total = lower_sum(estimator, builder, x, specs)
    if not hasattr(estimator, "classes_"):
        return total
    if estimator.n_trees_per_iteration_ > 1:
        return builder.node("Softmax", total, axis=1)
    if estimator.loss == "exponential":
        # Half the log odds minimise the exponential loss (Friedman, Hastie, Tibshirani 2000).
        total = builder.node("Mul", total, builder.constant(2.0))
    return builder.node("Sigmoid", total)
