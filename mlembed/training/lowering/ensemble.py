"""Write decision trees as one `ai.onnx.ml` 5 `TreeEnsemble` with double splits.

Splits and weights stay doubles: an id above 2**24 or an epoch second keeps its branch,
which the float trees of older operators cannot promise.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from onnx import numpy_helper

from mlembed.errors import LoweringError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from mlembed.training.lowering.graph import Builder


# ONNX Runtime 1.32 loads a tree by recursion, some 800 bytes a level: past 10,000 levels a stack
# of 8 MB ends, and with it the process. Some hosts have 1 MB.
MAX_DEPTH = 1_000
_LARGEST_CODE = 2**30  # the runtime compares codes as 32-bit integers


class Mode(enum.IntEnum):
    """Comparison of a split, true to the left; the numbers are those of the ONNX operator."""

    LTE = 0
    LT = 1
    GTE = 2
    MEMBER = 6


class Child(NamedTuple):
    """Where a branch leads: a position among the leaves or among the splits."""

    position: int
    is_leaf: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Grown:
    """A whole tree of comparisons `<=`, as arrays; children before their parents.

    Attributes:
        features: Feature of each split, `(n_splits,)`.
        thresholds: What it is compared with, `(n_splits,)`.
        nan_is_true: Whether a missing value takes the true branch, `(n_splits,)`.
        children: Position of the true and of the false child, `(n_splits, 2)`.
        is_leaf: Whether that position is among the leaves, `(n_splits, 2)`.
        weights: What each leaf adds, `(n_leaves,)`.
        depth: Splits on the longest path.
    """

    features: NDArray[np.intp]
    thresholds: NDArray[np.float64]
    nan_is_true: NDArray[np.bool_]
    children: NDArray[np.intp]
    is_leaf: NDArray[np.bool_]
    weights: NDArray[np.float64]
    depth: int


class Ensemble:
    """Trees whose leaves add up, one sum a target; children are made before their parents."""

    def __init__(self) -> None:
        self._features: list[int] = []
        self._modes: list[int] = []
        self._values: list[float] = []
        self._children: tuple[list[int], list[int]] = ([], [])
        self._are_leaves: tuple[list[int], list[int]] = ([], [])
        self._nan_is_true: list[int] = []
        self._weights: list[float] = []
        self._targets: list[int] = []
        self._members: list[float] = []
        self._roots: list[int] = []
        self._depths: list[int] = []

    def __len__(self) -> int:
        return len(self._roots)

    def leaf(self, weight: float, target: int = 0) -> Child:
        """Make a leaf that adds *weight* to *target*."""
        self._weights.append(weight)
        self._targets.append(target)
        return Child(len(self._weights) - 1, is_leaf=True)

    def split(
        self,
        feature: int,
        mode: Mode,
        value: float,
        when_true: Child,
        when_false: Child,
        *,
        nan_is_true: bool = False,
    ) -> Child:
        """Make a split on a comparison with *value*; a missing value takes the branch told."""
        depth = 0
        for side, child in enumerate((when_true, when_false)):
            self._children[side].append(child.position)
            self._are_leaves[side].append(int(child.is_leaf))
            depth = depth if child.is_leaf else max(depth, self._depths[child.position])
        self._features.append(feature)
        self._modes.append(mode)
        self._values.append(value)
        self._nan_is_true.append(int(nan_is_true))
        self._depths.append(depth + 1)
        return Child(len(self._features) - 1, is_leaf=False)

    def member_split(
        self,
        feature: int,
        members: Sequence[float],
        when_true: Child,
        when_false: Child,
        *,
        nan_is_true: bool = False,
    ) -> Child:
        """Make a split on being one of *members*, in any order; a missing value takes the branch told.

        Other values must be whole: ONNX Runtime cuts their fraction off.

        Raises:
            LoweringError: If a member is no whole number that ONNX Runtime can compare.
        """
        if any(member != int(member) or abs(member) > _LARGEST_CODE for member in members):
            raise LoweringError(
                "a category has a code that is fractional or beyond 2**30; give categories as "
                "codes from 0 up"
            )
        if not members:  # a set that ONNX Runtime refuses
            if not nan_is_true:
                return when_false
            return self.split(feature, Mode.LTE, -math.inf, when_true, when_false, nan_is_true=True)
        self._members += [*sorted(members), math.nan]
        return self.split(feature, Mode.MEMBER, 0.0, when_true, when_false, nan_is_true=nan_is_true)

    def graft(self, tree: Grown, target: int = 0) -> None:
        """Add a whole tree to the sum of *target*, far faster than split by split.

        Raises:
            LoweringError: If a host could not load a tree so deep.
        """
        n_splits = len(tree.features)
        starts = np.where(tree.is_leaf, len(self._weights), len(self._features))
        for side in range(2):
            self._children[side].extend((tree.children + starts)[:, side].tolist())
            self._are_leaves[side].extend(tree.is_leaf[:, side].astype(int).tolist())
        self._features.extend(tree.features.tolist())
        self._modes.extend([int(Mode.LTE)] * n_splits)
        self._values.extend(tree.thresholds.tolist())
        self._nan_is_true.extend(tree.nan_is_true.astype(int).tolist())
        self._depths.extend([tree.depth] * n_splits)
        self._weights.extend(tree.weights.tolist())
        self._targets.extend([target] * len(tree.weights))
        self.add(Child(len(self._features) - 1, is_leaf=False))

    def add(self, root: Child) -> None:
        """Add the tree under *root* to the sum.

        Raises:
            LoweringError: If a host could not load a tree so deep.
        """
        if root.is_leaf:
            root = self.split(0, Mode.LTE, math.inf, root, root)
        if self._depths[root.position] > MAX_DEPTH:
            raise LoweringError(
                f"a tree is {self._depths[root.position]} splits deep, expected at most "
                f"{MAX_DEPTH}, which every host can load; set max_depth"
            )
        self._roots.append(root.position)

    def lower(
        self,
        builder: Builder,
        x: str,
        n_targets: int = 1,
        dtype: type[np.floating] = np.float64,
        *,
        width: int | None = None,
    ) -> str:
        """Add the operator that reads *x*; its output is [N, n_targets] of the same *dtype*.

        The runtime adds up the trees in the order they were added here, in that precision. Where
        the width of *x* is told, sets of codes are tested faster.
        """
        members = np.asarray(self._members, dtype)
        if width is not None and (members == 0.0).any():
            x, members = self._from_one(builder, x, width, dtype), members + dtype(1.0)
        optional = {"membership_values": _tensor(members, dtype)} if len(members) else {}
        return builder.node(
            "TreeEnsemble",
            x,
            domain="ai.onnx.ml",
            n_targets=n_targets,
            tree_roots=self._roots,
            nodes_featureids=self._features,
            nodes_modes=_tensor(self._modes, np.uint8),
            nodes_splits=_tensor(self._values, dtype),
            nodes_truenodeids=self._children[0],
            nodes_trueleafs=self._are_leaves[0],
            nodes_falsenodeids=self._children[1],
            nodes_falseleafs=self._are_leaves[1],
            nodes_missing_value_tracks_true=self._nan_is_true,
            leaf_targetids=self._targets,
            leaf_weights=_tensor(self._weights, dtype),
            **optional,
        )

    def _from_one(self, builder: Builder, x: str, width: int, dtype: type[np.floating]) -> str:
        # ONNX Runtime 1.32 tests the codes 1 to 32 at once, by a mask, and any other by itself.
        shift = np.zeros(width)
        shift[np.array(self._features)[np.array(self._modes) == Mode.MEMBER]] = 1.0
        return builder.node("Add", x, builder.constant(shift, dtype))


def _tensor(values: ArrayLike, dtype: type) -> object:
    return numpy_helper.from_array(np.asarray(values, dtype=dtype))
