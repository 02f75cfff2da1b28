"""Trees behind a logarithm see each row on the side of a split where scikit-learn sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)

from mlembed.training import lowering
from mlembed.training.lowering import FeatureSpec
from mlembed.training.lowering.cuts import cuts
from training.lowering.agreement import estimator_scores, graph_scores
from training.lowering.transforming import distance

SPECS = (FeatureSpec("age"), FeatureSpec("gain"), FeatureSpec("many"))
BOOSTING = HistGradientBoostingClassifier(max_iter=20)
NORMAL = QuantileTransformer(n_quantiles=40, output_distribution="normal")


def rows(seed: int, n: int = 600) -> Any:
    """Return positive rows of which each value is shared by many, some of it missing."""
    random = np.random.default_rng(seed)
    x = np.column_stack(
        [
            np.clip(random.uniform(10, 90, n), 18, 67),
            random.lognormal(4, 2, n).round() + 1,
            random.integers(1, 40, n) / 7,
        ]
    )
    x[random.random(x.shape) < 0.1] = np.nan
    return x


def target(x: Any) -> Any:
    """Return classes every column has a say in."""
    filled = np.nan_to_num(x)
    return ((filled[:, 0] > 40) ^ (filled[:, 1] > 60) ^ (filled[:, 2] > 3)).astype(int)


CANDIDATES = [
    make_pipeline(PowerTransformer(), BOOSTING),
    make_pipeline(PowerTransformer("box-cox"), StandardScaler(), BOOSTING),
    make_pipeline(FunctionTransformer(np.log1p), BOOSTING),
    make_pipeline(SimpleImputer(), FunctionTransformer(np.log1p), make_pipeline(NORMAL, BOOSTING)),
    make_pipeline(MinMaxScaler(), FunctionTransformer(np.expm1), BOOSTING),
    make_pipeline(SimpleImputer(), PowerTransformer(), RandomForestClassifier(10, random_state=0)),
    make_pipeline(
        ColumnTransformer([("a", PowerTransformer(), ["gain", "age"])], remainder="passthrough"),
        CalibratedClassifierCV(BOOSTING, cv=3),
    ),
    CalibratedClassifierCV(make_pipeline(PowerTransformer(), BOOSTING), cv=3),
    make_pipeline(
        PowerTransformer(),
        VotingClassifier(
            [("a", BOOSTING), ("b", FixedThresholdClassifier(BOOSTING))], voting="soft"
        ),
    ),
]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("number", range(len(CANDIDATES)))
def test_trees_behind_a_logarithm_agree(number: int, seed: int) -> None:
    """Values that a split stands on, which boosting takes from the training rows, go its way."""
    x = rows(seed)
    fitted = lowering.prepare(CANDIDATES[number], SPECS).fit(x, target(x))
    splits = lowering.split_values(fitted, SPECS)
    probes = [x, rows(seed + 10)]
    for position, spec in enumerate(SPECS):
        for move in (-np.inf, 0.0, np.inf):
            values = np.array([value for value in splits.get(spec.name, ()) if value > 0])
            block = np.repeat(x[:1], len(values), axis=0)
            block[:, position] = np.nextafter(values, move) if move else values
            probes.append(block)
    new = np.vstack(probes)
    new = new[~(new <= 0).any(axis=1)]

    assert distance(graph_scores(fitted, new, SPECS), estimator_scores(fitted, new)) <= 1e-12


def test_trees_behind_exact_steps_are_left_alone() -> None:
    """Where the graph repeats every bit, nothing is looked up, and a sum reads numbers."""
    x = np.nan_to_num(rows(0), nan=1.0)
    for candidate in (
        make_pipeline(StandardScaler(), BOOSTING),
        make_pipeline(PowerTransformer(), LogisticRegression()),
    ):
        fitted = lowering.prepare(candidate, SPECS).fit(x, target(x))
        graph = lowering.lower_estimator(fitted, SPECS)[0].graph
        trees = [node for node in graph.node if node.op_type == "TreeEnsemble"]

        assert len(trees) == (candidate[-1] is BOOSTING)


def test_cuts_are_exact() -> None:
    """A cut is the last double on its side, of either sign, and for a float32 as well."""
    levels = np.array([-2.5, 0.0, 1.0, 3.0])

    found = cuts(lambda values: values / 3, levels)

    for level in levels:
        assert level in (found / 3)
    assert ((found / 3) <= 3.0 * (1 + 1e-6)).all()
    assert np.array_equal(found, np.unique(found))
    start = cuts(np.log1p, np.array([0.0]))[0]
    assert start == np.nextafter(-1.0, -np.inf)


def test_cuts_of_what_takes_no_number() -> None:
    """A function that refuses everything has no cuts, and says so."""

    def refuse(values: Any) -> Any:
        raise ValueError(len(values))

    with pytest.raises(ValueError, match="5"):
        cuts(refuse, np.array([1.0]))
