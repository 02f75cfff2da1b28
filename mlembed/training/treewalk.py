"""Walk the trees of an `ai.onnx.ml` 5 `TreeEnsemble` as the standard words it.

A second opinion on the runtime's operator; onnx 1.23's own reference ends a set of members
at its first zero and gives sets to the wrong nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import NodeProto

    Matrix = NDArray[Any]

_COMPARE = (np.less_equal, np.less, np.greater_equal, np.greater, np.equal, np.not_equal)
MEMBER = 6


def walk(node: NodeProto, x: Matrix) -> Matrix:
    """Return the sum of the leaves that each row reaches.

    Args:
        node: A `TreeEnsemble` that sums.
        x: Rows, `(n_records, n_features)`.

    Returns:
        Array of shape `(n_records, n_targets)`.
    """
    trees = attributes(node)
    tests = member_sets(trees)
    total = np.zeros((len(x), int(trees["n_targets"])), x.dtype)
    for root in trees["tree_roots"]:
        leaves = _leaves(trees, tests, x, int(root))
        for row, leaf in enumerate(leaves):
            total[row, trees["leaf_targetids"][leaf]] += trees["leaf_weights"][leaf]
    return total


def attributes(node: NodeProto) -> dict[str, Matrix]:
    """Return the attributes of *node* as arrays, by name."""
    return {attribute.name: _array(attribute) for attribute in node.attribute}


def _array(attribute: Any) -> Matrix:
    value = helper.get_attribute_value(attribute)
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def member_sets(trees: dict[str, Matrix]) -> list[set[float]]:
    """Return the members of each node's set, empty for the other nodes."""
    if "membership_values" not in trees:
        return [set()] * len(trees["nodes_modes"])
    members = iter(trees["membership_values"].tolist())
    sets: list[set[float]] = []
    for mode in trees["nodes_modes"]:
        own: set[float] = set()
        if mode == MEMBER:
            own.update(iter(lambda: _until_nan(next(members)), None))
        sets.append(own)
    return sets


def _until_nan(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124  NaN


def _leaves(trees: dict[str, Matrix], sets: list[set[float]], x: Matrix, root: int) -> list[int]:
    found = []
    missing_is_true = trees.get("nodes_missing_value_tracks_true", np.zeros(len(sets)))
    for row in x:
        at, is_leaf = root, False
        while not is_leaf:
            cell, mode = row[trees["nodes_featureids"][at]], trees["nodes_modes"][at]
            if np.isnan(cell):
                side = bool(missing_is_true[at])
            elif mode == MEMBER:
                side = float(cell) in sets[at]
            else:
                side = bool(_COMPARE[mode](cell, trees["nodes_splits"][at]))
            word = "true" if side else "false"
            at, is_leaf = int(trees[f"nodes_{word}nodeids"][at]), trees[f"nodes_{word}leafs"][at]
        found.append(at)
    return found
