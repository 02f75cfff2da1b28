"""Lower SplineTransformer: de Boor's recursion on all knots at once, in scipy's order.

The interval a value lies in starts the recursion as a 0/1 vector; every other basis function
stays 0, so the sums are those of scipy's own evaluation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto
from sklearn.preprocessing import SplineTransformer

from mlembed.training.lowering.registry import FeatureSpec, register_transformer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlembed.training.lowering.graph import Builder

    Matrix = NDArray[np.float64]


@register_transformer(SplineTransformer)
def lower_splines(
    transformer: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> tuple[str, tuple[FeatureSpec, ...]]:
    """Lower a fitted SplineTransformer; where it refuses a value, the graph gives NaN."""
    knots = np.array([spline.t for spline in transformer.bsplines_])
    n_splines = transformer.bsplines_[0].c.shape[1]
    wide = builder.node("Unsqueeze", x, builder.constant([2], np.int64))
    way = transformer.extrapolation
    inside = _wrapped(builder, wide, knots, transformer.degree) if way == "periodic" else wide
    basis = _basis(builder, inside, knots, transformer.degree)
    if way == "periodic":
        basis = _folded(builder, basis, n_splines, transformer.degree)
    elif way != "continue":
        basis = _outside(transformer, builder, wide, basis)
    fill = 0.0 if getattr(transformer, "handle_missing", "error") == "zeros" else math.nan
    missing = builder.node("IsNaN", wide)
    basis = builder.node("Where", missing, builder.constant(fill), basis)
    matrix = builder.node("Flatten", basis, axis=1)
    kept = [
        k for k in range(len(specs) * n_splines) if transformer.include_bias or (k + 1) % n_splines
    ]
    names = tuple(FeatureSpec(f"{specs[k // n_splines].name}~{k % n_splines}") for k in kept)
    return builder.select(matrix, kept, len(specs) * n_splines), names


def _basis(builder: Builder, x: str, knots: Matrix, degree: int) -> str:
    """Add de Boor's recursion; *x* is `(N, n_features, 1)`, *knots* `(n_features, n_knots)`."""
    node, constant = builder.node, builder.constant
    n_knots = knots.shape[1]
    lowest, highest = degree, n_knots - degree - 2
    begins = np.full((len(knots), n_knots - 1), math.inf)
    ends = np.full((len(knots), n_knots - 1), -math.inf)
    begins[:, lowest : highest + 1] = knots[:, lowest : highest + 1]
    ends[:, lowest : highest + 1] = knots[:, lowest + 1 : highest + 2]
    begins[:, lowest], ends[:, highest] = -math.inf, math.inf
    within = node(
        "And",
        node("GreaterOrEqual", x, constant(begins)),
        node("Less", x, constant(ends)),
    )
    basis = node("Cast", within, to=TensorProto.DOUBLE)
    for step in range(1, degree + 1):
        left, right = knots[:, :-step], knots[:, step:]
        span = right - left
        share = node("Div", basis, constant(np.where(span == 0, math.inf, span)))
        width = span.shape[1]
        rising = node("Mul", share, node("Sub", x, constant(left)))
        falling = node("Mul", share, node("Sub", constant(right), x))
        basis = node("Add", _part(builder, rising, 0, width - 1), _part(builder, falling, 1, width))
    return basis


def _part(builder: Builder, basis: str, start: int, stop: int) -> str:
    ends = (builder.constant([end], np.int64) for end in (start, stop, 2))
    return builder.node("Slice", basis, *ends)


def _wrapped(builder: Builder, x: str, knots: Matrix, degree: int) -> str:
    """Add the nodes that bring *x* into the period, with Python's modulo on doubles."""
    node, constant = builder.node, builder.constant
    start = knots[:, degree][:, np.newaxis]
    period = knots[:, -degree - 1][:, np.newaxis] - start
    rest = node(
        "Mod",
        node("Sub", x, constant(start)),
        constant(np.where(period > 0, period, 1.0)),
        fmod=1,
    )
    below = node("Less", rest, constant(0.0))
    rest = node("Where", below, node("Add", rest, constant(period)), rest)
    moved = node("Add", constant(start), rest)
    if (period > 0).all():
        return moved
    return node("Where", constant(period > 0, np.bool_), moved, constant(0.0))


def _folded(builder: Builder, basis: str, n_splines: int, degree: int) -> str:
    """Add the basis functions beyond the period to those they are."""
    if not degree:
        return basis
    first = _part(builder, basis, 0, degree)
    beyond = _part(builder, basis, n_splines, n_splines + degree)
    sums = builder.node("Add", first, beyond)
    if n_splines == degree:
        return sums
    return builder.node("Concat", sums, _part(builder, basis, degree, n_splines), axis=2)


def _outside(transformer: Any, builder: Builder, x: str, basis: str) -> str:
    """Add what holds below the first and above the last knot: a constant, a line or NaN."""
    node, constant = builder.node, builder.constant
    ends: tuple[list[Any], list[Any]] = [], []
    degree = transformer.degree
    for spline in transformer.bsplines_:
        knots = spline.t[degree], spline.t[-degree - 1]
        # scikit-learn raises the degree of a line here, for this feature and all after it.
        degree += transformer.extrapolation == "linear" and degree <= 1
        for end, knot, lower in zip(ends, knots, (True, False), strict=True):
            end.append((knot, *_line(transformer.extrapolation, spline, knot, degree, lower=lower)))
    for end, compare in zip(ends, ("Less", "Greater"), strict=True):
        knot, value, slope = (np.array(part) for part in zip(*end, strict=True))
        edge = constant(knot[:, np.newaxis])
        line = constant(value)
        if slope.any():
            run = node("Mul", node("Sub", x, edge), constant(slope))
            line = node("Add", line, run)
        basis = node("Where", node(compare, x, edge), line, basis)
    return basis


def _line(way: str, spline: Any, knot: float, degree: int, *, lower: bool) -> tuple[Matrix, Matrix]:
    """Return value and slope of each basis function beyond *knot*."""
    value, slope = np.zeros((2, spline.c.shape[1]))
    if way == "error":
        return np.full_like(value, math.nan), slope
    part = slice(0, degree) if lower else slice(max(len(value) - degree, 0), None)
    if degree:
        value[part] = spline(knot)[part]
    if way == "linear":
        slope[part] = spline(knot, nu=1)[part]
    return value, slope
