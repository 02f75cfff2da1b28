"""Lower multi-layer perceptrons layer by layer, in doubles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.neural_network import MLPClassifier, MLPRegressor

from mlembed.errors import LoweringError
from mlembed.training.lowering.encoding import linear_pipeline
from mlembed.training.lowering.registry import FeatureSpec, class_name, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.graph import Builder

_OPERATORS = {
    "logistic": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "exp": "Exp",
}


@register(MLPClassifier, MLPRegressor, prepare=linear_pipeline)
def lower_perceptron(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower a fitted multi-layer perceptron.

    Raises:
        LoweringError: If it has several outputs that are no classes.
    """
    del specs
    if estimator.n_outputs_ > 1 and estimator.out_activation_ != "softmax":
        raise LoweringError(
            f"{class_name(estimator)}: fitted on {estimator.n_outputs_} outputs, expected one"
        )
    layers = list(zip(estimator.coefs_, estimator.intercepts_, strict=True))
    for number, (weights, intercepts) in enumerate(layers, start=1):
        x = builder.node("Gemm", x, builder.constant(weights), builder.constant(intercepts))
        is_last = number == len(layers)
        name = estimator.out_activation_ if is_last else estimator.activation
        if name == "softmax":
            x = builder.node("Softmax", x, axis=1)
        elif name != "identity":
            x = builder.node(_OPERATORS[name], x)
    return x
