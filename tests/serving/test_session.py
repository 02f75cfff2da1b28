"""A session runs the graph that was packed, on buffers of each thread's own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper

from bundles import RECORD, toy_bundle, toy_table
from mlembed.bundle.bundle import pack
from mlembed.errors import BundleError, GoldenError
from mlembed.serving.loading import Served, Serving
from mlembed.serving.session import Session
from mlembed.serving.tables import encode_columns
from mlembed.settings import Settings
from serving.graphs import picking_bundle
from serving.rows import ENCODER, encode

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle

MODEL = toy_bundle().files["model.onnx"]


def bare_graph(kind: int, shape: list[str | int], outputs: list[str | int] | None = None) -> bytes:
    """Return a graph that gives its input back."""
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    results = [helper.make_tensor_value_info("score", kind, outputs or shape)]
    node = helper.make_node("Identity", ["x"], ["score"])
    graph = helper.make_graph([node], "bare", inputs, results)
    opsets = [helper.make_opsetid("", 21)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def served(bundle: Bundle) -> Served:
    """Bring *bundle* into service."""
    return Served(bundle, Serving(Settings()))


def test_row_gives_what_a_matrix_gives() -> None:
    """One bound row and a matrix of rows are the same computation."""
    session = Session(MODEL)
    matrix, _ = encode_columns(ENCODER, toy_table(50, seed=4))
    row = session.row()

    scores = []
    for cells in matrix:
        row.cells[:] = cells.tobytes()
        row.run()
        scores.append(row.scores[0])

    assert scores == pytest.approx(session.run_matrix(matrix).tolist(), rel=1e-12)


def test_threads_do_not_share_rows() -> None:
    """Rows of threads that score at once never mix."""
    live = served(toy_bundle())
    records = [RECORD | {"age": float(age)} for age in range(20, 28)]
    expected = [live.score(record) for record in records]
    seen: list[set[float]] = [set() for _ in records]

    def score(number: int) -> None:
        seen[number].update(live.score(records[number]) for _ in range(500))

    threads = [threading.Thread(target=score, args=(number,)) for number in range(len(records))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(expected)) == len(expected)
    assert seen == [{score} for score in expected]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (b"", "cannot load the model"),
        (b"not a model", "cannot load the model"),
        (MODEL[: len(MODEL) // 2], "cannot load the model"),
        (bare_graph(TensorProto.FLOAT, ["N", 1]), "one input, x: double"),
        (bare_graph(TensorProto.DOUBLE, ["N"]), "one input, x: double"),
        (bare_graph(TensorProto.DOUBLE, ["N", 1, 1]), "one input, x: double"),
        (bare_graph(TensorProto.DOUBLE, ["N", "width"]), "names the width"),
    ],
)
def test_session_refuses_what_it_cannot_serve(model: bytes, words: str) -> None:
    """Bytes that are no graph of doubles are refused when they are loaded."""
    with pytest.raises(BundleError, match=words):
        Session(model)


def test_session_with_two_outputs_gives_both() -> None:
    """A graph of two scores gives a row of two."""
    session = Session(bare_graph(TensorProto.DOUBLE, ["N", 2]))

    assert session.run_matrix(np.array([[1.0, 2.0]])).tolist() == [[1.0, 2.0]]
    assert session.n_outputs == 2


def test_served_refuses_a_graph_of_another_width() -> None:
    """The graph's width is the number of columns, and it gives one score."""
    narrow = picking_bundle()
    wide = {**narrow.files, "model.onnx": bare_graph(TensorProto.DOUBLE, ["N", 2])}

    with pytest.raises(BundleError, match=r"takes 2 columns and gives 2 scores; .* says 1 and 1"):
        served(pack(narrow.manifest, wide))


@pytest.mark.parametrize("error", [1e-6, -1e-6, 1.0])
def test_served_proves_itself_on_its_golden_rows(error: float) -> None:
    """A bundle that does not give its own scores does not serve."""
    with pytest.raises(GoldenError, match=r"toy@1\.0\.0 does not reproduce its golden rows"):
        served(toy_bundle(golden_error=error))


def test_served_names_a_graph_that_fails_on_its_golden_rows() -> None:
    """A graph that fails where it must not is refused as such."""
    with pytest.raises(GoldenError, match="the graph fails on a golden row"):
        served(picking_bundle(golden=5.0))


def test_served_made_again_gives_the_same_scores() -> None:
    """A version can be brought into service twice, each with a session of its own."""
    first = served(toy_bundle())
    second = first.again()

    assert second.session is not first.session
    assert (second.id, second.score(RECORD)) == (first.id, first.score(RECORD))
    assert len(encode(RECORD)) == first.session.n_columns
