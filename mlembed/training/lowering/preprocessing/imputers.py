"""Lower imputers: a statistic for the missing, and columns that tell what was missing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from onnx import TensorProto
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer

from mlembed.errors import LoweringError
from mlembed.training.lowering.registry import FeatureSpec, class_name, register_transformer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.graph import Builder

_Lowered = tuple[str, tuple[FeatureSpec, ...]]


def _check(imputer: Any) -> None:
    if not isinstance(imputer.missing_values, (int, float)):
        raise LoweringError(
            f"{class_name(imputer)}: missing_values is a {type(imputer.missing_values).__name__}, "
            "expected nan or a number; missing values and categories reach it as NaN and codes"
        )
    if getattr(imputer, "strategy", None) not in (
        None,
        "mean",
        "median",
        "most_frequent",
        "constant",
    ):
        raise LoweringError(
            f"{class_name(imputer)}: strategy is no known name; use 'mean', 'median', "
            "'most_frequent' or 'constant'"
        )


def _check_indicator(indicator: Any) -> None:
    _check(indicator)
    if indicator.features == "missing-only" and indicator.error_on_new:
        raise LoweringError(
            f"{class_name(indicator)}: error_on_new refuses rows at prediction, "
            "use error_on_new=False or features='all'"
        )


@register_transformer(SimpleImputer, check=_check)
def lower_imputer(imputer: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> _Lowered:
    """Lower a fitted SimpleImputer."""
    statistics = np.asarray(imputer.statistics_, dtype=np.float64)
    kept = list(range(len(statistics)))
    if not imputer.keep_empty_features:
        kept = [position for position in kept if not math.isnan(statistics[position])]
    fill = statistics[kept]
    columns = builder.select(x, kept, len(specs))
    mask = _missing(builder, columns, imputer.missing_values)
    filled = builder.node("Where", mask, builder.constant(fill), columns)
    names = tuple(specs[position] for position in kept)
    if not imputer.add_indicator:
        return filled, names
    told, flags = lower_indicator(imputer.indicator_, builder, x, specs)
    return builder.node("Concat", filled, told, axis=1), names + flags


@register_transformer(MissingIndicator, check=_check_indicator)
def lower_indicator(
    indicator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> _Lowered:
    """Lower a fitted MissingIndicator."""
    positions = [int(position) for position in indicator.features_]
    columns = builder.select(x, positions, len(specs))
    mask = _missing(builder, columns, indicator.missing_values)
    names = tuple(FeatureSpec(f"{specs[position].name}=missing") for position in positions)
    return builder.node("Cast", mask, to=TensorProto.DOUBLE), names


def _missing(builder: Builder, x: str, value: float) -> str:
    if math.isnan(value):
        return builder.node("IsNaN", x)
    return builder.node("Equal", x, builder.constant(float(value)))


def _refuse(imputer: Any) -> NoReturn:
    raise LoweringError(
        f"{class_name(imputer)}: which neighbours are nearest depends on the last digit of "
        "distances and on ties, and the training rows would travel in the graph; "
        "use SimpleImputer(add_indicator=True), or an estimator that takes missing values"
    )


@register_transformer(KNNImputer, check=_refuse, refused=True)
def lower_neighbours(
    imputer: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> NoReturn:
    """Refuse a KNNImputer.

    Raises:
        LoweringError: Always.
    """
    del builder, x, specs
    _refuse(imputer)
