"""Rows are led to each split of a graph's trees, so that nothing behind another split hides."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestRegressor,
)

from mlembed.errors import ProofError
from mlembed.training import lowering
from mlembed.training.branches import N_SPLITS, branch_probes
from mlembed.training.proof import compare, estimator_scores
from training.lowering.agreement import SPECS, features, fit

X = features(4)
ESTIMATORS = {
    "boosting": HistGradientBoostingClassifier(max_iter=4, min_samples_leaf=5),
    "forest": RandomForestRegressor(2, max_depth=6, random_state=0),
    "gradient": GradientBoostingRegressor(n_estimators=4, max_depth=5, random_state=0),
    "many": RandomForestRegressor(30, random_state=0),
}


@functools.cache
def fitted(name: str) -> Any:
    """Return an estimator fitted on numbers and codes, some of them missing, and its graph."""
    estimator = fit(ESTIMATORS[name], 2 if name == "boosting" else 0)
    return estimator, lowering.lower_estimator(estimator, SPECS)[0]


def passes(name: str, graph: onnx.ModelProto) -> bool:
    """Tell whether *graph* stands for the estimator called *name* on the rows of its branches."""
    try:
        compare(
            graph.SerializeToString(),
            estimator_scores(fitted(name)[0], None),
            branch_probes(graph, X, {3}),
            names=[spec.name for spec in SPECS],
            kind="regression",
            threshold=None,
            tolerance=1e-12,
        )
    except ProofError:
        return False
    return True


def trees_of(graph: onnx.ModelProto) -> dict[str, Any]:
    """Return the attributes of the tree operator."""
    node = next(node for node in graph.graph.node if node.op_type == "TreeEnsemble")
    return {attribute.name: attribute for attribute in node.attribute}


def altered(graph: onnx.ModelProto, number: int, what: str) -> onnx.ModelProto:
    """Return a copy with one threshold moved to the next double, or one missing branch turned."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    trees = trees_of(copy)
    if what == "missing":
        tracks = trees["nodes_missing_value_tracks_true"].ints
        tracks[number] = 1 - tracks[number]
        return copy
    splits = numpy_helper.to_array(trees["nodes_splits"].t).copy()
    splits[number] = np.nextafter(splits[number], splits.dtype.type(np.inf))
    trees["nodes_splits"].t.CopyFrom(numpy_helper.from_array(splits))
    return copy


def takes_missing(trees: dict[str, Any], number: int) -> bool:
    """Tell whether a missing value of its feature reaches a split, past those on the same one."""
    feature, below = trees["nodes_featureids"].ints[number], number
    for above in range(number + 1, len(trees["nodes_modes"].t.raw_data)):  # children come first
        for side, word in ((True, "true"), (False, "false")):
            child = trees[f"nodes_{word}nodeids"].ints[above]
            if child == below and not trees[f"nodes_{word}leafs"].ints[above]:
                tracks = bool(trees["nodes_missing_value_tracks_true"].ints[above])
                if trees["nodes_featureids"].ints[above] == feature and tracks != side:
                    return False
                below = above
    return True


@pytest.mark.parametrize("name", ["boosting", "forest", "gradient", "many"])
def test_branches_pass_for_the_right_graph(name: str) -> None:
    """Where the trees are the estimator's, both sides agree at every split."""
    assert passes(name, fitted(name)[1])


@pytest.mark.parametrize(
    ("name", "what"), [("boosting", "split"), ("boosting", "missing"), ("gradient", "split")]
)
def test_branches_find_every_split_that_is_wrong(name: str, what: str) -> None:
    """However deep it lies, a threshold moved by one double or a turned branch is found."""
    graph = fitted(name)[1]
    trees = trees_of(graph)
    modes = numpy_helper.to_array(trees["nodes_modes"].t)
    thresholds = numpy_helper.to_array(trees["nodes_splits"].t)
    numbers = [int(n) for n in np.flatnonzero((modes != 6) & np.isfinite(thresholds))]
    if what == "missing":
        numbers = [number for number in numbers if takes_missing(trees, number)]
    assert len(numbers) > 40

    assert [n for n in numbers[::5] if passes(name, altered(graph, n, what))] == []


def test_branches_are_spaced_over_very_many_splits() -> None:
    """Of a forest's splits a fixed number is tried, from the first trees and from the last."""
    (probe,) = branch_probes(fitted("many")[1], X)
    modes = numpy_helper.to_array(trees_of(fitted("many")[1])["nodes_modes"].t)

    assert len(modes) > N_SPLITS
    assert N_SPLITS < len(probe) <= 6 * N_SPLITS


def test_branches_keep_codes_whole() -> None:
    """Between two codes there is none: a category is led to codes alone, or is missing."""
    (probe,) = branch_probes(fitted("many")[1], X, {3})

    jobs = np.concatenate([block[:, 3] for block in probe.blocks()])

    found = jobs[~np.isnan(jobs)]
    assert np.array_equal(found, np.floor(found))
    assert {0.0, 1.0, 2.0, 3.0, 4.0} <= set(found.tolist())
    assert found.min() >= 0.0


def test_branches_tell_apart_the_missing_that_no_row_has() -> None:
    """A missing value is foreign where no usual row has one; there an estimator may refuse it."""
    filled = np.nan_to_num(X)

    usual, foreign = branch_probes(fitted("boosting")[1], filled, {3})

    assert not usual.is_foreign
    assert foreign.is_foreign
    assert not any(np.isnan(block).any() for block in usual.blocks())
    assert all(np.isnan(block).any(axis=1).all() for block in foreign.blocks())


def test_branches_of_what_has_no_trees() -> None:
    """A graph without trees has no branches to try."""
    builder = lowering.Builder(2)
    graph = builder.model(builder.node("Gemm", "x", builder.constant([[1.0], [2.0]])), "score", 1)

    assert branch_probes(graph, X[:, :2]) == []
