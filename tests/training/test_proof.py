"""A proof passes for the graph of its estimator, and for no other graph."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge

from mlembed.errors import ProofError
from mlembed.serving.session import Session
from mlembed.training import lowering
from mlembed.training.proof import Proof, estimator_scores, prove
from processes import run_script
from training.census import COLUMNS, NAMES, Fitted, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx import ModelProto

STUMPS = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=2, min_samples_leaf=5)
HELDOUT = table(1_000, 300)


@functools.cache
def fitted(name: str) -> Fitted:
    """Return an estimator and its graphs, fitted once."""
    estimators = {
        "stumps": STUMPS,
        "trees": HistGradientBoostingClassifier(max_iter=10),
        "linear": LogisticRegression(max_iter=300),
        "ridge": Ridge(),
        "boosted": HistGradientBoostingRegressor(max_iter=10),
    }
    kind = "regression" if name in ("ridge", "boosted") else "binary"
    return Fitted(estimators[name], kind=kind)


def proven(name: str, model: bytes | None = None, **options: Any) -> Proof:
    """Prove *model*, by default the right one, against the estimator called *name*."""
    one = fitted(name)
    arguments: dict[str, Any] = {
        "kind": "regression" if name in ("ridge", "boosted") else "binary",
        "splits": lowering.split_values(one.estimator, one.specs),
        "threshold": 0.5,
        "seed": 3,
        **options,
    }
    return prove(
        one.model if model is None else model,
        estimator_scores(one.estimator, one.features_model),
        arguments.pop("x", HELDOUT),
        COLUMNS,
        **arguments,
    )


def altered(name: str, change: Callable[[ModelProto], None]) -> bytes:
    """Return the graph of *name* after *change*."""
    model = onnx.load_from_string(fitted(name).model)
    change(model)
    return bytes(model.SerializeToString())


def trees_of(model: ModelProto) -> dict[str, Any]:
    """Return the attributes of the last tree operator of *model*."""
    node = [node for node in model.graph.node if node.op_type == "TreeEnsemble"][-1]
    return {attribute.name: attribute for attribute in node.attribute}


def move_split(number: int, model: ModelProto) -> None:
    """Move one threshold to the next double."""
    attribute = trees_of(model)["nodes_splits"]
    splits = numpy_helper.to_array(attribute.t).copy()
    splits[number] = np.nextafter(splits[number], np.inf)
    attribute.t.CopyFrom(numpy_helper.from_array(splits))


def move_leaf(model: ModelProto) -> None:
    """Move one leaf by a millionth."""
    attribute = trees_of(model)["leaf_weights"]
    weights = numpy_helper.to_array(attribute.t).copy()
    weights[0] += 1e-6
    attribute.t.CopyFrom(numpy_helper.from_array(weights))


def flip_missing(model: ModelProto) -> None:
    """Send missing values the other way at every split."""
    attribute = trees_of(model)["nodes_missing_value_tracks_true"]
    attribute.ints[:] = [1 - value for value in attribute.ints]


def round_input(model: ModelProto) -> None:
    """Round the row to floats, as graphs of 32 bits do."""
    for node in model.graph.node:
        node.input[:] = ["rounded" if name == "x" else name for name in node.input]
    down = helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT)
    up = helper.make_node("Cast", ["float"], ["rounded"], to=TensorProto.DOUBLE)
    model.graph.node.insert(0, up)
    model.graph.node.insert(0, down)


def rare_as_first(model: ModelProto) -> None:
    """Read the rare bucket of `job` as its first value."""
    position = NAMES.index("job")
    for node in model.graph.node:
        node.input[:] = ["mapped" if name == "x" else name for name in node.input]
    codes = np.full(len(NAMES), -1.0)
    codes[position] = float(COLUMNS[position].n_codes - 1)
    model.graph.initializer.append(numpy_helper.from_array(codes, "rare codes"))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1), "first code"))
    same = helper.make_node("Equal", ["x", "rare codes"], ["is rare"])
    put = helper.make_node("Where", ["is rare", "first code", "x"], ["mapped"])
    model.graph.node.insert(0, put)
    model.graph.node.insert(0, same)


def move_coefficient(model: ModelProto) -> None:
    """Move the coefficient of the first number by a millionth."""
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    tensor = next(item for item in model.graph.initializer if item.name == gemm.input[1])
    weights = numpy_helper.to_array(tensor).copy()
    weights[0, 0] += 1e-6
    tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))


@pytest.mark.parametrize("name", ["stumps", "trees", "linear", "ridge", "boosted"])
def test_prove_passes_for_the_right_graph(name: str) -> None:
    """Graph and estimator agree on every group, far below the tolerance."""
    proof = proven(name)

    assert proof.passed
    assert proof.max_abs_error < proof.tolerance / 100
    assert {group.name for group in proof.groups} >= {
        "heldout",
        "missing",
        "codes",
        "ids",
        "random",
    }
    assert proof.n_rows == sum(group.n_rows for group in proof.groups) > 2_500


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("trees", move_leaf),
        ("boosted", move_leaf),
        ("trees", flip_missing),
        ("trees", round_input),
        ("linear", round_input),
        ("trees", rare_as_first),
        ("linear", rare_as_first),
        ("linear", move_coefficient),
        ("ridge", move_coefficient),
    ],
    ids=lambda case: getattr(case, "__name__", case),
)
def test_prove_fails_for_another_graph(name: str, change: Callable[[ModelProto], None]) -> None:
    """A coefficient, a leaf, a code, a rounding or a missing value that differs is found."""
    with pytest.raises(
        ProofError, match=r"differ on \d+ of \d+ rows of group '\w+', by up to .*ro"
    ):
        proven(name, altered(name, change))


def test_prove_finds_every_split_that_moved_by_one_double() -> None:
    """Each threshold is probed on both sides, so not even the next double passes for it."""
    one = fitted("stumps")
    attributes = trees_of(onnx.load_from_string(one.model))
    modes = numpy_helper.to_array(attributes["nodes_modes"].t)
    splits = [int(i) for i in np.flatnonzero(modes == 0)]  # the others are sets of categories
    names = [one.specs[i].name for i in attributes["nodes_featureids"].ints]
    raw = [i for i in splits if names[i] in NAMES]
    assert len(raw) > 5

    for number in raw[::3]:
        model = altered("stumps", functools.partial(move_split, number))
        with pytest.raises(ProofError, match="of group 'splits'"):
            proven("stumps", model, x=HELDOUT[:20])


def test_prove_names_the_group_and_rows() -> None:
    """The message says where the two differ: the first ten rows, how many and by how much."""
    x = np.nan_to_num(table(5, 50), nan=1.0)
    x[:, NAMES.index("empty")] = np.nan

    with pytest.raises(ProofError) as caught:
        proven("trees", altered("trees", flip_missing), x=x)

    text = str(caught.value)
    assert "rows of group 'missing', by up to" in text
    assert "where 1e-09 is allowed; rows " in text
    assert "Nothing may be published" in text


def test_prove_names_ten_rows_at_most() -> None:
    """However many rows differ, the message stays short."""
    with pytest.raises(ProofError, match=r"; rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\.\. "):
        proven("linear", altered("linear", move_coefficient))


@pytest.mark.parametrize("failing", ["nan", "error"])
def test_prove_fails_where_a_side_fails(failing: str) -> None:
    """An estimator that raises or gives no number has nothing to agree with."""
    one = fitted("linear")

    def predict(x: Any) -> Any:
        if failing == "error":
            raise ValueError("secret")
        return np.full(len(x), np.nan)

    with pytest.raises(ProofError, match="group 'heldout'") as caught:
        prove(one.model, predict, HELDOUT, COLUMNS, kind="binary")

    assert "secret" not in str(caught.value)


def test_prove_takes_a_tolerance() -> None:
    """What differs by less than the tolerance passes, and its size is on record."""
    proof = proven("linear", altered("linear", move_coefficient), tolerance=1e-3)

    assert proof.passed
    assert 1e-9 < proof.max_abs_error < 1e-3


def test_prove_compares_regressions_relatively() -> None:
    """A score of a million may differ by a millionth; one of a tenth may not by so much."""
    session_scores = Session(fitted("ridge").model).run_matrix(HELDOUT)

    def predict(factor: float) -> Callable[[Any], Any]:
        return lambda x: Session(fitted("ridge").model).run_matrix(x) * factor

    assert np.abs(session_scores).max() > 0
    assert prove(fitted("ridge").model, predict(1 + 1e-10), HELDOUT, COLUMNS, kind="regression")
    with pytest.raises(ProofError):
        prove(fitted("ridge").model, predict(1 + 1e-7), HELDOUT, COLUMNS, kind="regression")


def test_prove_counts_labels() -> None:
    """Labels that differ and scores at the threshold are counted, group by group."""
    one = fitted("linear")
    scores = Session(one.model).run_matrix(HELDOUT)
    proof = proven("linear", threshold=float(scores[0]))

    data = json.loads(json.dumps(proof.to_json()))
    assert data["passed"] is True
    assert data["groups"]["heldout"]["threshold_ties"] >= 1
    assert data["label_disagreements"] == sum(
        group["label_disagreements"] for group in data["groups"].values()
    )


def test_proof_is_the_same_in_every_process() -> None:
    """A proof can be repeated: rows, errors and counts depend on the seed alone."""
    script = """
    import hashlib, json, warnings
    warnings.simplefilter("ignore")
    from training.test_proof import proven
    print(hashlib.sha256(json.dumps(proven("linear").to_json()).encode()).hexdigest())
    """

    theirs = run_script(script, environment={"PYTHONHASHSEED": "1"}).strip()

    ours = hashlib.sha256(json.dumps(proven("linear").to_json()).encode()).hexdigest()
    assert theirs == ours
    assert proven("linear") == proven("linear")
