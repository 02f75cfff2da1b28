"""Bundles of one column and one operator, for graphs that fail in ways a trained one does not."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from bundles import toy_bundle
from mlembed.bundle.bundle import pack
from mlembed.bundle.golden import Golden
from mlembed.columns import Column
from mlembed.training.lowering import Builder, serialize

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed.bundle.bundle import Bundle

X = Column(name="x", kind="number")


def log_bundle(golden: float = 1.0) -> Bundle:
    """Return a bundle whose score is ln(x): no number below 0, minus infinity at 0."""
    return graph_bundle(lambda builder: builder.node("Log", "x"), golden, float(np.log(golden)))


def picking_bundle(golden: float = 1.0) -> Bundle:
    """Return a bundle that fails at run time but for x of 0, 1 and 2, where its score is x."""

    def build(builder: Builder) -> str:
        position = builder.node("Cast", "x", to=7)
        flat = builder.node("Reshape", position, builder.constant([-1], np.int64))
        picked = builder.node("Gather", builder.constant([0.0, 1.0, 2.0]), flat, axis=0)
        return builder.node("Reshape", picked, builder.constant([-1, 1], np.int64))

    return graph_bundle(build, golden, golden)


def graph_bundle(
    build: Callable[[Builder], str], golden: float, score: float, *, version: str = "1.0.0"
) -> Bundle:
    """Pack the graph that *build* makes from `x`, with one golden row."""
    builder = Builder(1)
    model = serialize(builder.model(build(builder), "score", 1))
    return packed(model, golden, score, version=version)


def slow_bundle(*, version: str = "1.0.0") -> Bundle:
    """Return a bundle that counts to x, one turn of a loop at a time; its score is x."""
    i = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    go = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    count = helper.make_tensor_value_info("count", TensorProto.DOUBLE, [])
    more = helper.make_tensor_value_info("more", TensorProto.DOUBLE, [])
    again = helper.make_tensor_value_info("again", TensorProto.BOOL, [])
    one = helper.make_tensor("one", TensorProto.DOUBLE, [], [1.0])
    body = helper.make_graph(
        [
            helper.make_node("Add", ["count", "one"], ["more"]),
            helper.make_node("Identity", ["go"], ["again"]),
        ],
        "turn",
        [i, go, count],
        [again, more],
        [one],
    )
    zero = helper.make_tensor("zero", TensorProto.DOUBLE, [], [0.0])
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    width = helper.make_tensor("width", TensorProto.INT64, [2], [-1, 1])
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
            helper.make_node("Cast", ["most"], ["turns"], to=TensorProto.INT64),
            helper.make_node("Loop", ["turns", "yes", "zero"], ["counted"], body=body),
            helper.make_node("Mul", ["x", "zero"], ["nothing"]),
            helper.make_node("Add", ["nothing", "counted"], ["flat"]),
            helper.make_node("Reshape", ["flat", "width"], ["score"]),
        ],
        "slow",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["N", 1])],
        [helper.make_tensor_value_info("score", TensorProto.DOUBLE, ["N", 1])],
        [zero, yes, width],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    ).SerializeToString()
    return packed(bytes(model), 3.0, 3.0, version=version)


def packed(model: bytes, golden: float, score: float, *, version: str) -> Bundle:
    """Pack *model*, with one golden row."""
    manifest = dataclasses.replace(
        toy_bundle().manifest, name="graph", version=version, columns=(X,), features=("x",)
    )
    rows = Golden(({"x": golden},), (score,))
    return pack(manifest, {"model.onnx": model, "golden.json": rows.to_bytes()})
