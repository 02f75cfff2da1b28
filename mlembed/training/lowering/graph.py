"""Build one ONNX graph node by node.

Names come from counters and constants keep the order they were added in, so the same
estimator gives the same bytes on every machine: a bundle's digest is worth comparing.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

INPUT = "x"
OPSETS = (("", 21), ("ai.onnx.ml", 5))
IR_VERSION = 10


class Builder:
    """A graph under construction; its input is `x`, double[N, n_columns].

    Attributes:
        n_columns: Width of the input.
        nodes: Nodes so far, in the order they run.
        initializers: Constants so far.
    """

    def __init__(self, n_columns: int) -> None:
        self.n_columns = n_columns
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._counter = itertools.count()

    def name(self, stem: str) -> str:
        """Return a name no other tensor of the graph has."""
        return f"{stem}_{next(self._counter)}"

    def constant(self, values: ArrayLike, dtype: type = np.float64) -> str:
        """Add a constant, doubles unless told otherwise, and return its name."""
        name = self.name("constant")
        self.initializers.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        output = self.name(op.lower())
        self.nodes.append(helper.make_node(op, inputs, [output], domain=domain, **attributes))
        return output

    def select(self, matrix: str, positions: Sequence[int], width: int) -> str:
        """Return the columns of *matrix*, `width` wide, at *positions*; no node for all of them."""
        if list(positions) == list(range(width)):
            return matrix
        return self.node("Gather", matrix, self.constant(positions, np.int64), axis=1)

    def model(self, result: str, output: str, width: int) -> ModelProto:
        """Close the graph.

        Args:
            result: Tensor that is returned.
            output: Name that the graph's output gets.
            width: Its number of columns.
        """
        if result == INPUT:
            result = self.node("Identity", result)
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [output if name == result else name for name in names]
        graph = helper.make_graph(
            self.nodes,
            "mlembed",
            [helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, ["N", self.n_columns])],
            [helper.make_tensor_value_info(output, TensorProto.DOUBLE, ["N", width])],
            self.initializers,
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS],
            ir_version=IR_VERSION,
            producer_name="mlembed",
        )


def serialize(model: ModelProto) -> bytes:
    """Return the bytes of *model*, the same ones for the same model."""
    return bytes(model.SerializeToString(deterministic=True))
