"""Lower decision trees and forests: shares of the classes, or values, averaged over the trees.

The trees are summed in the order scikit-learn sums them and divided once, so a vote of exactly
one half is one half in the graph too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from mlembed.errors import LoweringError
from mlembed.training.lowering.ensemble import Ensemble
from mlembed.training.lowering.registry import FeatureSpec, class_name, register
from mlembed.training.lowering.trees.guarding import guard
from mlembed.training.lowering.trees.nodes import plant, split_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.graph import Builder

_BINARY = 2


def _trees(estimator: Any) -> list[Any]:
    return [one.tree_ for one in getattr(estimator, "estimators_", [estimator])]


def _splits(estimator: Any) -> dict[int, list[float]]:
    return split_points((tree, None) for tree in _trees(estimator))


@register(
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    prepare=guard,
    splits=_splits,
)
def lower_forest(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower a fitted decision tree or forest.

    Raises:
        LoweringError: If it was fitted on several outputs or on one class.
    """
    del specs
    if estimator.n_outputs_ != 1:
        raise LoweringError(
            f"{class_name(estimator)}: fitted on {estimator.n_outputs_} outputs, expected one; "
            "train one model an output"
        )
    ensemble, trees, targets = Ensemble(), _trees(estimator), _targets(estimator)
    for tree in trees:
        for target, column in enumerate(targets):
            plant(ensemble, tree, tree.value[:, 0, column], target=target)
    total = ensemble.lower(builder, x, len(targets))
    if len(trees) == 1:
        return total
    return builder.node("Div", total, builder.constant(np.float64(len(trees))))


def _targets(estimator: Any) -> list[int]:
    """Return the columns of a node's value that are scores."""
    n_classes = len(getattr(estimator, "classes_", ()))
    if n_classes == 1:
        raise LoweringError(f"{class_name(estimator)}: fitted on one class, expected at least two")
    if n_classes > _BINARY:
        return list(range(n_classes))
    return [n_classes - 1] if n_classes else [0]
