"""Read the trees of scikit-learn's forests, whose thresholds meet values cast to float32.

The cast is folded into each threshold: the greatest double that the cast still takes to the left
is the split. So an id above 2**24 is branched as the estimator branches it, to the bit, and the
graph needs no node for the cast.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.training.lowering.ensemble import Ensemble, Grown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

_LEAF = -1
_END = 2.0**128


def last_left(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the greatest double `x` with `float32(x) <= threshold`, for each threshold.

    Halfway between two float32 numbers a cast takes the one whose last bit is 0 (IEEE 754,
    round half to even).
    """
    with np.errstate(over="ignore", under="ignore"):
        below = thresholds.astype(np.float32)
        below = np.where(below > thresholds, np.nextafter(below, np.float32(-np.inf)), below)
        above = np.nextafter(below, np.float32(np.inf))
    # Past the last float32 lies infinity, which rounds as the next power of two would.
    low, high = (np.clip(side.astype(np.float64), -_END, _END) for side in (below, above))
    middle = low + (high - low) / 2
    is_even = below.view(np.int32) & 1 == 0
    last = np.where(is_even, middle, np.nextafter(middle, -np.inf))
    return np.where(thresholds == np.inf, np.inf, last)


def plant(
    ensemble: Ensemble,
    tree: Any,
    weights: NDArray[np.float64],
    *,
    target: int = 0,
    positions: Sequence[int] | None = None,
) -> None:
    """Add a fitted `sklearn.tree._tree.Tree` to *ensemble*.

    A branch that ends in one weight whichever way it goes becomes a leaf.

    Args:
        ensemble: What it becomes a part of.
        tree: The tree.
        weights: What each node adds as a leaf, `(n_nodes,)`.
        target: What it adds to.
        positions: Position in the feature matrix by the tree's feature; its own by default.
    """
    left, right = tree.children_left.tolist(), tree.children_right.tolist()
    only = _only_weights(left, right, weights.tolist())
    if only[0] is not None:
        ensemble.add(ensemble.leaf(only[0], target))
        return
    needed = _needed(left, right, only)[::-1]
    is_leaf = np.array([only[index] is not None for index in needed])
    splits, leaves = np.array(needed)[~is_leaf], np.array(needed)[is_leaf]
    place = np.zeros(len(left), np.intp)
    place[splits], place[leaves] = np.arange(len(splits)), np.arange(len(leaves))
    children = np.column_stack([tree.children_left[splits], tree.children_right[splits]])
    features = tree.feature[splits]
    grown = Grown(
        features=features if positions is None else np.asarray(positions)[features],
        thresholds=last_left(tree.threshold[splits]),
        nan_is_true=tree.missing_go_to_left[splits] != 0,
        children=place[children],
        is_leaf=np.isin(children, leaves),
        weights=np.array([only[index] for index in leaves]),
        depth=int(tree.compute_node_depths()[splits].max()),
    )
    ensemble.graft(grown, target)


def _only_weights(
    left: Sequence[int], right: Sequence[int], weights: Sequence[float]
) -> list[float | None]:
    """Return the weight that every leaf under a node has, or None where they differ."""
    only: list[float | None] = list(weights)
    for index in reversed(range(len(left))):  # parents stand before their children
        if left[index] != _LEAF:
            one, other = only[left[index]], only[right[index]]
            only[index] = one if one == other else None
    return only


def _needed(left: Sequence[int], right: Sequence[int], only: Sequence[float | None]) -> list[int]:
    """Return the nodes that are reached, parents before children."""
    found = [0]
    for index in found:  # grows while it is read
        if only[index] is None:
            found += [left[index], right[index]]
    return found


def split_points(
    trees: Iterable[tuple[Any, Sequence[int] | None]],
) -> dict[int, list[float]]:
    """Return the splits of trees by position in the feature matrix.

    Args:
        trees: Every tree, and the positions of its features where they are not its own.
    """
    splits: dict[int, list[float]] = {}
    for tree, positions in trees:
        for feature, threshold in zip(tree.feature, last_left(tree.threshold), strict=True):
            if feature >= 0 and math.isfinite(threshold):
                position = int(feature if positions is None else positions[feature])
                splits.setdefault(position, []).append(float(threshold))
    return splits
