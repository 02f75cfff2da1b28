"""Lower linear models: one product, one tree operator for all categories, one link.

The mean is subtracted before the product, as in the fit, so ids and epoch seconds lose no digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
)

from mlembed.errors import LoweringError
from mlembed.training.lowering.encoding import MISSING_CODE, Encoding, linear_pipeline
from mlembed.training.lowering.ensemble import Ensemble, Mode
from mlembed.training.lowering.registry import FeatureSpec, class_name, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlembed.training.lowering.ensemble import Child
    from mlembed.training.lowering.graph import Builder

# Operator that turns the linear sum into the score, by class.
_LINKS: dict[type, str] = {
    LogisticRegression: "Sigmoid",
    ElasticNet: "",
    HuberRegressor: "",
    Lasso: "",
    LinearRegression: "",
    QuantileRegressor: "",
    Ridge: "",
    GammaRegressor: "Exp",
    PoissonRegressor: "Exp",
}


def is_encodable(estimator: Any) -> bool:
    """Tell whether *estimator* is a link of a weighted sum."""
    return type(estimator) in _LINKS


@register(*_LINKS, prepare=linear_pipeline)
def lower_linear(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower a linear model fitted on the matrix itself, without NaN or codes.

    Raises:
        LoweringError: If it has more than one output.
    """
    del specs
    weights, intercept = _coefficients(estimator)
    return _score(builder, estimator, x, weights, builder.constant([intercept]))


def lower_encoded_linear(
    estimator: Any, builder: Builder, x: str, encoding: Encoding, specs: Sequence[FeatureSpec]
) -> str:
    """Lower a linear model together with the encoding in front of it.

    A one-hot column times its weight is a look-up, so each category is a small tree on its codes;
    a code without a column adds nothing.

    Raises:
        LoweringError: If it has more than one output.
    """
    weights, intercept = _coefficients(estimator)
    ensemble, start = Ensemble(), len(encoding.numbers)
    for position, codes in zip(encoding.categories, encoding.codes, strict=True):
        own = [*weights[start : start + len(codes)], 0.0]
        offset = 0.0 if len(ensemble) else intercept
        start += len(codes)
        ensemble.add(_look_up(ensemble, position, [weight + offset for weight in own]))
    rest = ensemble.lower(builder, x) if len(ensemble) else builder.constant([intercept])
    if not encoding.numbers:
        return _link(builder, estimator, rest)
    numbers = list(encoding.numbers)
    fill, mean, slopes = np.zeros((3, len(specs)))
    fill[numbers], mean[numbers] = encoding.fill, encoding.mean
    slopes[numbers] = weights[: len(numbers)] / encoding.scale
    filled = builder.node("Where", builder.node("IsNaN", x), builder.constant(fill), x)
    centred = builder.node("Sub", filled, builder.constant(mean))
    return _score(builder, estimator, centred, slopes, rest)


def _look_up(ensemble: Ensemble, feature: int, weights: Sequence[float]) -> Child:
    """Grow a balanced tree over the codes; *weights* are those of missing, 0, 1, ... and above."""

    def grow(low: int, high: int) -> Child:
        if high - low == 1:
            return ensemble.leaf(float(weights[low]))
        middle = (low + high) // 2
        below, above = grow(low, middle), grow(middle, high)
        edge = middle + MISSING_CODE - 0.5
        return ensemble.split(feature, Mode.LTE, edge, below, above, nan_is_true=True)

    return grow(0, len(weights))


def _coefficients(estimator: Any) -> tuple[NDArray[np.float64], float]:
    intercept = np.ravel(estimator.intercept_)
    if len(intercept) != 1 or len(getattr(estimator, "classes_", "01")) != 2:  # noqa: PLR2004
        raise LoweringError(
            f"{class_name(estimator)}: fitted on more than one output or more than two classes, "
            "expected one score a row"
        )
    return np.ravel(estimator.coef_).astype(np.float64), float(intercept[0])


def _score(
    builder: Builder, estimator: Any, x: str, weights: NDArray[np.float64], rest: str
) -> str:
    margin = builder.node("Gemm", x, builder.constant(weights[:, np.newaxis]), rest)
    return _link(builder, estimator, margin)


def _link(builder: Builder, estimator: Any, margin: str) -> str:
    link = _LINKS[type(estimator)]
    return builder.node(link, margin) if link else margin
