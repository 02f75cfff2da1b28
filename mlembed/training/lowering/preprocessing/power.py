"""Lower PowerTransformer: Yeo-Johnson and Box-Cox, standardised or not.

Both are `expm1(k * log) / k`; at k = 0 the logarithm itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.preprocessing import PowerTransformer

from mlembed.errors import LoweringError
from mlembed.training.lowering.preprocessing.accurate import expm1, log1p
from mlembed.training.lowering.preprocessing.scalers import numbers, shift_and_divide
from mlembed.training.lowering.registry import FeatureSpec, class_name, register_transformer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlembed.training.lowering.graph import Builder

# Exponents this near to 0 are 0 for scipy.
_YEO_JOHNSON_ZERO = np.finfo(np.float64).eps
_BOX_COX_ZERO = 1e-19
_TOLERANCE = 1e-9


@register_transformer(PowerTransformer)
def lower_power(
    transformer: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> tuple[str, tuple[FeatureSpec, ...]]:
    """Lower a fitted PowerTransformer.

    Raises:
        LoweringError: If a column is so far from 0, compared with its spread, that the rounding
            of scikit-learn's own logarithm shows in the result.
    """
    exponents = np.asarray(transformer.lambdas_, dtype=np.float64)
    curve = {"yeo-johnson": _yeo_johnson, "box-cox": _box_cox}[transformer.method]
    result = curve(builder, x, exponents)
    if transformer.standardize:
        scaler = transformer._scaler  # noqa: SLF001  no public name
        _require_digits(transformer, exponents, scaler, specs)
        result = shift_and_divide(builder, result, scaler.mean_, scaler.scale_)
    return result, numbers(specs)


def _yeo_johnson(builder: Builder, x: str, exponents: NDArray[np.float64]) -> str:
    node, constant = builder.node, builder.constant
    above = node("GreaterOrEqual", x, constant(0.0))
    logarithm = log1p(builder, node("Abs", x))
    zeros = np.abs(exponents) < _YEO_JOHNSON_ZERO, np.abs(exponents - 2) <= _YEO_JOHNSON_ZERO
    up, down = np.where(zeros[0], 1.0, exponents), np.where(zeros[1], 1.0, 2 - exponents)
    factor = node("Where", above, constant(up), constant(down))
    bent = node("Div", expm1(builder, node("Mul", factor, logarithm)), factor)
    if np.any(zeros):
        flat = node("Where", above, *(constant(zero) for zero in zeros))
        bent = node("Where", node("Greater", flat, constant(0.0)), logarithm, bent)
    return node("Where", above, bent, node("Neg", bent))


def _box_cox(builder: Builder, x: str, exponents: NDArray[np.float64]) -> str:
    """Add the nodes of Box-Cox; a value that is not positive, which it refuses, has no result."""
    node, constant = builder.node, builder.constant
    positive = node("Greater", x, constant(0.0))
    logarithm = node("Log", node("Where", positive, x, constant(math.nan)))
    zero = np.abs(exponents) < _BOX_COX_ZERO
    factor = constant(np.where(zero, 1.0, exponents))
    bent = node("Div", expm1(builder, node("Mul", factor, logarithm)), factor)
    if not zero.any():
        return bent
    return node("Where", constant(zero, np.bool_), logarithm, bent)


def _require_digits(
    transformer: Any, exponents: NDArray[np.float64], scaler: Any, specs: Sequence[FeatureSpec]
) -> None:
    """Refuse columns of ids: one rounding of the logarithm, divided by the small spread."""
    mean, scale = np.abs(scaler.mean_), scaler.scale_
    grown = np.abs(exponents * scaler.mean_ + 1)
    with np.errstate(all="ignore"):
        logarithm = np.where(exponents == 0, mean, np.abs(np.log(grown) / exponents))
        noise = np.finfo(np.float64).eps * (grown * logarithm + mean) / scale
    names = [spec.name for spec, one in zip(specs, noise, strict=True) if one > _TOLERANCE]
    if names:
        raise LoweringError(
            f"{class_name(transformer)}: {', '.join(names)} vary so little, compared with their "
            "size, that the last digit of a logarithm shows in the score; subtract an offset "
            "first (StandardScaler), or leave them out"
        )
