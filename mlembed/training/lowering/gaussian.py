"""Lower classifiers that compare Gaussian densities: naive Bayes and quadratic discriminants.

Densities are compared as logarithms, less the largest, as scikit-learn does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.naive_bayes import GaussianNB

from mlembed.training.lowering.encoding import linear_pipeline
from mlembed.training.lowering.registry import FeatureSpec, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.graph import Builder

_BINARY = 2


@register(GaussianNB, prepare=linear_pipeline)
def lower_naive_bayes(
    estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> str:
    """Lower a fitted GaussianNB."""
    del specs
    node, constant = builder.node, builder.constant
    wide = node("Unsqueeze", x, constant([1], np.int64))
    away = node("Sub", wide, constant(estimator.theta_))
    shares = node("Div", node("Mul", away, away), constant(estimator.var_))
    total = node("ReduceSum", shares, constant([2], np.int64), keepdims=0)
    widths = -0.5 * np.sum(np.log(2 * np.pi * estimator.var_), axis=1)
    density = node("Sub", constant(widths), node("Mul", constant(0.5), total))
    logarithms = node("Add", constant(np.log(estimator.class_prior_)), density)
    return _chances(builder, logarithms, len(estimator.classes_))


def _posteriors(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Add the nodes of the logarithm of each class's posterior, up to a shift of the row."""
    del specs
    node, constant = builder.node, builder.constant
    norms = []
    parts = zip(estimator.means_, estimator.rotations_, estimator.scalings_, strict=True)
    for mean, rotation, scaling in parts:
        away = node("Sub", x, constant(mean))
        turned = node("MatMul", away, constant(rotation * scaling**-0.5))
        squares = node("Mul", turned, turned)
        norms.append(node("ReduceSum", squares, constant([1], np.int64), keepdims=1))
    sizes = np.array([np.sum(np.log(scaling)) for scaling in estimator.scalings_])
    total = node("Add", node("Concat", *norms, axis=1), constant(sizes))
    return node("Add", node("Mul", constant(-0.5), total), constant(np.log(estimator.priors_)))


def decide_quadratic(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower the decision function: the log-odds of two classes, or each class's posterior."""
    posteriors = _posteriors(estimator, builder, x, specs)
    if len(estimator.classes_) > _BINARY:
        return posteriors
    second, first = (
        builder.node("Gather", posteriors, builder.constant([k], np.int64), axis=1) for k in (1, 0)
    )
    return builder.node("Sub", second, first)


@register(QuadraticDiscriminantAnalysis, prepare=linear_pipeline, decision=decide_quadratic)
def lower_quadratic(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower a fitted QuadraticDiscriminantAnalysis."""
    return _chances(builder, _posteriors(estimator, builder, x, specs), len(estimator.classes_))


def _chances(builder: Builder, logarithms: str, n_classes: int) -> str:
    """Add the nodes from logarithms to probabilities, the second's alone of two."""
    chances = builder.node("Softmax", logarithms, axis=1)
    if n_classes > _BINARY:
        return chances
    return builder.node("Gather", chances, builder.constant([1], np.int64), axis=1)
