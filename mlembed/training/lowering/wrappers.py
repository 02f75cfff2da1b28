"""Lower estimators that hold one other: frozen, with a threshold, with a transformed target.

A threshold never enters the graph: `threshold_of` gives it to the manifest, so a host can see
and change it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn.base
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from mlembed.errors import LoweringError
from mlembed.training.lowering.registry import (
    FeatureSpec,
    check,
    class_name,
    decide,
    family_of,
    prepare,
    register,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlembed.training.lowering.graph import Builder

_HALF = 0.5


def threshold_of(estimator: Any) -> float | None:
    """Return the probability from which *estimator* predicts its second class.

    Args:
        estimator: Fitted; anything.

    Returns:
        The threshold that a `FixedThresholdClassifier` was given or a
        `TunedThresholdClassifierCV` found, also at the end of a pipeline; None for estimators that
        have none of their own.
    """
    if isinstance(estimator, Pipeline):
        return threshold_of(estimator.steps[-1][1])
    if isinstance(estimator, FrozenEstimator):
        return threshold_of(estimator.estimator)
    if isinstance(estimator, TunedThresholdClassifierCV):
        return float(estimator.best_threshold_)
    if isinstance(estimator, FixedThresholdClassifier):
        return _HALF if estimator.threshold == "auto" else float(estimator.threshold)
    return None


def _check_frozen(estimator: Any) -> None:
    check(estimator.estimator)


def _splits_frozen(estimator: Any) -> Mapping[int, Sequence[float]]:
    return family_of(estimator.estimator).splits(estimator.estimator)


def _decide_frozen(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    return decide(estimator.estimator, builder, x, specs)


@register(FrozenEstimator, check=_check_frozen, splits=_splits_frozen, decision=_decide_frozen)
def lower_frozen(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower the fitted estimator that is frozen."""
    return family_of(estimator.estimator).lower(estimator.estimator, builder, x, specs)


def check_not_prefit(estimator: Any) -> None:
    """Refuse `cv="prefit"`: what is prepared for a fit would be fitted no more.

    Raises:
        LoweringError: If it is set.
    """
    if isinstance(getattr(estimator, "cv", None), str):
        raise LoweringError(
            f"{class_name(estimator)}: cv='prefit' takes estimators fitted before; freeze each "
            "with sklearn.frozen.FrozenEstimator and leave cv out"
        )


def _check_threshold(estimator: Any) -> None:
    check_not_prefit(estimator)
    check(estimator.estimator)
    has_probability = hasattr(estimator.estimator, "predict_proba")
    if estimator.response_method == "decision_function" or not has_probability:
        raise LoweringError(
            f"{class_name(estimator)}: its threshold is on the decision function, a bundle's is "
            "on the probability; use response_method='predict_proba' and an estimator that has it"
        )


def _prepare_threshold(estimator: Any, specs: Sequence[FeatureSpec]) -> Any:
    inner = prepare(estimator.estimator, specs)
    return sklearn.base.clone(estimator).set_params(estimator=inner)


def _splits_threshold(estimator: Any) -> Mapping[int, Sequence[float]]:
    return family_of(estimator.estimator_).splits(estimator.estimator_)


@register(
    FixedThresholdClassifier,
    TunedThresholdClassifierCV,
    prepare=_prepare_threshold,
    check=_check_threshold,
    splits=_splits_threshold,
)
def lower_threshold(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower the probability that the threshold is compared with.

    Raises:
        LoweringError: If the threshold is on the probability of the first class.
    """
    if getattr(estimator, "pos_label", None) not in (None, estimator.classes_[1]):
        raise LoweringError(
            f"{class_name(estimator)}: pos_label is the first class, the score is the probability "
            "of the second; leave pos_label out"
        )
    return family_of(estimator.estimator_).lower(estimator.estimator_, builder, x, specs)


def _exp(builder: Builder, y: str) -> str:
    return builder.node("Exp", y)


def _expm1(builder: Builder, y: str) -> str:
    return builder.node("Sub", builder.node("Exp", y), builder.constant(1.0))


def _log(builder: Builder, y: str) -> str:
    return builder.node("Log", y)


def _log1p(builder: Builder, y: str) -> str:
    return builder.node("Log", builder.node("Add", y, builder.constant(1.0)))


def _square(builder: Builder, y: str) -> str:
    return builder.node("Mul", y, y)


def _sqrt(builder: Builder, y: str) -> str:
    return builder.node("Sqrt", y)


_FUNCTIONS: dict[Any, Callable[[Builder, str], str]] = {
    np.exp: _exp,
    np.expm1: _expm1,
    np.log: _log,
    np.log1p: _log1p,
    np.square: _square,
    np.sqrt: _sqrt,
}


def _regressor(estimator: Any) -> Any:
    return LinearRegression() if estimator.regressor is None else estimator.regressor


def _check_target(estimator: Any) -> None:
    check(_regressor(estimator))
    function, transformer = estimator.inverse_func, estimator.transformer
    if function is not None and function not in _FUNCTIONS:
        known = ", ".join(f"numpy.{item.__name__}" for item in _FUNCTIONS)
        raise LoweringError(
            f"{class_name(estimator)}: inverse_func is a function without an ONNX form, expected "
            f"one of {known}"
        )
    if transformer is not None and type(transformer) not in (MinMaxScaler, StandardScaler):
        raise LoweringError(
            f"{class_name(estimator)}: its transformer {class_name(transformer)} has no inverse "
            "with an ONNX form; use StandardScaler, MinMaxScaler, or func and inverse_func"
        )


def _prepare_target(estimator: Any, specs: Sequence[FeatureSpec]) -> Any:
    inner = prepare(_regressor(estimator), specs)
    return sklearn.base.clone(estimator).set_params(regressor=inner)


def _splits_target(estimator: Any) -> Mapping[int, Sequence[float]]:
    return family_of(estimator.regressor_).splits(estimator.regressor_)


@register(
    TransformedTargetRegressor,
    prepare=_prepare_target,
    check=_check_target,
    splits=_splits_target,
)
def lower_target(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower a regressor of a transformed target and what brings its prediction back."""
    inner = estimator.regressor_
    y = family_of(inner).lower(inner, builder, x, specs)
    builder.expect(
        y,
        f"the transformed prediction of {type(inner).__name__}",
        lambda features: np.reshape(inner.predict(features), (len(features), -1)),
    )
    return _untransform(estimator.transformer_, builder, y)


def _untransform(transformer: Any, builder: Builder, y: str) -> str:
    if isinstance(transformer, FunctionTransformer):
        function = transformer.inverse_func
        return y if function is None else _FUNCTIONS[function](builder, y)
    if isinstance(transformer, MinMaxScaler):
        shifted = builder.node("Sub", y, builder.constant(transformer.min_))
        return builder.node("Div", shifted, builder.constant(transformer.scale_))
    if transformer.scale_ is not None:
        y = builder.node("Mul", y, builder.constant(transformer.scale_))
    if transformer.with_mean:
        y = builder.node("Add", y, builder.constant(transformer.mean_))
    return y
