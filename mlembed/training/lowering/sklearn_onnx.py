"""Lower a short list of estimators with skl2onnx, in doubles.

Other conversions of skl2onnx are wrong without a word (dropped links, ignored categories,
rounded splits), so a class enters this list only with a test that holds it to the proof's bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import NodeProto
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType
from sklearn.neural_network import MLPClassifier, MLPRegressor

from mlembed.errors import LoweringError
from mlembed.training.lowering.encoding import linear_pipeline
from mlembed.training.lowering.registry import FeatureSpec, class_name, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import GraphProto

    from mlembed.training.lowering.graph import Builder

_TARGET_OPSET = {"": 21, "ai.onnx.ml": 3}


def _check(estimator: Any) -> None:
    if getattr(estimator, "loss", "squared_error") != "squared_error" and isinstance(
        estimator, MLPRegressor
    ):
        raise LoweringError(
            f"{class_name(estimator)}: the loss has a link that skl2onnx drops, "
            "use loss='squared_error'"
        )


@register(MLPClassifier, MLPRegressor, prepare=linear_pipeline, check=_check)
def lower_with_skl2onnx(
    estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> str:
    """Lower *estimator* with skl2onnx and splice its nodes into the graph.

    Raises:
        LoweringError: If it has more than one output or more than two classes.
    """
    is_classifier = hasattr(estimator, "predict_proba")
    model = to_onnx(
        estimator,
        initial_types=[("x", DoubleTensorType([None, len(specs)]))],
        options={"zipmap": False} if is_classifier else None,
        target_opset=_TARGET_OPSET,
    )
    output = model.graph.output[-1]
    width = output.type.tensor_type.shape.dim[1].dim_value
    if width != 1 + is_classifier:
        raise LoweringError(
            f"{class_name(estimator)}: fitted on more than one output or more than two classes, "
            "expected one score a row"
        )
    result = _splice(model.graph, output.name, builder, x)
    if not is_classifier:
        return result
    return builder.node("Gather", result, builder.constant([1], np.int64), axis=1)


def _splice(graph: GraphProto, output: str, builder: Builder, x: str) -> str:
    """Copy the nodes that *output* needs, under new names, and return its new name."""
    needed, kept = {output}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    names = {graph.input[0].name: x}
    for constant in graph.initializer:
        if constant.name in needed:
            names[constant.name] = builder.name("constant")
            copy = type(constant)()
            copy.CopyFrom(constant)
            copy.name = names[constant.name]
            builder.initializers.append(copy)
    for node in reversed(kept):
        names |= {name: builder.name(node.op_type.lower()) for name in node.output}
        copied = NodeProto()
        copied.CopyFrom(node)
        copied.input[:] = [names.get(name, name) for name in node.input]
        copied.output[:] = [names[name] for name in node.output]
        copied.name = ""
        builder.nodes.append(copied)
    return names[output]
