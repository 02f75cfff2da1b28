"""Lower the scalers: the operations of their `transform`, in its order, on doubles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto
from sklearn.preprocessing import (
    Binarizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)

from mlembed.training.lowering.registry import FeatureSpec, register_transformer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.graph import Builder

# Below this scikit-learn divides by 1.
_NO_NORM = 10 * np.finfo(np.float64).eps
_Lowered = tuple[str, tuple[FeatureSpec, ...]]


def numbers(specs: Sequence[FeatureSpec]) -> tuple[FeatureSpec, ...]:
    """Return *specs* as numbers: what is computed from a code is no code any more."""
    return tuple(FeatureSpec(spec.name) for spec in specs)


def shift_and_divide(builder: Builder, x: str, shift: Any, scale: Any) -> str:
    """Add the nodes of `(x - shift) / scale`; either may be None."""
    if shift is not None:
        x = builder.node("Sub", x, builder.constant(shift))
    return x if scale is None else builder.node("Div", x, builder.constant(scale))


@register_transformer(StandardScaler)
def lower_standard(scaler: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> _Lowered:
    """Lower a fitted StandardScaler."""
    mean = scaler.mean_ if scaler.with_mean else None
    scale = scaler.scale_ if scaler.with_std else None
    return shift_and_divide(builder, x, mean, scale), numbers(specs)


@register_transformer(RobustScaler)
def lower_robust(scaler: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> _Lowered:
    """Lower a fitted RobustScaler."""
    centre = scaler.center_ if scaler.with_centering else None
    scale = scaler.scale_ if scaler.with_scaling else None
    return shift_and_divide(builder, x, centre, scale), numbers(specs)


@register_transformer(MinMaxScaler)
def lower_min_max(scaler: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> _Lowered:
    """Lower a fitted MinMaxScaler."""
    scaled = builder.node("Mul", x, builder.constant(scaler.scale_))
    moved = builder.node("Add", scaled, builder.constant(scaler.min_))
    if scaler.clip:
        moved = clip(builder, moved, *scaler.feature_range)
    return moved, numbers(specs)


@register_transformer(MaxAbsScaler)
def lower_max_abs(scaler: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> _Lowered:
    """Lower a fitted MaxAbsScaler."""
    scaled = shift_and_divide(builder, x, None, scaler.scale_)
    if getattr(scaler, "clip", False):
        scaled = clip(builder, scaled, -1.0, 1.0)
    return scaled, numbers(specs)


@register_transformer(Normalizer)
def lower_normalizer(
    scaler: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> _Lowered:
    """Lower a Normalizer; a row of next to nothing stays as it is."""
    axis = builder.constant([1], np.int64)
    if scaler.norm == "l2":
        squares = builder.node("ReduceSum", builder.node("Mul", x, x), axis, keepdims=1)
        norm = builder.node("Sqrt", squares)
    else:
        reduce = {"l1": "ReduceSum", "max": "ReduceMax"}[scaler.norm]
        norm = builder.node(reduce, builder.node("Abs", x), axis, keepdims=1)
    none = builder.node("Less", norm, builder.constant(_NO_NORM))
    divisor = builder.node("Where", none, builder.constant(1.0), norm)
    return builder.node("Div", x, divisor), numbers(specs)


@register_transformer(Binarizer)
def lower_binarizer(
    scaler: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> _Lowered:
    """Lower a Binarizer; missing stays missing, which scikit-learn refuses."""
    above = builder.node("Greater", x, builder.constant(float(scaler.threshold)))
    binary = builder.node("Cast", above, to=TensorProto.DOUBLE)
    return builder.node("Where", builder.node("IsNaN", x), x, binary), numbers(specs)


def clip(builder: Builder, x: str, lower: float, upper: float) -> str:
    """Add the nodes that keep *x* within two bounds, and missing where it is missing."""
    low, high = builder.constant(float(lower)), builder.constant(float(upper))
    raised = builder.node("Where", builder.node("Less", x, low), low, x)
    return builder.node("Where", builder.node("Greater", raised, high), high, raised)
