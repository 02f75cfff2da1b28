"""Lower linear models: one product, one tree operator for all categories, one link.

The mean is subtracted before the product, as in the fit, so ids and epoch seconds lose no digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.errors import LoweringError
from mlembed.training.lowering.encoding import MISSING_CODE, Encoding, linear_pipeline
from mlembed.training.lowering.ensemble import Ensemble, Mode
from mlembed.training.lowering.links import LINEAR, check_linear, lower_link
from mlembed.training.lowering.registry import FeatureSpec, class_name, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlembed.training.lowering.ensemble import Child
    from mlembed.training.lowering.graph import Builder

_BINARY = 2


def is_encodable(estimator: Any) -> bool:
    """Tell whether a fitted *estimator* is a link of one weighted sum."""
    return type(estimator) in LINEAR and np.size(estimator.intercept_) == 1


def decide_linear(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower the weighted sums of a linear model: its decision function, or its raw prediction.

    Raises:
        LoweringError: If it has more outputs than classes.
    """
    del specs
    weights, intercepts = _coefficients(estimator)
    return builder.node("Gemm", x, builder.constant(weights.T), builder.constant(intercepts))


@register(*LINEAR, prepare=linear_pipeline, check=check_linear, decision=decide_linear)
def lower_linear(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower a linear model fitted on the matrix itself, without NaN or codes.

    Raises:
        LoweringError: If it has more outputs than classes, or no probability.
    """
    sums = decide_linear(estimator, builder, x, specs)
    return lower_link(estimator, builder, sums, np.size(_coefficients(estimator)[1]))


def lower_encoded_linear(
    estimator: Any, builder: Builder, x: str, encoding: Encoding, specs: Sequence[FeatureSpec]
) -> str:
    """Lower a linear model of one sum together with the encoding in front of it.

    A one-hot column times its weight is a look-up, so each category is a small tree on its codes;
    a code without a column adds nothing.

    Raises:
        LoweringError: If it has more than one output.
    """
    rows, intercepts = _coefficients(estimator)
    weights, intercept = rows[0], float(intercepts[0])
    ensemble, start = Ensemble(), len(encoding.numbers)
    for position, codes in zip(encoding.categories, encoding.codes, strict=True):
        own = [*weights[start : start + len(codes)], 0.0]
        offset = 0.0 if len(ensemble) else intercept
        start += len(codes)
        ensemble.add(_look_up(ensemble, position, [weight + offset for weight in own]))
    rest = ensemble.lower(builder, x) if len(ensemble) else builder.constant([intercept])
    if not encoding.numbers:
        return lower_link(estimator, builder, rest, 1)
    numbers = list(encoding.numbers)
    fill, mean, slopes = np.zeros((3, len(specs)))
    fill[numbers], mean[numbers] = encoding.fill, encoding.mean
    slopes[numbers] = weights[: len(numbers)] / encoding.scale
    filled = builder.node("Where", builder.node("IsNaN", x), builder.constant(fill), x)
    centred = builder.node("Sub", filled, builder.constant(mean))
    margin = builder.node("Gemm", centred, builder.constant(slopes[:, np.newaxis]), rest)
    return lower_link(estimator, builder, margin, 1)


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


def _coefficients(estimator: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights, `(n_sums, n_features)`, and intercepts, `(n_sums,)`."""
    weights = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
    intercepts = np.ravel(np.asarray(estimator.intercept_, dtype=np.float64))
    n_classes = len(getattr(estimator, "classes_", "01"))
    wanted = 1 if n_classes == _BINARY else n_classes
    if len(weights) != wanted or len(intercepts) not in (1, wanted):
        raise LoweringError(
            f"{class_name(estimator)}: fitted on {len(weights)} outputs and {n_classes} classes, "
            "expected one output a row, or one a class"
        )
    return weights, np.broadcast_to(intercepts, wanted)
