"""Who competes: what was declared, always with a linear model and a constant to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from mlembed.training.competitors import competitors, final_step
from mlembed.training.fitting import scores_of
from mlembed.training.yardstick import Yardstick

NESTED = Pipeline([("scale", StandardScaler()), ("in", make_pipeline(LogisticRegression()))])


def test_competitors_add_a_linear_model_and_a_baseline() -> None:
    """What was declared comes first, in its order; what is added says so by its role."""
    found = competitors([RandomForestClassifier(), GaussianNB()], "binary", "roc_auc")

    assert [(item.name, item.role) for item in found] == [
        ("RandomForestClassifier", "declared"),
        ("GaussianNB", "declared"),
        ("LogisticRegression (linear)", "linear"),
        ("prior (baseline)", "baseline"),
    ]
    assert [item.is_linear for item in found] == [False, False, True, False]


@pytest.mark.parametrize(
    ("candidate", "kind", "metric"),
    [
        (LogisticRegression(), "binary", "roc_auc"),
        (LogisticRegression(), "multiclass", "error"),
        (make_pipeline(StandardScaler(), Ridge()), "regression", "mae"),
        (NESTED, "binary", "brier"),
        (PoissonRegressor(), "regression", "rmse"),
    ],
)
def test_competitors_take_a_declared_linear_model(candidate: Any, kind: str, metric: str) -> None:
    """A candidate that is linear, in a pipeline too, stands for the linear model."""
    found = competitors([candidate], kind, metric)

    assert [item.role for item in found] == ["declared", "baseline"]
    assert found[0].is_linear
    assert found[0].estimator is candidate


def test_competitors_of_a_quantity_add_a_ridge() -> None:
    """The linear model predicts what the label is."""
    found = competitors([RandomForestRegressor()], "regression", "mae")

    assert [item.name for item in found][1:] == ["Ridge (linear)", "median (baseline)"]


def test_competitors_of_one_class_have_names_of_their_own() -> None:
    """Candidates of one class are told apart by their place, wherever the class stands."""
    candidates = [
        RandomForestClassifier(),
        make_pipeline(StandardScaler(), RandomForestClassifier()),
        LogisticRegression(),
        RandomForestClassifier(max_depth=2),
    ]

    names = [item.name for item in competitors(candidates, "binary", "roc_auc")]

    assert names[:4] == [
        "RandomForestClassifier",
        "RandomForestClassifier 2",
        "LogisticRegression",
        "RandomForestClassifier 3",
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("metric", ["mae", "rmse", "wape", "pinball@0.9", "pinball@0.2"])
def test_baseline_of_a_quantity_is_the_best_constant(metric: str) -> None:
    """No other constant is better by the metric on the rows it was fitted on."""
    y = np.random.default_rng(0).lognormal(1, 1, 301)
    features = np.zeros((len(y), 1))
    *_, baseline = competitors([Ridge()], "regression", metric)
    scale = Yardstick(metric, "regression", float("nan"))

    constant = scores_of(baseline.estimator.fit(features, y), features)

    others = [scale.of(y, np.full(len(y), value)) for value in np.linspace(0, y.max(), 400)]
    assert len(np.unique(constant)) == 1
    assert scale.of(y, constant) <= min(others) + 1e-12


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("share", [0.2, 0.8])
@pytest.mark.parametrize("metric", ["error", "f1", "precision", "brier", "log_loss"])
def test_baseline_of_two_classes_is_the_best_constant(
    metric: str, share: float, threshold: float
) -> None:
    """No other constant score is better by the metric, wherever the threshold lies."""
    y = (np.arange(100) < 100 * share).astype(float)
    features = np.zeros((len(y), 1))
    *_, baseline = competitors([LogisticRegression()], "binary", metric)
    scale = Yardstick(metric, "binary", threshold)

    constant = scores_of(baseline.estimator.fit(features, y.astype(int)), features)

    others = [scale.goodness([scale.of(y, np.full(100, p))]) for p in np.linspace(0.01, 0.99, 99)]
    assert scale.goodness([scale.of(y, constant)]) >= max(others) - 1e-12


def test_final_step_of_nested_pipelines() -> None:
    """What predicts is the innermost last step."""
    assert isinstance(final_step(NESTED), LogisticRegression)
