"""Lower isotonic regression: find the segment between two knots, then interpolate in it.

The segment is found by one tree on the knots themselves and the line is computed in the type
and order of scikit-learn's own, so a score is the same at a knot and right beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn.base
from onnx import TensorProto
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.pipeline import Pipeline

from mlembed.errors import LoweringError
from mlembed.training.lowering.ensemble import Ensemble, Mode
from mlembed.training.lowering.registry import FeatureSpec, class_name, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlembed.training.lowering.ensemble import Child
    from mlembed.training.lowering.graph import Builder


def _check(estimator: Any) -> None:
    if estimator.out_of_bounds != "clip":
        raise LoweringError(
            f"{class_name(estimator)}: out_of_bounds is not 'clip', so it gives no number beyond "
            "the values it was fitted on; use out_of_bounds='clip'"
        )


def _prepare(estimator: Any, specs: Sequence[FeatureSpec]) -> Any:
    if len(specs) != 1 or specs[0].n_codes:
        raise LoweringError(
            f"{class_name(estimator)}: got {len(specs)} features, expected one number"
        )
    impute = SimpleImputer(strategy="median", keep_empty_features=True)
    return Pipeline([("impute", impute), ("estimator", sklearn.base.clone(estimator))])


def _splits(estimator: Any) -> dict[int, list[float]]:
    return {0: [float(knot) for knot in estimator.X_thresholds_]}


@register(IsotonicRegression, prepare=_prepare, check=_check, splits=_splits)
def lower_isotonic(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower a fitted isotonic regression of one feature."""
    del specs
    return interpolate(estimator, builder, x)


def interpolate(regression: Any, builder: Builder, x: str) -> str:
    """Add the nodes of a fitted `IsotonicRegression` that clips.

    Args:
        regression: The fitted regression.
        builder: The graph.
        x: What it is evaluated at, double[N, 1].

    Returns:
        Its value, double[N, 1].
    """
    knots, values = regression.X_thresholds_, regression.y_thresholds_
    single = knots.dtype == np.float32
    dtype = np.float32 if single else np.float64
    if single:
        x = builder.node("Cast", x, to=TensorProto.FLOAT)
    ends = [builder.constant(end, dtype) for end in (regression.X_min_, regression.X_max_)]
    x = builder.node("Clip", x, *ends)
    if len(knots) == 1:
        knots, values = np.repeat(knots, 2), np.repeat(values, 2)
    place = builder.node("Cast", x, to=TensorProto.DOUBLE) if single else x
    segment = builder.node("Cast", _search(builder, place, knots), to=TensorProto.INT64)
    start, slope, base = (
        builder.node("Gather", builder.constant(column, dtype), segment)
        for column in _lines(knots, values)
    )
    rise = builder.node("Mul", slope, builder.node("Sub", x, start))
    result = builder.node("Add", rise, base)
    return builder.node("Cast", result, to=TensorProto.DOUBLE) if single else result


def _lines(knots: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Return where each segment starts, its slope and its value there.

    In doubles the last knot is a segment of its own (`numpy.interp`); in floats it ends the last
    one (`scipy.interpolate.interp1d`).
    """
    widths = np.diff(knots)
    slopes = np.divide(np.diff(values), widths, out=np.zeros_like(widths), where=widths != 0)
    if knots.dtype == np.float32:
        return knots[:-1], slopes, values[:-1]
    return knots, np.append(slopes, 0.0), values


def _search(builder: Builder, x: str, knots: NDArray[Any]) -> str:
    """Add a tree that gives the number of the segment *x* lies in."""
    ensemble = Ensemble()
    single = knots.dtype == np.float32
    inner = knots[1:-1] if single else knots[1:]
    mode = Mode.LTE if single else Mode.GTE

    def grow(low: int, high: int) -> Child:
        if low == high:
            return ensemble.leaf(float(low))
        middle = (low + high) // 2
        below, above = grow(low, middle), grow(middle + 1, high)
        true, false = (below, above) if single else (above, below)
        return ensemble.split(0, mode, float(inner[middle]), true, false)

    ensemble.add(grow(0, len(inner)))
    return ensemble.lower(builder, x)
