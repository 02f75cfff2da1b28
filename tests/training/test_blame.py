"""A failed proof names the first node that is wrong, and nothing is published."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.neural_network import MLPClassifier

from mlembed.errors import ProofError
from mlembed.serving.session import Session
from mlembed.training import lowering
from mlembed.training.blame import all_tensors, find_blame, unrepeated
from mlembed.training.lowering import FeatureSpec
from mlembed.training.proving import prove_features
from mlembed.training.treewalk import walk
from training.census import COLUMNS, FEATURES, TRANSFORMS, Fitted, table
from training.lowering.agreement import features, labels
from visits import trainer, visits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering import Builder

pytestmark = pytest.mark.filterwarnings("ignore:.*converge.*")

NUMBERS = tuple(FeatureSpec(name) for name in ("age", "gain", "since"))


class Linkless(PoissonRegressor):  # type: ignore[misc]  # no types
    """Its lowering drops the exponential."""


class Swapped(HistGradientBoostingClassifier):  # type: ignore[misc]  # no types
    """Its lowering swaps the branches of one split."""


class Rounded(HistGradientBoostingClassifier):  # type: ignore[misc]  # no types
    """Its lowering rounds the row to float32."""


class Forgetful(HistGradientBoostingClassifier):  # type: ignore[misc]  # no types
    """Its lowering takes the missing for zeros."""


@lowering.register(Linkless)
def lower_linkless(estimator: Any, builder: Builder, x: str, _: Sequence[FeatureSpec]) -> str:
    """Give the sum where its exponential should be."""
    weights = builder.constant(estimator.coef_[:, np.newaxis])
    product = builder.node("MatMul", x, weights)
    builder.expect(product, "the product", lambda f: f @ estimator.coef_[:, np.newaxis])
    return builder.node("Add", product, builder.constant(estimator.intercept_))


def trees(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower as the parent class is lowered."""
    right = lowering.family_of(HistGradientBoostingClassifier())
    score = right.lower(estimator, builder, x, specs)
    builder.expect(
        builder.nodes[-1].input[0],
        "the sum of the leaves",
        lambda f: estimator.decision_function(f)[:, np.newaxis],
    )
    return score


@lowering.register(Swapped)
def lower_swapped(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Swap the branches of the last split, which is a root."""
    score = trees(estimator, builder, x, specs)
    node = next(node for node in builder.nodes if node.op_type == "TreeEnsemble")
    sides = {item.name: item.ints for item in node.attribute}
    for true, false in (
        ("nodes_truenodeids", "nodes_falsenodeids"),
        ("nodes_trueleafs", "nodes_falseleafs"),
    ):
        sides[true][-1], sides[false][-1] = sides[false][-1], sides[true][-1]
    return score


@lowering.register(Rounded, splits=lowering.family_of(HistGradientBoostingClassifier()).splits)
def lower_rounded(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Pass the row through floats, as graphs of 32 bits do."""
    floats = builder.node("Cast", x, to=TensorProto.FLOAT)
    doubles = builder.node("Cast", floats, to=TensorProto.DOUBLE)
    builder.expect(doubles, "the row", lambda f: f)
    return trees(estimator, builder, doubles, specs)


@lowering.register(Forgetful)
def lower_forgetful(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Put a zero where a value is missing."""
    filled = builder.node("Where", builder.node("IsNaN", x), builder.constant(0.0), x)
    builder.expect(filled, "the row", lambda f: f)
    return trees(estimator, builder, filled, specs)


def fitted(estimator: Any) -> Any:
    """Return *estimator* fitted on three numbers, some of them missing."""
    x, n_classes = features(0)[:, :3], 2
    if isinstance(estimator, Linkless):
        x, n_classes = standardised(x), 0
    return estimator.fit(x, labels(features(0), n_classes))


def standardised(x: Any) -> Any:
    """Return *x* with zero mean, unit variance and nothing missing."""
    return np.nan_to_num((x - np.nanmean(x, axis=0)) / np.nanstd(x, axis=0))


@pytest.mark.parametrize(
    ("estimator", "op", "what"),
    [
        (Linkless(), "Add", "should be the score of Linkless"),
        (Swapped(max_iter=3), "TreeEnsemble", "should be the sum of the leaves"),
        (Rounded(max_iter=3), "Cast", "should be the row, column age, gain, since"),
        (Forgetful(max_iter=3), "Where", "should be the row, column age, gain, since"),
    ],
    ids=["drops the link", "swaps a branch", "rounds to float32", "forgets NaN"],
)
def test_proof_names_the_node_that_is_wrong(estimator: Any, op: str, what: str) -> None:
    """A dropped link, a swapped branch, a forgotten NaN and a rounding are each found and named."""
    fit = fitted(estimator)
    x = features(1)[:, :3]
    groups = ("splits",) if op == "Cast" else ("recombined",)
    kind: Any = "binary"
    if op == "Add":
        x, kind = standardised(x), "regression"

    with pytest.raises(ProofError, match=rf"first node that differs is {op} node '\w+'") as caught:
        prove_features(
            fit, NUMBERS, x, kind=kind, splits=lowering.split_values(fit, NUMBERS), groups=groups
        )

    error = caught.value
    made_by = {n.output[0]: n.op_type for n in lowering.lower_estimator(fit, NUMBERS)[0].graph.node}
    assert made_by[error.node] == op
    assert error.what == what
    assert error.group == f"feature_{groups[0]}"
    assert 0 < len(error.rows) <= 10
    assert error.difference > 1e-9


@pytest.mark.parametrize("lost", [Swapped, Rounded, Forgetful])
def test_train_publishes_nothing_that_is_not_proved(lost: type) -> None:
    """The trainer stops at the proof; there is no bundle."""
    table = visits(400)
    # Only trees can tell the middle from both ends, so no linear model is chosen instead.
    table["ordered"] = np.where(np.abs(table["minutes"] - 30) < 12, "yes", "no").astype(object)

    with pytest.raises(ProofError, match="Nothing may be published"):
        trainer(candidates=[lost(max_iter=5)]).train(table)


def test_proof_error_survives_pickling() -> None:
    """What it names is still there in another process."""
    fit = fitted(Forgetful(max_iter=3))
    with pytest.raises(ProofError) as caught:
        prove_features(fit, NUMBERS, features(1)[:, :3], kind="binary", splits={})

    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  our own bytes

    assert (str(copy), copy.node, copy.rows) == (
        str(caught.value),
        caught.value.node,
        caught.value.rows,
    )


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingClassifier(max_iter=10),
        LogisticRegression(max_iter=200),
        MLPClassifier((4,), max_iter=20, early_stopping=True, random_state=0),
    ],
    ids=lambda case: type(case).__name__,
)
def test_blame_finds_nothing_in_a_right_graph(estimator: Any) -> None:
    """Neither witness names a node of a graph that is what it should be, NaN and codes included."""
    one = Fitted(estimator, kind="binary")
    x = table(9, 40)
    x[0], x[1, 6] = np.nan, 50.0

    _, checkpoints = lowering.trace(one.estimator, COLUMNS, TRANSFORMS, FEATURES)

    assert find_blame(one.model, x, checkpoints, Session(one.features_model).run_matrix) is None


def test_blame_names_a_node_that_the_runtime_computes_otherwise() -> None:
    """A node whose output another implementation does not repeat is named before the score is."""
    one = Fitted(LogisticRegression(max_iter=200), kind="binary")
    graph = onnx.load_from_string(one.model)
    tensors = all_tensors(graph, table(9, 20))
    assert unrepeated(graph, graph.graph.node, tensors) is None

    wrong = next(node for node in graph.graph.node if node.op_type == "Gemm").output[0]
    blame = unrepeated(graph, graph.graph.node, tensors | {wrong: tensors[wrong] + 1e-6})

    assert blame is not None
    assert (blame.node, blame.op) == (wrong, "Gemm")
    assert "the runtime gives another value than the ONNX standard" in str(blame)


def test_walk_is_the_runtimes_tree_operator() -> None:
    """The second opinion on trees agrees where the first is right: sets, NaN, infinite splits."""
    one = Fitted(HistGradientBoostingClassifier(max_iter=20), kind="binary")
    graph = onnx.load_from_string(one.model)
    node = next(node for node in graph.graph.node if node.op_type == "TreeEnsemble")
    x = table(9, 30)
    x[0], x[1, 6] = np.nan, 50.0
    tensors = all_tensors(graph, x)

    found = walk(node, tensors[node.input[0]])

    modes = next(item.t for item in node.attribute if item.name == "nodes_modes")
    assert {0, 6} <= set(numpy_helper.to_array(modes).tolist())
    assert np.abs(found - tensors[node.output[0]]).max() < 1e-13
