"""XGBoost scores like its graph, to what its own float32 leaves of a score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlembed.errors import LoweringError
from mlembed.training import lowering
from mlembed.training.lowering.nesting import tolerance_of
from mlembed.training.lowering.registry import family_of
from training.lowering.hardships import (
    SPECS,
    WHOLE,
    differ,
    error,
    fit,
    graph_scores,
    own_scores,
    probes,
    table,
    target,
)

xgboost = pytest.importorskip("xgboost")

N: dict[str, Any] = {"n_estimators": 10, "n_jobs": 1}
TOLERANCE = 1e-6
SETTINGS: list[dict[str, Any]] = [
    {},
    {"max_cat_to_onehot": 100, "max_depth": 3},
    {"max_cat_to_onehot": 1, "max_cat_threshold": 100},
    {"tree_method": "approx", "subsample": 0.5, "colsample_bytree": 0.5},
    {"grow_policy": "lossguide", "max_leaves": 200, "max_depth": 0, "learning_rate": 1.0},
    {"num_parallel_tree": 3, "subsample": 0.7},
    {"base_score": 0.3, "gamma": 2.0},
    {"min_child_weight": 10_000.0},
    {"monotone_constraints": (1, 0, 0, -1, *[0] * 7)},
]
LOSSES: list[dict[str, Any]] = [
    *({"objective": f"reg:{name}"} for name in ("squarederror", "absoluteerror", "gamma")),
    *({"objective": f"reg:{name}"} for name in ("tweedie", "pseudohubererror")),
    {"objective": "reg:squaredlogerror"},
    {"objective": "count:poisson"},
    {"objective": "reg:quantileerror", "quantile_alpha": 0.9},
    {"objective": "reg:squarederror", "base_score": 1e6},
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_xgboost_keeps_probabilities(kind: str, settings: dict[str, Any], seed: int) -> None:
    """A classifier's graph gives its probabilities, and says how exact they are."""
    fitted = fit(xgboost.XGBClassifier(**N | settings, random_state=seed), kind, seed)

    assert differ(fitted, seed) <= TOLERANCE == tolerance_of(fitted)[0]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_xgboost_keeps_predictions(loss: dict[str, Any], seed: int) -> None:
    """A regressor's graph gives its predictions, whatever the objective and its link."""
    assert differ(fit(xgboost.XGBRegressor(**N | loss), "regression", seed), seed) <= TOLERANCE


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("base_score", [None, 0.5, 3e7])
def test_xgboost_keeps_sums_to_the_bit(base_score: float | None, seed: int) -> None:
    """Leaves are added in XGBoost's order and precision: without a link nothing differs."""
    estimator = xgboost.XGBRegressor(n_estimators=60, n_jobs=1, base_score=base_score)

    assert differ(fit(estimator, "regression", seed), seed) == 0


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [
        (xgboost.XGBRegressor(**N, objective="reg:logistic"), "binary"),
        (xgboost.XGBRFClassifier(**N), "binary"),
        (xgboost.XGBRFClassifier(**N), "multiclass"),
        (xgboost.XGBRFRegressor(**N), "regression"),
        (xgboost.XGBClassifier(**N, objective="multi:softmax"), "multiclass"),
    ],
    ids=str,
)
def test_xgboost_keeps_its_other_estimators(estimator: Any, kind: str) -> None:
    """Forests, and probabilities as a regression."""
    assert differ(fit(estimator, kind, 0), 0) <= TOLERANCE


def test_xgboost_stops_where_it_stopped() -> None:
    """After early stopping only the trees up to the best iteration count, as in `predict`."""
    x = table(0)[:, :9]
    y = np.sin(x[:, 0]) + np.random.default_rng(0).normal(0, 0.3, len(x))
    estimator = xgboost.XGBRegressor(n_estimators=200, early_stopping_rounds=5, n_jobs=1)
    fitted = estimator.fit(x[:300], y[:300], eval_set=[(x[300:], y[300:])], verbose=False)

    model, _ = lowering.lower_estimator(fitted, SPECS[:9])
    (roots,) = (a.ints for n in model.graph.node for a in n.attribute if a.name == "tree_roots")
    assert len(roots) == fitted.best_iteration + 1 < fitted.get_booster().num_boosted_rounds()
    assert differ(fitted, 0, SPECS[:9]) <= TOLERANCE


@pytest.mark.parametrize("column", [0, 2, 8, 9])
def test_xgboost_takes_one_feature_and_one_row(column: int) -> None:
    """One feature is enough, be it missing throughout, and so is one row."""
    x, spec = table(0)[:, [column]], SPECS[column]
    estimator = lowering.prepare(xgboost.XGBClassifier(**N), (spec,))
    fitted = estimator.fit(x, target(table(0), 0, "binary"))

    for rows in (x[:1], x):
        assert error(graph_scores(fitted, (spec,), rows), own_scores(fitted, rows)) <= TOLERANCE


def test_xgboost_takes_what_no_float32_holds() -> None:
    """Huge and infinite values, which XGBoost refuses, count as the largest float32."""
    fitted = fit(xgboost.XGBRegressor(**N), "regression", 0, WHOLE)
    x = table(3)
    x[::2, :9] = np.inf
    x[1::3, :9] = -np.inf

    assert 11 in family_of(fitted).splits(fitted)
    assert differ(fitted, 0, WHOLE) == differ(fitted, 0, WHOLE, x=x) == 0


def test_xgboost_is_probed_where_its_cast_changes_sides() -> None:
    """The splits a proof probes are the doubles at which the cast to float32 changes sides."""
    fitted = fit(xgboost.XGBRegressor(n_estimators=1, max_depth=1), "regression", 0, SPECS[:6])
    ((position, (point,)),) = family_of(fitted).splits(fitted).items()
    x = np.repeat(probes(table(1)[:1, :6], {}, SPECS[:0], 0)[:1], 2, axis=0)
    x[:, position] = point, np.nextafter(point, np.inf)

    one, other = fitted.predict(x)

    assert one != other


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (xgboost.XGBRegressor(objective=lambda y, z: (y, z)), "objective"),
        (xgboost.XGBClassifier(objective="binary:hinge"), "objective"),
        (xgboost.XGBRegressor(objective="survival:cox"), "objective"),
        (xgboost.XGBRegressor(booster="dart"), "gbtree"),
        (xgboost.XGBClassifier(booster="gblinear"), "gbtree"),
        (xgboost.XGBRegressor(missing=-1.0), "NaN"),
        (xgboost.XGBRegressor(multi_strategy="multi_output_tree"), "one_output"),
        (xgboost.XGBRegressor(objective="reg:quantileerror", quantile_alpha=[0.1, 0.9]), "one"),
        (xgboost.XGBRegressor(quantile_alpha=np.array([0.1, 0.9])), "one model a quantile"),
    ],
)
def test_check_refuses_what_xgboost_does_beyond_adding_trees(estimator: Any, words: str) -> None:
    """A setting without an exact form is refused by name before any training."""
    with pytest.raises(LoweringError, match=words):
        lowering.check(estimator)


def test_lower_refuses_several_outputs() -> None:
    """Several outputs are no score."""
    x = np.random.default_rng(0).normal(size=(100, 2))
    fitted = xgboost.XGBRegressor(n_estimators=2).fit(x, x)

    with pytest.raises(LoweringError, match="several outputs"):
        lowering.lower_estimator(fitted, SPECS[:2])
