"""Build one ONNX graph node by node.

Names come from counters and constants keep the order they were added in, so the same
estimator gives the same bytes on every machine: a bundle's digest is worth comparing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    Matrix = NDArray[np.float64]

INPUT = "x"
OPSETS = (("", 21), ("ai.onnx.ml", 5))
IR_VERSION = 10


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A tensor inside a graph whose right value is known.

    Attributes:
        tensor: Name of the tensor.
        what: What it is, such as `StandardScaler's output`.
        of: Computes its right value, `(n_records, width)`, from the features, `(n_records,
            n_features)`, with the estimator's own code.
    """

    tensor: str
    what: str
    of: Callable[[Matrix], Matrix]


class Builder:
    """A graph under construction; its input is `x`, double[N, n_columns].

    Attributes:
        n_columns: Width of the input.
        nodes: Nodes so far, in the order they run.
        initializers: Constants so far.
        checkpoints: Tensors whose right value is known, in the order they are computed.
    """

    def __init__(self, n_columns: int) -> None:
        self.n_columns = n_columns
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.checkpoints: list[Checkpoint] = []
        self._counter = itertools.count()
        self._before: list[Callable[[Matrix], Matrix]] = []

    def expect(self, tensor: str, what: str, of: Callable[[Matrix], Matrix]) -> None:
        """Note what *tensor* should be, so that a failed proof can name where a graph goes wrong.

        Args:
            tensor: A tensor that was just made.
            what: What it is.
            of: Computes it from the input of the estimator or transformer that is being lowered.
        """
        before = tuple(self._before)

        def right(features: Matrix) -> Matrix:
            for transform in before:
                features = transform(features)
            return of(features)

        self.checkpoints.append(Checkpoint(tensor, what, right))

    @contextlib.contextmanager
    def behind(self, transform: Callable[[Matrix], Matrix]) -> Iterator[None]:
        """Lower what reads the output of *transform*; `expect` computes on that output."""
        self._before.append(transform)
        try:
            yield
        finally:
            self._before.pop()

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
        self.checkpoints = [
            dataclasses.replace(item, tensor=output) if item.tensor == result else item
            for item in self.checkpoints
        ]
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
