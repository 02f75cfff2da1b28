"""Bundles of one column and one operator, for graphs that fail in ways a trained one does not."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

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
    manifest = dataclasses.replace(
        toy_bundle().manifest, name="graph", version=version, columns=(X,), features=("x",)
    )
    rows = Golden(({"x": golden},), (score,))
    return pack(manifest, {"model.onnx": model, "golden.json": rows.to_bytes()})
