"""A fitted estimator is proved from raw rows and from its own features, before it is published."""

from __future__ import annotations

import functools
import importlib.metadata
import json
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlembed.columns import Column
from mlembed.errors import ProofError
from mlembed.training import lowering
from mlembed.training.difference import errors, labels
from mlembed.training.probes import N_HELDOUT
from mlembed.training.proof import Proof, prove
from mlembed.training.proving import prove_estimator
from training.census import COLUMNS, FEATURES, TRANSFORMS, Fitted, table

HELDOUT = table(1_000, 300)


@functools.cache
def fitted(name: str) -> Any:
    """Return an estimator of census, fitted once."""
    trees = HistGradientBoostingClassifier(max_iter=15)
    estimators = {
        "trees": trees,
        "linear": LogisticRegression(max_iter=300),
        "calibrated": CalibratedClassifierCV(trees, method="isotonic", cv=3),
        "amounts": HistGradientBoostingRegressor(max_iter=15, loss="poisson"),
    }
    return Fitted(estimators[name], kind="regression" if name == "amounts" else "binary")


def proven(name: str, **options: Any) -> Proof:
    """Return the proof of the estimator called *name*."""
    kind: Any = "regression" if name == "amounts" else "binary"
    x = options.pop("x", HELDOUT)
    return prove_estimator(
        fitted(name).estimator, COLUMNS, TRANSFORMS, FEATURES, x, kind=kind, seed=3, **options
    )


@pytest.mark.parametrize("name", ["trees", "linear", "calibrated", "amounts"])
def test_prove_estimator_passes_on_rows_and_on_features(name: str) -> None:
    """Every kind of rows is compared, those that only the estimator's own matrix can hold too."""
    proof = proven(name, threshold=None if name == "amounts" else 0.5)

    names = {group.name for group in proof.groups}
    assert proof.passed
    assert proof.max_abs_error < 1e-11
    assert names >= {"heldout", "missing", "all_missing", "bounds", "codes", "ids", "times"}
    assert names >= {
        "extremes",
        "random",
        "recombined",
        "feature_recombined",
        "foreign_all_missing",
    }
    assert ("feature_splits" in names) is (name != "linear")


def test_prove_estimator_describes_graph_and_libraries() -> None:
    """The proof says how many nodes there are, of which kinds, and under which versions."""
    data = json.loads(json.dumps(proven("trees", threshold=0.5).to_json()))

    assert data["n_nodes"] == sum(data["ops"].values()) >= data["ops"]["TreeEnsemble"] >= 1
    assert data["versions"]["onnxruntime"] == importlib.metadata.version("onnxruntime")
    assert {"protobuf", "scipy", "scikit-learn", "numpy", "onnx"} == set(data["versions"]) - {
        "onnxruntime"
    }
    assert data["tolerance"] == 1e-9
    assert data["tolerance_reason"] == ""
    assert data["passed"] is True
    assert set(data["groups"]["feature_splits"]) == {
        "n_rows",
        "max_abs_error",
        "label_disagreements",
        "threshold_ties",
        "not_numbers",
        "refused",
    }


def test_prove_estimator_probes_thresholds_of_computed_features() -> None:
    """A threshold on a transform moved by one double is found, which no raw row could show."""
    one = fitted("trees")
    right = lowering.family_of(one.estimator)
    splits = lowering.split_values(one.estimator, one.specs)["log_gain"]

    class Moved(type(one.estimator)):  # type: ignore[misc]  # no types
        """The same trees under a class whose lowering moves thresholds of `log_gain`."""

    def lower_moved(estimator: Any, builder: Any, x: str, specs: Any) -> str:
        column = [spec.name for spec in specs].index("log_gain")
        step = np.zeros(len(specs))
        step[column] = np.nextafter(splits[0], np.inf) - splits[0]
        moved = builder.node("Sub", x, builder.constant(step))
        return right.lower(estimator, builder, moved, specs)

    lowering.register(Moved, splits=right.splits)(lower_moved)
    moved = Moved(**one.estimator.get_params())
    moved.__dict__.update(one.estimator.__dict__)

    with pytest.raises(ProofError, match=r"of group 'feature_splits'.*they vary log_gain"):
        prove_estimator(moved, COLUMNS, TRANSFORMS, FEATURES, HELDOUT, kind="binary", threshold=0.5)


def test_prove_estimator_takes_a_multiclass() -> None:
    """Probabilities of several classes are compared one by one; labels are the likeliest."""
    columns = tuple(Column(name=name, kind="number", nullable=True) for name in "ab")
    x = np.random.default_rng(0).normal(size=(400, 2))
    y = np.digitize(x[:, 0] + x[:, 1] ** 2, [0.5, 1.5])
    specs = lowering.feature_specs(columns, {}, "ab")
    trees = lowering.prepare(HistGradientBoostingClassifier(max_iter=5), specs).fit(x, y)

    proof = prove_estimator(trees, columns, {}, "ab", x, kind="multiclass")

    assert proof.passed
    found = [group.name for group in proof.groups if group.name.startswith("feature_")]
    assert found == ["feature_branches", "feature_branches_missing"]
    assert proof.to_json()["label_disagreements"] == 0


def test_prove_compares_at_most_ten_thousand_held_out_rows_and_says_so() -> None:
    """Very many held-out rows are compared in part; the proof tells how many there were."""
    x = np.repeat(HELDOUT, 50, axis=0)

    proof = proven("linear", x=x)

    assert proof.to_json()["n_heldout"] == len(x) == 15_000
    assert proof.groups[0].n_rows == N_HELDOUT


def test_prove_counts_rows_where_both_sides_give_no_number() -> None:
    """NaN agrees with NaN and with nothing else; how often is on record."""
    columns = (Column(name="a", kind="number", nullable=True),)
    builder = lowering.Builder(1)
    model = lowering.serialize(builder.model(builder.node("Sqrt", "x"), "score", 1))
    x = np.linspace(1.0, 2.0, 20)[:, np.newaxis]

    proof = prove(model, lambda rows: np.sqrt(rows[:, 0]), x, columns, kind="regression")

    found = {group.name: group.not_numbers for group in proof.groups}
    assert found["all_missing"] == 1
    assert found["heldout"] == 0
    with pytest.raises(ProofError, match="of group 'missing'"):
        prove(model, lambda r: np.sqrt(np.nan_to_num(r[:, 0])), x, columns, kind="regression")


def test_errors_are_infinite_for_a_score_of_another_shape() -> None:
    """A graph with too few classes is as wrong as can be."""
    found = errors(np.zeros(3), np.zeros((3, 2)), relative=False)

    assert found.tolist() == [np.inf] * 3


def test_labels_of_several_classes_differ_only_where_two_tie() -> None:
    """The likeliest class may differ by rounding where two are equal; such rows are ties."""
    theirs = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    ours = theirs + np.array([[-1e-12, 1e-12, 0.0], [0.0, 0.0, 0.0]])

    apart, ties = labels(ours, theirs, None, 1e-9)

    assert apart.tolist() == [True, False]
    assert ties.tolist() == [True, False]


def test_protobuf_7_is_installed_and_no_graph_holds_a_truth_value() -> None:
    """Attributes are numbers: since 7.34 protobuf refuses True where an integer belongs."""
    version = tuple(map(int, importlib.metadata.version("protobuf").split(".")[:2]))
    graphs = [onnx.load_from_string(fitted(name).model) for name in ("trees", "calibrated")]

    assert version >= (7, 34)
    with pytest.raises(TypeError):
        AttributeProto(name="nodes_missing_value_tracks_true", ints=[True, False])
    for graph in graphs:
        onnx.checker.check_model(graph)
        ops = {node.op_type for node in graph.graph.node}
        assert "TreeEnsemble" in ops
    assert proven("trees").passed


@pytest.mark.parametrize("nullable", [True, False])
def test_prove_estimator_asks_for_what_a_host_can_send(nullable: bool) -> None:  # noqa: FBT001
    """An estimator may refuse the missing where no record may lack them, and nowhere else."""
    columns = tuple(Column(name=name, kind="number", nullable=nullable) for name in "ab")
    x = np.random.default_rng(0).normal(size=(300, 2))
    specs = lowering.feature_specs(columns, {}, "ab")
    estimator = make_pipeline(StandardScaler(), LogisticRegression())
    scaled = lowering.prepare(estimator, specs).fit(x, (x.sum(axis=1) > 0).astype(int))
    arguments: Any = (scaled, columns, {}, "ab", x)

    if nullable:
        with pytest.raises(ProofError, match="proof stopped in group 'missing'"):
            prove_estimator(*arguments, kind="binary")
        return
    proof = prove_estimator(*arguments, kind="binary")

    groups = {group.name: group for group in proof.groups}
    assert proof.passed
    assert (groups["foreign_all_missing"].n_rows, groups["foreign_all_missing"].refused) == (0, 1)
    assert proof.to_json()["refused"] == sum(group.refused for group in proof.groups) > 1
    assert not any(group.refused for name, group in groups.items() if "foreign" not in name)


def test_prove_estimator_takes_anomalies() -> None:
    """An outlier detector's score is high for anomalies, not the label it predicts."""
    one = Fitted(IsolationForest(n_estimators=10, random_state=0), kind="binary")

    proof = prove_estimator(
        one.estimator, COLUMNS, TRANSFORMS, FEATURES, HELDOUT, kind="regression"
    )

    assert proof.max_abs_error < 1e-11


def test_prove_estimator_says_why_it_allows_more() -> None:
    """A library that computes in floats is held to their precision, and named."""
    xgboost = pytest.importorskip("xgboost")
    one = Fitted(xgboost.XGBClassifier(n_estimators=10), kind="binary")

    data = prove_estimator(
        one.estimator, COLUMNS, TRANSFORMS, FEATURES, HELDOUT, kind="binary"
    ).to_json()

    assert data["tolerance"] == 1e-6
    assert "XGBClassifier computes in float32" in data["tolerance_reason"]
    assert data["versions"]["xgboost"] == importlib.metadata.version("xgboost")
