"""Lower calibrated classifiers: the estimator's own response, its calibrator, their mean.

A calibrator reads the decision function where there is one and the probability elsewhere;
a graph that takes the other of the two is wrong on every row.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn.base
from sklearn.calibration import CalibratedClassifierCV
from sklearn.svm import LinearSVC

from mlembed.errors import LoweringError
from mlembed.training.lowering.decisions import decision_suffices
from mlembed.training.lowering.isotonic import interpolate
from mlembed.training.lowering.nesting import tolerance_of
from mlembed.training.lowering.preprocessing.accurate import logistic
from mlembed.training.lowering.registry import (
    TOLERANCE,
    FeatureSpec,
    check,
    class_name,
    decide,
    family_of,
    prepare,
    register,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mlembed.training.lowering.graph import Builder

    Matrix = NDArray[np.float64]

BINARY = 2
_EPSILON = 1e-12  # what scikit-learn adds to a probability before its logarithm


def _inner(estimator: Any) -> Any:
    return LinearSVC(random_state=0) if estimator.estimator is None else estimator.estimator


def _check(estimator: Any) -> None:
    inner = _inner(estimator)
    with decision_suffices():
        check(inner)
    if hasattr(inner, "decision_function") and family_of(inner).decision is None:
        raise LoweringError(
            f"{class_name(estimator)}: calibrates the decision function of {class_name(inner)}, "
            "which has no exact ONNX form here; calibrate another estimator"
        )
    tolerance, why = tolerance_of(inner)
    if estimator.method == "isotonic" and tolerance > TOLERANCE:
        raise LoweringError(
            f"{class_name(estimator)}: {why}, and the steps of an isotonic calibration can make "
            "any score of its last digit; use 'sigmoid' or 'temperature'"
        )


def _prepare(estimator: Any, specs: Sequence[FeatureSpec]) -> Any:
    with decision_suffices():
        inner = prepare(_inner(estimator), specs)
    return sklearn.base.clone(estimator).set_params(estimator=inner)


def _splits(estimator: Any) -> dict[int, list[float]]:
    return merged_splits(item.estimator for item in estimator.calibrated_classifiers_)


def merged_splits(estimators: Any) -> dict[int, list[float]]:
    """Return the thresholds of all *estimators*, which read the same matrix, by position."""
    splits: dict[int, list[float]] = {}
    for estimator in estimators:
        for position, thresholds in family_of(estimator).splits(estimator).items():
            splits.setdefault(position, []).extend(thresholds)
    return splits


def response(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Add the nodes of what scikit-learn calibrates: the decision function, or the probability.

    Returns:
        double[N, 1] for two classes, else double[N, n_classes].

    Raises:
        LoweringError: If it has no exact ONNX form.
    """
    if hasattr(estimator, "decision_function"):
        tensor = decide(estimator, builder, x, specs)
        what = "decision_function"
    else:
        tensor = family_of(estimator).lower(estimator, builder, x, specs)
        what = "predict_proba"
    builder.expect(
        tensor, f"{what} of {type(estimator).__name__}", functools.partial(respond, estimator)
    )
    return tensor


def respond(estimator: Any, features: Matrix) -> Matrix:
    """Return what `response` writes, computed by the estimator; `(n_records, width)`."""
    if hasattr(estimator, "decision_function"):
        return np.asarray(estimator.decision_function(features), np.float64).reshape(
            len(features), -1
        )
    return probabilities(estimator, features)


def probabilities(estimator: Any, features: Matrix) -> Matrix:
    """Return the probability of the second class, `(n_records, 1)`, or of each of more classes."""
    found = np.asarray(estimator.predict_proba(features), np.float64)
    return found[:, 1:] if found.shape[1] == BINARY else found


@register(CalibratedClassifierCV, prepare=_prepare, check=_check, splits=_splits)
def lower_calibrated(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower a fitted calibrated classifier.

    Raises:
        LoweringError: If what it calibrates has no exact ONNX form, or a fold lacked a class.
    """
    parts = [
        _calibrated(part, builder, x, specs, estimator.classes_)
        for part in estimator.calibrated_classifiers_
    ]
    return average(builder, parts)


def average(builder: Builder, parts: Sequence[str], weights: Sequence[float] | None = None) -> str:
    """Return the mean of tensors of one shape, weighted where *weights* are given."""
    if len(parts) == 1:
        return parts[0]
    if weights is not None:
        parts = [
            builder.node("Mul", part, builder.constant(weight))
            for part, weight in zip(parts, weights, strict=True)
        ]
    divisor = len(parts) if weights is None else np.sum(weights)
    return builder.node("Div", builder.node("Sum", *parts), builder.constant(divisor))


def normalised(builder: Builder, parts: str, instead: float | None) -> str:
    """Divide each row by its sum; a row of zeros becomes *instead*, or stays where it is None."""
    axis = builder.constant([1], np.int64)
    total = builder.node("ReduceSum", parts, axis, keepdims=1)
    nothing = builder.node("Equal", total, builder.constant(0.0))
    shares = builder.node("Div", parts, total)
    other = parts if instead is None else builder.constant(instead)
    return builder.node("Where", nothing, other, shares)


def _calibrated(
    part: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec], classes: NDArray[Any]
) -> str:
    if not np.array_equal(part.estimator.classes_, classes):
        raise LoweringError(
            f"{class_name(part.estimator)}: a fold it was calibrated on lacks a class; "
            "use stratified folds"
        )
    tensor = response(part.estimator, builder, x, specs)
    if part.method == "temperature":
        result = _temperature(part, builder, tensor, len(classes))
    else:
        result = _one_by_one(part, builder, tensor)
    builder.expect(
        result,
        f"{part.method} calibration of {type(part.estimator).__name__}",
        functools.partial(probabilities, part),
    )
    return result


def _one_by_one(part: Any, builder: Builder, tensor: str) -> str:
    """Calibrate each class by itself."""
    calibrate = _CALIBRATORS[part.method]
    width = len(part.calibrators)
    columns = [
        calibrate(calibrator, builder, builder.select(tensor, [position], width))
        for position, calibrator in enumerate(part.calibrators)
    ]
    if width == 1:
        return columns[0]
    together = builder.node("Concat", *columns, axis=1)
    return normalised(builder, together, 1 / width)


def _sigmoid(calibrator: Any, builder: Builder, tensor: str) -> str:
    """Return `1 / (1 + exp(a * x + b))`."""
    slope, base = builder.constant(-calibrator.a_), builder.constant(-calibrator.b_)
    return logistic(builder, builder.node("Add", builder.node("Mul", tensor, slope), base))


def _isotonic(calibrator: Any, builder: Builder, tensor: str) -> str:
    """Return the interpolated value, which rounding may lift above 1."""
    return builder.node("Min", interpolate(calibrator, builder, tensor), builder.constant(1.0))


_CALIBRATORS: dict[str, Callable[[Any, Builder, str], str]] = {
    "sigmoid": _sigmoid,
    "isotonic": _isotonic,
}


def _temperature(part: Any, builder: Builder, tensor: str, n_classes: int) -> str:
    """Return the softmax of the logits times beta; of two classes the logistic of their gap."""
    beta = float(part.calibrators[0].beta_)
    is_margin = hasattr(part.estimator, "decision_function")
    if n_classes == BINARY and is_margin:
        return builder.node("Sigmoid", builder.node("Mul", tensor, builder.constant(2 * beta)))
    if n_classes == BINARY:
        other = builder.node("Sub", builder.constant(1.0), tensor)
        gap = builder.node("Sub", _logarithm(builder, tensor), _logarithm(builder, other))
        return builder.node("Sigmoid", builder.node("Mul", gap, builder.constant(beta)))
    logits = tensor if is_margin else _logarithm(builder, tensor)
    return builder.node("Softmax", builder.node("Mul", logits, builder.constant(beta)), axis=1)


def _logarithm(builder: Builder, tensor: str) -> str:
    return builder.node("Log", builder.node("Add", tensor, builder.constant(_EPSILON)))
