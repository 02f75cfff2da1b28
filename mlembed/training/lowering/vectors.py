"""Lower support vector machines: kernels with the support vectors, and one weighted sum.

Distances are taken from the vectors' own centre, so that squares of large values do not cancel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.svm import SVC, SVR, NuSVC, NuSVR

from mlembed.errors import LoweringError
from mlembed.training.lowering.decisions import is_decision_enough
from mlembed.training.lowering.encoding import linear_pipeline
from mlembed.training.lowering.registry import FeatureSpec, class_name, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.graph import Builder

_KERNELS = ("linear", "poly", "rbf", "sigmoid")
_BINARY = 2


def _check(estimator: Any) -> None:
    if estimator.kernel not in _KERNELS:
        raise LoweringError(
            f"{class_name(estimator)}: the kernel is Python of your own or precomputed; "
            f"use one of {', '.join(_KERNELS)}"
        )


def _check_classifier(estimator: Any) -> None:
    _check(estimator)
    if not is_decision_enough():
        raise LoweringError(
            f"{class_name(estimator)}: its own probability comes from libsvm's pairwise coupling, "
            "which has no exact ONNX form here; calibrate it with CalibratedClassifierCV"
        )


@register(SVR, NuSVR, prepare=linear_pipeline, check=_check)
def lower_vectors(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower the weighted sum of a fitted support vector machine."""
    _check(estimator)
    vectors = np.asarray(estimator.support_vectors_, dtype=np.float64)
    kernel = _kernel(estimator, builder, x, vectors)
    weights = np.asarray(estimator.dual_coef_, dtype=np.float64).reshape(1, -1)
    del specs
    return builder.node(
        "Gemm", kernel, builder.constant(weights.T), builder.constant(estimator.intercept_)
    )


def _decide(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    if len(estimator.classes_) != _BINARY:
        raise LoweringError(
            f"{class_name(estimator)}: decides between {len(estimator.classes_)} classes pair by "
            "pair, which has no exact ONNX form here; wrap it in OneVsRestClassifier"
        )
    return lower_vectors(estimator, builder, x, specs)


@register(SVC, NuSVC, prepare=linear_pipeline, check=_check_classifier, decision=_decide)
def lower_classifier(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Refuse a support vector classifier by itself; see its decision function.

    Raises:
        LoweringError: Always.
    """
    del builder, x, specs
    raise LoweringError(
        f"{class_name(estimator)}: gives no probability to serve as a score; "
        "calibrate it with CalibratedClassifierCV"
    )


def _kernel(estimator: Any, builder: Builder, x: str, vectors: Any) -> str:
    node, constant = builder.node, builder.constant
    gamma = estimator._gamma  # noqa: SLF001  no public name
    if estimator.kernel == "rbf":
        centre = vectors.mean(axis=0)
        return _gaussian(builder, node("Sub", x, constant(centre)), vectors - centre, gamma)
    products = node("MatMul", x, constant(vectors.T))
    if estimator.kernel == "linear":
        return products
    moved = node("Mul", constant(gamma), products)
    moved = node("Add", moved, constant(float(estimator.coef0)))
    if estimator.kernel == "sigmoid":
        return node("Tanh", moved)
    power = moved
    for _ in range(estimator.degree - 1):
        power = node("Mul", power, moved)
    return power if estimator.degree else node("Pow", moved, constant(0.0))


def _gaussian(builder: Builder, x: str, vectors: Any, gamma: float) -> str:
    node, constant = builder.node, builder.constant
    squares = node("ReduceSum", node("Mul", x, x), constant([1], np.int64), keepdims=1)
    lengths = constant((vectors**2).sum(axis=1))
    doubled = node("MatMul", x, constant(2 * vectors.T))
    distance = node("Sub", node("Add", squares, lengths), doubled)
    distance = node("Where", node("Less", distance, constant(0.0)), constant(0.0), distance)
    return node("Exp", node("Mul", constant(-gamma), distance))
