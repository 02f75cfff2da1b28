"""Read the trees of scikit-learn's forests, whose thresholds meet values cast to float32.

The cast is folded into each threshold: the greatest double that the cast still takes to the left
is the split. So an id above 2**24 is branched as the estimator branches it, to the bit, and the
graph needs no node for the cast.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.training.lowering.ensemble import Child, Ensemble, Mode

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
    features, missing_left = tree.feature.tolist(), tree.missing_go_to_left.tolist()
    thresholds = last_left(tree.threshold).tolist()
    children: dict[int, Child] = {}
    only = _only_weights(left, right, weights.tolist())
    for index in reversed(_needed(left, right, only)):
        weight = only[index]
        if weight is not None:
            children[index] = ensemble.leaf(weight, target)
            continue
        feature = features[index]
        children[index] = ensemble.split(
            feature if positions is None else positions[feature],
            Mode.LTE,
            thresholds[index],
            children[left[index]],
            children[right[index]],
            nan_is_true=bool(missing_left[index]),
        )
    ensemble.add(children[0])


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
