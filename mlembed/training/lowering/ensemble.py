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

    from numpy.typing import ArrayLike

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
class _Split:
    feature: int
    mode: Mode
    value: float
    when_true: Child
    when_false: Child
    nan_is_true: bool


class Ensemble:
    """Trees whose leaves add up, one sum a target; children are made before their parents."""

    def __init__(self) -> None:
        self._splits: list[_Split] = []
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
        self._splits.append(_Split(feature, mode, value, when_true, when_false, nan_is_true))
        depths = [0 if c.is_leaf else self._depths[c.position] for c in (when_true, when_false)]
        self._depths.append(max(depths) + 1)
        return Child(len(self._splits) - 1, is_leaf=False)

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
        splits = self._splits
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
            nodes_featureids=[split.feature for split in splits],
            nodes_modes=_tensor([split.mode for split in splits], np.uint8),
            nodes_splits=_tensor([split.value for split in splits], dtype),
            nodes_truenodeids=[split.when_true.position for split in splits],
            nodes_trueleafs=[int(split.when_true.is_leaf) for split in splits],
            nodes_falsenodeids=[split.when_false.position for split in splits],
            nodes_falseleafs=[int(split.when_false.is_leaf) for split in splits],
            nodes_missing_value_tracks_true=[int(split.nan_is_true) for split in splits],
            leaf_targetids=self._targets,
            leaf_weights=_tensor(self._weights, dtype),
            **optional,
        )

    def _from_one(self, builder: Builder, x: str, width: int, dtype: type[np.floating]) -> str:
        # ONNX Runtime 1.32 tests the codes 1 to 32 at once, by a mask, and any other by itself.
        shift = np.zeros(width)
        shift[[split.feature for split in self._splits if split.mode is Mode.MEMBER]] = 1.0
        return builder.node("Add", x, builder.constant(shift, dtype))


def _tensor(values: ArrayLike, dtype: type) -> object:
    return numpy_helper.from_array(np.asarray(values, dtype=dtype))
