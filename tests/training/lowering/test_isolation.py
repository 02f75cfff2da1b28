"""Isolation forests score like their graphs: high for what is unusual."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from mlembed.training import lowering
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
)

SETTINGS: list[dict[str, Any]] = [
    {},
    {"max_features": 0.4},
    {"max_features": 1, "bootstrap": True},
    {"max_samples": 50, "contamination": 0.1},
    {"max_samples": 1.0},
    {"max_samples": 3},
    {"max_samples": 2},
    {"max_samples": 1},
]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_isolation_keeps_anomaly_scores(settings: dict[str, Any], seed: int) -> None:
    """A graph gives the score of the paper, and the decision function that counts outliers."""
    fitted = fit(IsolationForest(n_estimators=15, random_state=seed, **settings), "binary", seed)
    x = table(seed + 2_000)[:, : len(SPECS)]

    assert differ(fitted, seed) <= 1e-12
    decided = np.reshape(fitted.decision_function(x), (-1, 1))
    assert error(decisions(fitted, SPECS, x), decided) <= 1e-12


def test_isolation_takes_infinities_and_overflow() -> None:
    """Values that no float32 holds are infinite to the estimator, and so to its graph."""
    fitted = fit(IsolationForest(n_estimators=15, random_state=0), "binary", 0, WHOLE)
    x = table(1)
    x[::2, :9] = np.inf
    x[1::3, :9] = -np.inf
    x[::5, :3] = 1e300

    assert differ(fitted, 0, WHOLE, x=x) <= 1e-12


def test_isolation_scores_are_high_for_anomalies() -> None:
    """What lies far out scores above what lies in the middle, and between 0 and 1."""
    random = np.random.default_rng(0)
    x = random.normal(size=(500, 2))
    fitted = lowering.prepare(IsolationForest(random_state=0), SPECS[:2]).fit(x)

    far, near = graph_scores(fitted, SPECS[:2], np.array([[9.0, 9.0], [0.0, 0.0]]))[:, 0]

    assert 0 < near < 0.5 < far <= 1


def test_isolation_takes_one_row() -> None:
    """One row scores as it does in a table."""
    fitted = fit(IsolationForest(n_estimators=5, random_state=0), "binary", 0)
    x = table(1)[:, : len(SPECS)]

    assert error(graph_scores(fitted, SPECS, x[:1]), own_scores(fitted, x)[:1]) <= 1e-12
