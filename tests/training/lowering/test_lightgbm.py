"""LightGBM scores like its graph: links, categories, and every kind of missing value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlembed.errors import LoweringError
from mlembed.training import lowering
from mlembed.training.lowering.trees.lightgbm import ZERO
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

lightgbm = pytest.importorskip("lightgbm")

N: dict[str, Any] = {"n_estimators": 10, "verbose": -1, "num_threads": 1, "min_child_samples": 5}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"zero_as_missing": True},
    {"use_missing": False},
    {"boosting_type": "dart", "drop_rate": 0.5},
    {"boosting_type": "rf", "subsample_freq": 1, "subsample": 0.5},
    {"boosting_type": "goss"},
    {"num_leaves": 300, "min_child_samples": 1, "learning_rate": 0.5},
    {"extra_trees": True, "max_cat_to_onehot": 90},
    {"min_child_samples": 10_000},
    {"monotone_constraints": [1, 0, 0, -1, *[0] * 8]},
]
CLASSES = [
    ("binary", {}),
    ("binary", {"objective": "binary", "sigmoid": 0.7, "is_unbalance": True}),
    ("binary", {"objective": "cross_entropy"}),
    ("multiclass", {}),
    ("multiclass", {"objective": "multiclassova", "sigmoid": 2.0}),
]
LOSSES: list[dict[str, Any]] = [
    *({"objective": name} for name in ("regression", "regression_l1", "huber", "fair")),
    *({"objective": name} for name in ("poisson", "gamma", "tweedie", "mape")),
    {"objective": "quantile", "alpha": 0.9},
    {"objective": "regression", "reg_sqrt": True},
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_lightgbm_keeps_probabilities(kind: str, settings: dict[str, Any], seed: int) -> None:
    """A classifier's graph gives its probabilities and decisions, whatever the boosting."""
    fitted = fit(lightgbm.LGBMClassifier(**N | settings, random_state=seed), kind, seed, WHOLE)
    x = table(seed + 2_000)

    assert differ(fitted, seed, WHOLE) <= 1e-9
    decided = np.reshape(fitted.decision_function(x), (len(x), -1))
    assert error(decisions(fitted, WHOLE, x), decided) <= 1e-9


@pytest.mark.parametrize(("kind", "settings"), CLASSES, ids=str)
def test_lightgbm_keeps_links_of_classes(kind: str, settings: dict[str, Any]) -> None:
    """Each objective of classes has its own way from sums to probabilities."""
    fitted = fit(lightgbm.LGBMClassifier(**N | settings), kind, 0, WHOLE)

    assert differ(fitted, 0, WHOLE) <= 1e-9


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_lightgbm_keeps_predictions(loss: dict[str, Any], seed: int) -> None:
    """A regressor's graph gives its predictions, whatever the objective and its link."""
    fitted = fit(lightgbm.LGBMRegressor(**N | loss), "regression", seed, WHOLE)

    assert differ(fitted, seed, WHOLE) <= 1e-9


@pytest.mark.parametrize("settings", SETTINGS[:9], ids=str)
@pytest.mark.parametrize("objective", ["cross_entropy", "cross_entropy_lambda", "poisson"])
def test_lightgbm_keeps_predictions_of_every_boosting(
    objective: str, settings: dict[str, Any]
) -> None:
    """Links meet averages of trees, dropped trees and single leaves."""
    estimator = lightgbm.LGBMRegressor(**N | settings, objective=objective)

    assert differ(fit(estimator, "binary", 0, WHOLE), 0, WHOLE) <= 1e-9


@pytest.mark.parametrize("settings", SETTINGS[:3], ids=str)
def test_lightgbm_sends_zeros_where_it_sends_them(settings: dict[str, Any]) -> None:
    """Around zero lies a band that counts as zero; its ends are on the right side."""
    random = np.random.default_rng(0)
    x = random.choice([0.0, -1.0, 1.0, 2.0, -2.0], size=(500, 3))
    y = (x == 0) @ [1.0, 2.0, 3.0] + random.normal(0, 0.1, 500) + x[:, 0]
    fitted = lightgbm.LGBMRegressor(**N | settings).fit(x, y)
    ends = np.array([ZERO, -ZERO, 0.0, -0.0, 1e-36, 1e-300, 5e-324, np.nan])
    ends = np.concatenate([ends, np.nextafter(ends, np.inf), np.nextafter(ends, -np.inf)])
    rows = random.choice(ends, size=(2_000, 3))

    assert error(graph_scores(fitted, SPECS[:3], rows), own_scores(fitted, rows)) <= 1e-9


def test_lightgbm_stops_where_it_stopped() -> None:
    """After early stopping only the trees up to the best iteration count, as in `predict`."""
    x = table(0)[:, :9]
    y = np.sin(x[:, 0]) + np.random.default_rng(0).normal(0, 0.3, len(x))
    estimator = lightgbm.LGBMRegressor(**N | {"n_estimators": 200})
    stop = lightgbm.early_stopping(5, verbose=False)
    fitted = estimator.fit(x[:300], y[:300], eval_X=(x[300:],), eval_y=(y[300:],), callbacks=[stop])

    model, _ = lowering.lower_estimator(fitted, SPECS[:9])
    (roots,) = (a.ints for a in model.graph.node[0].attribute if a.name == "tree_roots")
    assert 1 < len(roots) == fitted.best_iteration_ < 200
    assert differ(fitted, 0, SPECS[:9]) <= 1e-9


@pytest.mark.parametrize("column", [0, 4, 8, 10])
def test_lightgbm_takes_one_feature_and_one_row(column: int) -> None:
    """One feature is enough, be it missing throughout, and so is one row."""
    x, spec = table(0)[:, [column]], SPECS[column]
    estimator = lowering.prepare(lightgbm.LGBMClassifier(**N), (spec,))
    fitted = estimator.fit(x, target(table(0), 0, "binary"))

    for rows in (x[:1], x):
        assert error(graph_scores(fitted, (spec,), rows), own_scores(fitted, rows)) <= 1e-9


def test_lightgbm_takes_infinities() -> None:
    """An infinite value takes the branch that LightGBM sends it along."""
    fitted = fit(lightgbm.LGBMClassifier(**N), "binary", 0)
    x = table(1)[:, : len(SPECS)]
    x[::2, :9] = np.inf
    x[1::3, :9] = -np.inf

    assert differ(fitted, 0, x=x) <= 1e-9


def test_lightgbm_keeps_deep_trees() -> None:
    """A tree a thousand splits deep is read like any other."""
    x = np.arange(3_000.0).reshape(-1, 1)
    estimator = lightgbm.LGBMRegressor(
        n_estimators=1,
        num_leaves=2_000,
        min_child_samples=1,
        learning_rate=1.0,
        verbose=-1,
        max_bin=4_000,
        min_data_in_bin=1,
        num_threads=1,
    )
    fitted = estimator.fit(x, np.exp(x[:, 0] / 40.0))

    assert differ(fitted, 0, SPECS[:1], x=x) <= 1e-9


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (lightgbm.LGBMRegressor(objective=lambda y, z: (y, z)), "objective"),
        (lightgbm.LGBMClassifier(objective="lambdarank"), "objective"),
        (lightgbm.LGBMRegressor(linear_tree=True), "linear_tree"),
        (lightgbm.LGBMRegressor(pred_early_stop=True), "pred_early_stop"),
        (lightgbm.LGBMRegressor(categorical_feature=[0]), "categorical_feature.*record"),
    ],
)
def test_check_refuses_what_lightgbm_does_beyond_adding_trees(estimator: Any, words: str) -> None:
    """A setting without an exact form is refused by name before any training."""
    with pytest.raises(LoweringError, match=words):
        lowering.check(estimator)


def test_lower_refuses_linear_leaves() -> None:
    """Linear leaves are met in the fitted model too, whatever turned them on."""
    x = np.random.default_rng(0).normal(size=(200, 1))
    fitted = lightgbm.LGBMRegressor(n_estimators=2, verbose=-1, linear_tree=True).fit(x, x[:, 0])
    fitted.set_params(linear_tree=False)

    with pytest.raises(LoweringError, match="linear models"):
        lowering.lower_estimator(fitted, SPECS[:1])
