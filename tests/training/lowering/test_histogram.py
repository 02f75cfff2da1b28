"""Histogram gradient boosting scores like its graph, whatever the loss, classes and columns."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from mlembed.errors import LoweringError
from mlembed.training import lowering
from mlembed.training.lowering import FeatureSpec
from training.lowering.hardships import (
    SPECS,
    WHOLE,
    decisions,
    differ,
    error,
    fit,
    graph_scores,
    own_scores,
    table,
    target,
)

SETTINGS: list[dict[str, Any]] = [
    {},
    {"early_stopping": True, "random_state": 0},
    {"monotonic_cst": {"age": 1, "id31": -1}},
    {"interaction_cst": "no_interactions", "max_features": 0.5, "random_state": 0},
    {"max_leaf_nodes": None, "min_samples_leaf": 1, "max_bins": 100},
    {"min_samples_leaf": 10_000},
]
# scikit-learn takes monotonic constraints for two classes only.
CASES = [("binary", settings) for settings in SETTINGS] + [
    ("multiclass", settings) for settings in SETTINGS if "monotonic_cst" not in settings
]
LOSSES: list[dict[str, Any]] = [
    {"loss": "squared_error"},
    {"loss": "absolute_error"},
    {"loss": "quantile", "quantile": 0.9},
    {"loss": "poisson"},
    {"loss": "gamma"},
]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("kind", "settings"), CASES, ids=str)
def test_histogram_keeps_probabilities(kind: str, settings: dict[str, Any], seed: int) -> None:
    """A classifier's graph gives its probabilities and its decision function."""
    fitted = fit(HistGradientBoostingClassifier(max_iter=8, **settings), kind, seed, WHOLE)
    x = table(seed + 2_000)

    assert differ(fitted, seed, WHOLE) <= 1e-9
    decided = np.reshape(fitted.decision_function(x), (len(x), -1))
    assert error(decisions(fitted, WHOLE, x), decided) <= 1e-9


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_histogram_keeps_predictions(
    settings: dict[str, Any], loss: dict[str, Any], seed: int
) -> None:
    """A regressor's graph gives its predictions, whatever the loss and its link."""
    estimator = HistGradientBoostingRegressor(max_iter=8, **settings, **loss)

    assert differ(fit(estimator, "regression", seed, WHOLE), seed, WHOLE) <= 1e-9


def test_histogram_takes_infinities() -> None:
    """An infinite value takes the branch that the estimator sends it along."""
    fitted = fit(HistGradientBoostingClassifier(max_iter=8), "binary", 0)
    x = table(1)[:, : len(SPECS)]
    x[::2, :9] = np.inf
    x[1::3, :9] = -np.inf

    assert differ(fitted, 0, x=x) <= 1e-9


def test_histogram_weighs_rows() -> None:
    """Weights of the rows, and labels that are texts, change the trees and nothing else."""
    x = table(0)
    y = np.array(["no", "perhaps", "yes", "sure"])[target(x, 0, "multiclass")]
    weights = np.random.default_rng(0).uniform(0, 2, len(x))
    estimator = lowering.prepare(HistGradientBoostingClassifier(max_iter=10), WHOLE)

    assert differ(estimator.fit(x, y, sample_weight=weights), 0, WHOLE) <= 1e-9


def test_histogram_grows_large_trees() -> None:
    """A tree of 2,000 leaves keeps each of them."""
    x = table(0, 8_000)
    estimator = HistGradientBoostingRegressor(
        max_iter=2, max_leaf_nodes=2_000, min_samples_leaf=1, learning_rate=1.0
    )
    fitted = lowering.prepare(estimator, WHOLE).fit(x, np.random.default_rng(0).normal(size=8_000))

    assert max(tree.get_n_leaf_nodes() for (tree,) in fitted._predictors) == 2_000
    assert differ(fitted, 0, WHOLE) <= 1e-9


@pytest.mark.parametrize("column", [0, 8, 10])
def test_histogram_takes_one_feature_and_one_row(column: int) -> None:
    """One feature is enough, be it missing throughout, and so is one row."""
    x, spec = table(0), SPECS[column]
    estimator = lowering.prepare(HistGradientBoostingClassifier(max_iter=5), (spec,))
    fitted = estimator.fit(x[:, [column]], target(x, 0, "binary"))

    for rows in (x[:1, [column]], x[:, [column]]):
        assert error(graph_scores(fitted, (spec,), rows), own_scores(fitted, rows)) <= 1e-9


@pytest.mark.parametrize(
    "estimator",
    [HistGradientBoostingClassifier(max_iter=5), HistGradientBoostingRegressor(max_iter=5)],
    ids=str,
)
def test_histogram_fits_around_empty_columns(estimator: Any) -> None:
    """A column that is missing throughout leaves the trees as they are without it."""
    x = table(0)[:, :9]
    y = target(table(0), 0, "binary")
    kept = [i for i in range(9) if i != 8]
    whole = lowering.prepare(estimator, SPECS[:9]).fit(x, y)

    without = lowering.prepare(estimator, [SPECS[i] for i in kept]).fit(x[:, kept], y)

    assert error(own_scores(whole, x), own_scores(without, x[:, kept])) == 0
    x[:, 8] = 5.0
    assert error(own_scores(whole, x), own_scores(without, x[:, kept])) == 0


@pytest.mark.parametrize("seed", range(4))
def test_histogram_fits_around_nearly_empty_columns(seed: int) -> None:
    """A column of one value can be fitted, whichever rows are drawn to cut the bins on."""
    x, y = table(0)[:, :3], target(table(0), 0, "binary")
    x[:, 1] = np.nan
    x[17, 1] = 1.0
    stopped = HistGradientBoostingClassifier(
        max_iter=5, early_stopping=True, validation_fraction=0.8, random_state=seed
    )

    fitted = lowering.prepare(stopped, SPECS[:3]).fit(x, y)

    assert differ(fitted, 0, SPECS[:3]) <= 1e-9


def test_histogram_still_refuses_what_it_refused() -> None:
    """Only empty columns are worked around: another error stays what it is."""
    x, y = table(0)[:, :3], target(table(0), 0, "binary")
    x[1:, 1] = np.nan
    estimator = lowering.prepare(HistGradientBoostingClassifier(learning_rate=-1.0), SPECS[:3])

    with pytest.raises(ValueError, match="learning_rate"):
        estimator.fit(x, y)


@pytest.mark.parametrize("categories", [[0], np.array([True, False]), ["town"], []])
def test_prepare_refuses_categories_that_the_estimator_names(categories: Any) -> None:
    """The record tells what a category is; a second word would be passed over in silence."""
    estimator = HistGradientBoostingClassifier(categorical_features=categories)

    with pytest.raises(LoweringError, match=r"the record tells what .+ leave categorical_features"):
        lowering.prepare(estimator, SPECS)


@pytest.mark.parametrize("categories", [None, "from_dtype"])
def test_prepare_takes_what_was_prepared(categories: Any) -> None:
    """The default is taken, and so are the positions that a preparation fills in."""
    estimator = HistGradientBoostingClassifier(categorical_features=categories)

    once = lowering.prepare(estimator, SPECS)
    twice = lowering.prepare(once, SPECS)

    assert once.categorical_features
    assert twice.categorical_features == once.categorical_features


def test_histogram_is_called_what_was_declared() -> None:
    """What scikit-learn raises names the class that a user wrote, and it can be pickled."""
    x, y = table(0)[:, :3], target(table(0), 0, "binary")
    estimator = lowering.prepare(HistGradientBoostingClassifier(max_iter=0), SPECS[:3])

    with pytest.raises(ValueError, match="parameter of HistGradientBoostingClassifier must be"):
        pickle.loads(pickle.dumps(estimator)).fit(x, y)  # noqa: S301  our own


@pytest.mark.parametrize(("n_codes", "max_bins"), [(256, 255), (300, 255), (80, 64)])
def test_prepare_refuses_too_many_categories(n_codes: int, max_bins: int) -> None:
    """More categories than the estimator can tell apart are refused before any training."""
    specs = (FeatureSpec("age"), FeatureSpec("town", n_codes=n_codes))

    with pytest.raises(LoweringError, match=rf"town has more.*max_bins={max_bins}.*Category\("):
        lowering.prepare(HistGradientBoostingClassifier(max_bins=max_bins), specs)


def test_histogram_keeps_255_categories() -> None:
    """As many categories as the estimator takes keep their branches, and unseen ones theirs."""
    random = np.random.default_rng(0)
    spec = (FeatureSpec("town", n_codes=255),)
    x = random.permutation(np.arange(5_100.0) % 255).reshape(-1, 1)
    estimator = lowering.prepare(HistGradientBoostingRegressor(max_iter=10), spec)
    fitted = estimator.fit(x, random.normal(size=255)[x[:, 0].astype(int)])
    seen = np.concatenate([np.arange(-3.0, 300.0), [np.nan]]).reshape(-1, 1)

    assert error(graph_scores(fitted, spec, seen), own_scores(fitted, seen)) <= 1e-9
