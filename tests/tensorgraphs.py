"""Real ONNX graphs with named tensors of every kind, small enough to read."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from mlembed.training import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto, ValueInfoProto

    from mlembed.bundle.bundle import Bundle

DTYPES = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
}
WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 10


def tensor(name: str, dtype: str, shape: Sequence[int | str | None] | None) -> ValueInfoProto:
    """Describe an input or output."""
    return helper.make_tensor_value_info(name, DTYPES[dtype], shape)


def model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    weights: dict[str, NDArray[Any]] | None = None,
    **domains: int,
) -> ModelProto:
    """Close a graph; *domains* are operator sets beside the standard one."""
    constants = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    opsets = [helper.make_opsetid("", 17)]
    opsets += [helper.make_opsetid(n.replace("_", "."), v) for n, v in domains.items()]
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), constants)
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="tests")


def pixels_model(scale: float = 1.0) -> ModelProto:
    """Return a graph from images, two by two, to the odds of three classes and the likeliest."""
    return model(
        [
            helper.make_node("Flatten", ["pixels"], ["flat"], axis=1),
            helper.make_node("MatMul", ["flat", "w"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["odds"], axis=1),
            helper.make_node("ArgMax", ["odds"], ["class"], axis=1, keepdims=0),
        ],
        [tensor("pixels", "float32", ["N", 2, 2])],
        [tensor("odds", "float32", ["N", 3]), tensor("class", "int64", ["N"])],
        {"w": (WEIGHTS * scale).astype(np.float32)},
    )


def odds(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what `pixels_model` must give for images `(n, 2, 2)`."""
    logits = pixels.reshape(len(pixels), 4).astype(np.float64) @ WEIGHTS.astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result


def mixed_model() -> ModelProto:
    """Return a graph of texts, whole numbers, a mask and a half-precision scalar."""
    return model(
        [
            helper.make_node("Identity", ["text"], ["echo"]),
            helper.make_node("Where", ["mask", "ids", "zero"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "axis"], ["total"], keepdims=0),
            helper.make_node("Cast", ["total"], ["half"], to=TensorProto.FLOAT16),
            helper.make_node("Mul", ["half", "scale"], ["scaled"]),
        ],
        [
            tensor("text", "string", ["N"]),
            tensor("ids", "int64", ["N", "L"]),
            tensor("mask", "bool", ["N", "L"]),
            tensor("scale", "float16", []),
        ],
        [
            tensor("echo", "string", ["N"]),
            tensor("total", "int64", ["N"]),
            tensor("scaled", "float16", ["N"]),
        ],
        {"zero": np.array(0), "axis": np.array([1])},
    )


MIXED: dict[str, Any] = {
    "text": np.array(["héllo", "a\0b 😀"], dtype=object),
    "ids": np.array([[1, 2, 3], [4, 5, 2**40]]),
    "mask": np.array([[True, False, True], [True, True, False]]),
    "scale": np.float16(0.5),
}


def identity_model(dtype: str, shape: Sequence[int | str | None] | None) -> ModelProto:
    """Return a graph that gives `x` back as `y`."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return model([node], [tensor("x", dtype, shape)], [tensor("y", dtype, shape)])


def lookup_model() -> ModelProto:
    """Return a graph that fails at run time but for places 0, 1 and 2; it gives 10 a place."""
    node = helper.make_node("Gather", ["table", "place"], ["value"])
    inputs, outputs = [tensor("place", "int64", ["N"])], [tensor("value", "float64", ["N"])]
    return model([node], inputs, outputs, {"table": np.array([0.0, 10.0, 20.0])})


def slow_model() -> ModelProto:
    """Return a graph that counts to `turns`, one turn of a loop at a time."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["count", "one"], ["more"]),
            helper.make_node("Identity", ["go"], ["again"]),
        ],
        "turn",
        [tensor("i", "int64", []), tensor("go", "bool", []), tensor("count", "float64", [])],
        [tensor("again", "bool", []), tensor("more", "float64", [])],
        [numpy_helper.from_array(np.array(1.0), "one")],
    )
    node = helper.make_node("Loop", ["turns", "yes", "zero"], ["counted"], body=body)
    weights = {"yes": np.array(True), "zero": np.array(0.0)}  # noqa: FBT003  a weight
    inputs, outputs = [tensor("turns", "int64", [])], [tensor("counted", "float64", [])]
    return model([node], inputs, outputs, weights)


def data(proto: ModelProto) -> bytes:
    """Return the bytes of a model."""
    return bytes(proto.SerializeToString())


@functools.cache
def pixels_bundle(version: str = "1.0.0", score: str = "odds:2", scale: float = 1.0) -> Bundle:
    """Pack `pixels_model`; its score is the odds of the last class."""
    return pack(data(pixels_model(scale)), name="pixels", version=version, score=score)


@functools.cache
def mixed_bundle() -> Bundle:
    """Pack `mixed_model`; it has no score."""
    return pack(data(mixed_model()), name="mixed", examples=[MIXED])


@functools.cache
def lookup_bundle(version: str = "1.0.0") -> Bundle:
    """Pack `lookup_model`."""
    return pack(data(lookup_model()), name="lookup", version=version, score="value")


@functools.cache
def slow_bundle() -> Bundle:
    """Pack `slow_model`."""
    return pack(data(slow_model()), name="slow", score="counted", examples=[{"turns": 3}])
