"""Models of several classes for tests: a softmax of the toy's columns, and one of a single number.

They are made by hand of the operators themselves, and proved by golden rows as any other bundle.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

from bundles import COLUMNS, golden_of, toy_bundle, toy_table
from mlembed.bundle import strictjson
from mlembed.bundle.bundle import pack
from mlembed.bundle.golden import Golden
from mlembed.bundle.manifest import Task
from mlembed.columns import Column
from mlembed.serving.encoder import Encoder
from mlembed.serving.session import Session
from mlembed.serving.tables import encode_columns
from mlembed.telemetry.classes import label_column
from mlembed.telemetry.profiles import reference_profile
from mlembed.training.lowering import Builder, serialize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.bundle.bundle import Bundle

CLASSES = ("tram", "bus", "walk")
_N_ROWS = 400


@functools.cache
def class_bundle(
    name: str = "toy",
    version: str = "1.0.0",
    *,
    classes: tuple[str, ...] = CLASSES,
    columns: tuple[Column, ...] = COLUMNS,
    abstain: tuple[float, float] | None = None,
    metric: str = "error",
    golden_error: float = 0.0,
    seed: int = 0,
) -> Bundle:
    """Pack a softmax of the toy's columns.

    Args:
        name: Name of the model.
        version: Its version.
        classes: The classes.
        columns: Columns of the row, vocabularies given.
        abstain: Band of the top probability without a label.
        metric: Name of the metric the reference promises.
        golden_error: Added to the last class's golden scores, for a bundle that must be refused.
        seed: Seed of the weights.
    """
    encoder = Encoder(f"{name}@{version}", columns)
    matrix, _ = encode_columns(encoder, toy_table(_N_ROWS, 0, columns))
    model = _softmax(matrix, len(classes), seed)
    session = Session(model)
    probabilities = session.run_matrix(matrix)
    codes = probabilities.argmax(axis=1)
    reference = reference_profile(
        (*columns, label_column(classes)),
        np.column_stack([matrix, codes]),
        probabilities.max(axis=1),
    )
    error = float(np.mean(codes != drawn(probabilities)))
    reference["metric"] = {"name": metric, "value": error}
    task = Task(kind="multiclass", label="mode", classes=classes, abstain=abstain)
    golden = golden_of(encoder, session)
    scores = tuple((*row[:-1], row[-1] + golden_error) for row in golden.scores)  # type: ignore[index]
    manifest = dataclasses.replace(
        toy_bundle().manifest,
        name=name,
        version=version,
        columns=columns,
        features=tuple(column.name for column in columns),
        transforms={},
        task=task,
        metrics={"error": error},
    )
    return pack(
        manifest,
        {
            "model.onnx": model,
            "golden.json": dataclasses.replace(golden, scores=scores).to_bytes(),
            "reference.json": strictjson.dumps(reference),
        },
    )


def drawn(probabilities: NDArray[np.float64], seed: int = 0) -> NDArray[np.intp]:
    """Return the places of true classes `(n,)`, drawn with *probabilities* `(n, n_classes)`."""
    random = np.random.default_rng(seed).random((len(probabilities), 1))
    found = (probabilities.cumsum(axis=1) < random).sum(axis=1)
    places: NDArray[np.intp] = np.minimum(found, probabilities.shape[1] - 1)
    return places


def root_bundle() -> Bundle:
    """Return a bundle of one number x: the probabilities are its root, twice, and the rest.

    The first two classes are equally probable, and for x below 0 there is no number.
    """
    builder = Builder(1)
    root = builder.node("Sqrt", "x")
    rest = builder.node("Sub", builder.constant([1.0]), builder.node("Add", root, root))
    model = serialize(builder.model(builder.node("Concat", root, root, rest, axis=1), "score", 3))
    task = Task(kind="multiclass", label="mode", classes=CLASSES)
    columns = (Column(name="x", kind="number"),)
    manifest = dataclasses.replace(
        toy_bundle().manifest, name="graph", columns=columns, features=("x",), task=task
    )
    rows = Golden(({"x": 0.25},), ((0.5, 0.5, 0.0),))
    return pack(manifest, {"model.onnx": model, "golden.json": rows.to_bytes()})


def _softmax(matrix: NDArray[np.float64], n_classes: int, seed: int) -> bytes:
    n_columns = matrix.shape[1]
    filled = np.nan_to_num(matrix)
    weights = np.random.default_rng(seed).normal(size=(n_columns, n_classes))
    builder = Builder(n_columns)
    present = builder.node("Where", builder.node("IsNaN", "x"), builder.constant([0.0]), "x")
    centred = builder.node("Sub", present, builder.constant(filled.mean(axis=0)))
    scaled = builder.node("Div", centred, builder.constant(filled.std(axis=0)))
    margins = builder.node("MatMul", scaled, builder.constant(weights))
    return serialize(builder.model(builder.node("Softmax", margins, axis=1), "score", n_classes))
