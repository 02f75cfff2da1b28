"""Lower QuantileTransformer: a look-up of the piece, then scikit-learn's two interpolations.

It interpolates upwards and downwards and takes the mean, so a value that several quantiles
share lands in the middle of them. Each quantile is a piece of its own, from it to the next double.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto
from scipy import stats
from sklearn.preprocessing import QuantileTransformer

from mlembed.training.lowering.preprocessing.accurate import normal_quantile
from mlembed.training.lowering.preprocessing.scalers import clip, numbers
from mlembed.training.lowering.preprocessing.steps import Steps, look_up
from mlembed.training.lowering.registry import FeatureSpec, register_transformer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlembed.training.lowering.graph import Builder

    Vector = NDArray[np.float64]

# scikit-learn's margin, within which a value counts as the lowest or highest.
_MARGIN = 1e-7
_INSIDE = 1e-8
_ROWS = ("slope", "from_below", "value_below", "from_above", "value_above")


@register_transformer(QuantileTransformer)
def lower_quantiles(
    transformer: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> tuple[str, tuple[FeatureSpec, ...]]:
    """Lower a fitted QuantileTransformer."""
    quantiles = np.asarray(transformer.quantiles_, dtype=np.float64)
    references = np.asarray(transformer.references_, dtype=np.float64)
    uniform = transformer.output_distribution == "uniform"
    functions, tables, start = [], [], [0]
    for position in range(len(specs)):
        edges, table = _pieces(quantiles[:, position], references, pinned=uniform)
        functions.append(Steps(position, edges, tuple(range(len(edges) + 1)), missing=0.0))
        tables.append(table)
        start.append(start[-1] + table.shape[1])
    pieces = builder.node("Cast", look_up(builder, x, functions), to=TensorProto.INT64)
    result = _interpolate(builder, x, pieces, np.array(start[:-1]), np.hstack(tables))
    if not uniform:
        result = _normal(builder, x, result, quantiles)
    return result, numbers(specs)


def _pieces(
    quantiles: Vector, references: Vector, *, pinned: bool
) -> tuple[tuple[float, ...], Vector]:
    """Return where each piece begins and what each is, `(len(_ROWS), n_pieces)`.

    Args:
        quantiles: Of one feature, not decreasing.
        references: Their levels.
        pinned: Whether the lowest quantile is level 0 and the highest level 1, although shared.
    """
    outside = (0.0, 0.0, references[0], 0.0, -references[0])
    if np.isnan(quantiles).any():  # a column that was missing throughout
        unknown = outside if len(quantiles) == 1 else [math.nan] * len(_ROWS)
        return (), np.array([unknown]).T
    values, first = np.unique(quantiles, return_index=True)
    last = np.append(first[1:], len(quantiles)) - 1
    edges: list[float] = []
    pieces = [outside]
    for i, value in enumerate(values):
        edges.append(float(value))
        low, high = references[first[i]], references[last[i]]
        if pinned and i == len(values) - 1:
            low = high = 1.0
        if pinned and i == 0:
            low = high = 0.0
        pieces.append((0.0, value, high, value, -low))
        after = math.nextafter(value, math.inf)
        if i + 1 < len(values):
            if after == values[i + 1]:
                continue
            rise = references[first[i + 1]] - references[last[i]]
            slope = rise / (values[i + 1] - value)
            above = values[i + 1], -references[first[i + 1]]
            pieces.append((slope, value, references[last[i]], *above))
        else:
            pieces.append((0.0, 0.0, references[-1], 0.0, -references[-1]))
        edges.append(after)
    return tuple(edges), np.array(pieces, dtype=np.float64).T


def _interpolate(builder: Builder, x: str, pieces: str, start: Vector, table: Vector) -> str:
    node = builder.node
    places = node("Add", pieces, builder.constant(start, np.int64))
    slope, from_below, below, from_above, above = (
        node("Gather", builder.constant(row), places) for row in table
    )
    upwards = node("Add", node("Mul", slope, node("Sub", x, from_below)), below)
    downwards = node("Add", node("Mul", slope, node("Sub", from_above, x)), above)
    return node("Mul", builder.constant(0.5), node("Sub", upwards, downwards))


def _normal(builder: Builder, x: str, levels: str, quantiles: Vector) -> str:
    node, constant = builder.node, builder.constant
    margin = constant(_MARGIN)
    high = node("Greater", node("Add", x, margin), constant(quantiles[-1]))
    low = node("Less", node("Sub", x, margin), constant(quantiles[0]))
    levels = node("Where", high, constant(1.0), levels)
    levels = node("Where", low, constant(0.0), levels)
    inside = clip(builder, levels, _INSIDE, 1 - _INSIDE)
    ends = stats.norm.ppf([_MARGIN - np.spacing(1), 1 - (_MARGIN - np.spacing(1))])
    return clip(builder, normal_quantile(builder, inside), *ends)
