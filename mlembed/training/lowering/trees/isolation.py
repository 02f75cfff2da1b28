"""Lower isolation forests: mean path to a leaf, turned into a score that is high for anomalies.

The score is 2 ** (-path / c(max_samples)), between 0 and 1, with c the mean path of an
unsuccessful search in a binary search tree (Liu, Ting, Zhou 2008): what `score_samples` gives,
with the sign of the paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.ensemble import IsolationForest

from mlembed.training.lowering.ensemble import Ensemble
from mlembed.training.lowering.registry import FeatureSpec, register
from mlembed.training.lowering.trees.guarding import guard
from mlembed.training.lowering.trees.nodes import plant, split_points

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mlembed.training.lowering.graph import Builder


def _trees(estimator: Any) -> Iterator[tuple[Any, list[int]]]:
    for one, positions in zip(estimator.estimators_, estimator.estimators_features_, strict=True):
        yield one.tree_, [int(position) for position in positions]


def _splits(estimator: Any) -> dict[int, list[float]]:
    return split_points(_trees(estimator))


def mean_path(n_samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean path length that is left below a leaf of *n_samples* rows."""
    n = np.maximum(n_samples, 3).astype(np.float64)
    path = 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    return np.where(n_samples <= 1, 0.0, np.where(n_samples == 2, 1.0, path))  # noqa: PLR2004


def _decide(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    score = lower_isolation(estimator, builder, x, specs)
    return builder.node("Sub", builder.constant(-estimator.offset_), score)


@register(IsolationForest, prepare=guard, splits=_splits, decision=_decide)
def lower_isolation(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower a fitted isolation forest; its score is `-score_samples`, high for anomalies."""
    del specs
    ensemble = Ensemble()
    for tree, positions in _trees(estimator):
        # scikit-learn counts nodes on the path, and the paper edges.
        depths = tree.compute_node_depths() + mean_path(tree.n_node_samples) - 1.0
        plant(ensemble, tree, depths, positions=positions)
    longest = len(estimator.estimators_) * mean_path(np.array([estimator.max_samples_]))[0]
    total = ensemble.lower(builder, x)
    if longest == 0:  # grown on one row a tree, where scikit-learn scores every row one half
        zero = builder.node("Mul", total, builder.constant(0.0))
        total, longest = builder.node("Add", zero, builder.constant(1.0)), 1.0
    power = builder.node("Div", total, builder.constant(-longest))
    return builder.node("Pow", builder.constant(2.0), power)
