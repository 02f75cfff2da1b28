"""Look values up exactly: one tree operator for all the step functions of a transformer.

Every split is `x >= edge`, so a missing value falls through to the lowest branch, and a single
value `v` is the interval from `v` up to the next double.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from mlembed.training.lowering.ensemble import Ensemble, Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.ensemble import Child
    from mlembed.training.lowering.graph import Builder


@dataclasses.dataclass(frozen=True, slots=True)
class Steps:
    """A step function of one feature.

    Attributes:
        feature: Position of the feature.
        edges: Where a step begins, increasing; the edge belongs to the step above it.
        results: Result of each step, one more than there are edges.
        missing: Result for a missing value.
    """

    feature: int
    edges: tuple[float, ...]
    results: tuple[float, ...]
    missing: float = math.nan


def at_values(
    feature: int,
    values: Sequence[float],
    results: Sequence[float],
    *,
    other: float,
    missing: float,
) -> Steps:
    """Return the step function that is *results* at *values* and *other* between them.

    Args:
        feature: Position of the feature.
        values: Finite and increasing.
        results: One result a value.
        other: Result of any other number.
        missing: Result of a missing value.
    """
    edges: list[float] = []
    levels = [other]
    for value, result in zip(values, results, strict=True):
        if edges and edges[-1] == value:
            levels.pop()
            edges.pop()
        edges += [float(value), math.nextafter(value, math.inf)]
        levels += [result, other]
    return Steps(feature, tuple(edges), tuple(levels), missing)


def look_up(builder: Builder, x: str, functions: Sequence[Steps]) -> str:
    """Add the operator that computes *functions* of *x*, double[N, len(functions)]."""
    ensemble = Ensemble()
    for target, item in enumerate(functions):
        root = _search(ensemble, item, target, 0, len(item.edges))
        lowest = item.results[0]
        if item.missing != lowest and not (math.isnan(item.missing) and math.isnan(lowest)):
            missing = ensemble.leaf(item.missing, target)
            root = ensemble.split(item.feature, Mode.GTE, -math.inf, root, missing)
        ensemble.add(root)
    return ensemble.lower(builder, x, n_targets=len(functions))


def one_hot(
    builder: Builder, groups: str, sources: Sequence[int], numbers: Sequence[float], *, strict: bool
) -> str:
    """Add the nodes that give one 0/1 column a group.

    Args:
        builder: The graph.
        groups: Matrix of group numbers; NaN belongs to none.
        sources: Column of *groups* that each output column looks at.
        numbers: Group number that each output column stands for.
        strict: Whether the output is NaN, not 0, where the group number is.
    """
    spread = builder.node("Gather", groups, builder.constant(sources, np.int64), axis=1)
    equal = builder.node("Equal", spread, builder.constant(numbers))
    columns = builder.node("Cast", equal, to=TensorProto.DOUBLE)
    if not strict:
        return columns
    return builder.node("Where", builder.node("IsNaN", spread), spread, columns)


def _search(ensemble: Ensemble, item: Steps, target: int, low: int, high: int) -> Child:
    if low == high:
        return ensemble.leaf(float(item.results[low]), target)
    middle = (low + high) // 2
    above = _search(ensemble, item, target, middle + 1, high)
    below = _search(ensemble, item, target, low, middle)
    return ensemble.split(item.feature, Mode.GTE, item.edges[middle], above, below)
