"""Gradient boosting scores like its graph, from any start it knows and with any loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.linear_model import LinearRegression

from mlembed.errors import LoweringError
from mlembed.training import lowering
from training.lowering.hardships import (
    SPECS,
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
    {"init": "zero", "subsample": 0.5},
    {"max_depth": 1, "learning_rate": 1.0},
    {"max_leaf_nodes": 6, "max_features": 0.5, "n_iter_no_change": 3},
    {"min_samples_leaf": 400},
]
LOSSES: list[dict[str, Any]] = [
    {"loss": "squared_error"},
    {"loss": "absolute_error"},
    {"loss": "huber", "alpha": 0.8},
    {"loss": "quantile", "alpha": 0.9},
]
CASES = [
    (kind, loss)
    for kind, loss in (
        ("binary", "log_loss"),
        ("binary", "exponential"),
        ("multiclass", "log_loss"),
    )
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("kind", "loss"), CASES)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_gradient_keeps_probabilities(
    settings: dict[str, Any], kind: str, loss: str, seed: int
) -> None:
    """A classifier's graph gives its probabilities and, to the bit, its decision function."""
    estimator = GradientBoostingClassifier(
        n_estimators=10, loss=loss, random_state=seed, **settings
    )
    fitted = fit(estimator, kind, seed)
    x = table(seed + 2_000)[:, : len(SPECS)]

    assert differ(fitted, seed) <= 1e-9
    decided = np.reshape(fitted.decision_function(x), (len(x), -1))
    assert error(decisions(fitted, SPECS, x), decided) == 0


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_gradient_keeps_predictions(
    settings: dict[str, Any], loss: dict[str, Any], seed: int
) -> None:
    """A regressor's graph gives its very predictions, whatever the loss."""
    estimator = GradientBoostingRegressor(n_estimators=10, random_state=seed, **settings, **loss)

    assert differ(fit(estimator, "regression", seed), seed) == 0


def test_gradient_needs_no_filler_on_whole_columns() -> None:
    """Fitted by hand on a table with nothing missing, it is lowered without the filling."""
    x = table(0)[:, [0, 3, 4, 7]]
    specs = [SPECS[i] for i in (0, 3, 4, 7)]
    fitted = GradientBoostingRegressor(n_estimators=5).fit(x, target(table(0), 0, "regression"))

    model, _ = lowering.lower_estimator(fitted, specs)

    assert [node.op_type for node in model.graph.node] == ["TreeEnsemble"]
    assert error(graph_scores(fitted, specs, x), own_scores(fitted, x)) == 0


def test_gradient_tells_a_missing_category_from_the_others() -> None:
    """A missing category is filled with a code of its own, a missing number with the median."""
    fitted = fit(GradientBoostingRegressor(n_estimators=5), "regression", 0)

    filler = fitted["fill"]
    assert filler.fill_[9] == filler.fill_[10] == -1.0
    assert filler.fill_[8] == 0.0
    assert filler.fill_[1] == np.nanmedian(table(0)[:, 1])


@pytest.mark.parametrize("column", [0, 2, 8, 9])
def test_gradient_takes_one_feature_and_one_row(column: int) -> None:
    """One feature is enough, be it missing throughout, and so is one row."""
    x, spec = table(0)[:, [column]], SPECS[column]
    estimator = lowering.prepare(GradientBoostingClassifier(n_estimators=5), (spec,))
    fitted = estimator.fit(x, target(table(0), 0, "multiclass"))

    for rows in (x[:1], x):
        assert error(graph_scores(fitted, (spec,), rows), own_scores(fitted, rows)) <= 1e-9


@pytest.mark.parametrize(
    "estimator",
    [
        GradientBoostingRegressor(init=LinearRegression()),
        GradientBoostingClassifier(init=DummyClassifier()),
    ],
    ids=str,
)
def test_check_refuses_a_start_of_its_own(estimator: Any) -> None:
    """Another estimator as the start would have to be lowered too."""
    with pytest.raises(LoweringError, match="init"):
        lowering.check(estimator)


def test_gradient_names_what_its_filled_features_should_be() -> None:
    """A failed proof can tell whether filling or trees went wrong."""
    fitted = fit(GradientBoostingRegressor(n_estimators=5), "regression", 0)
    x = table(1)[:3, : len(SPECS)]

    _, (checkpoint, *_) = lowering.lower_estimator(fitted, SPECS)

    assert np.isnan(x).any()
    assert (checkpoint.of(x) == fitted["fill"].transform(x)).all()
