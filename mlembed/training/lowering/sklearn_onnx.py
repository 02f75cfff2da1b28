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
from sklearn.cross_decomposition import PLSRegression
from sklearn.naive_bayes import ComplementNB, MultinomialNB

from mlembed.errors import LoweringError
from mlembed.training.lowering.encoding import linear_pipeline
from mlembed.training.lowering.registry import FeatureSpec, class_name, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import GraphProto

    from mlembed.training.lowering.graph import Builder

_BINARY = 2
_TARGET_OPSET = {"": 21, "ai.onnx.ml": 3}


@register(PLSRegression, prepare=linear_pipeline)
@register(ComplementNB, MultinomialNB)
def lower_with_skl2onnx(
    estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> str:
    """Lower *estimator* with skl2onnx and splice its nodes into the graph.

    Raises:
        LoweringError: If it has another number of outputs than one, or one a class.
    """
    classes = getattr(estimator, "classes_", None)
    model = to_onnx(
        estimator,
        initial_types=[("x", DoubleTensorType([None, len(specs)]))],
        options={"zipmap": False} if classes is not None else None,
        target_opset=_TARGET_OPSET,
    )
    if classes is None and np.shape(estimator.coef_)[0] != 1:
        raise LoweringError(f"{class_name(estimator)}: fitted on several outputs, expected one")
    result = _splice(model.graph, model.graph.output[-1].name, builder, x)
    if classes is None or len(classes) > _BINARY:
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
