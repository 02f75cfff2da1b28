"""One call measures everything, in plain JSON, the same each time."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest

from mlembed.errors import DataError
from mlembed.training.conformal import Interval
from mlembed.training.evaluation import Plan, Rows, evaluate
from mlembed.training.threshold import ByCost
from training.evaluation.scenes import amounts, odds, probability, trade

COMMON = {
    "n",
    "metric",
    "metrics",
    "intervals",
    "bootstrap",
    "slices",
    "importance",
    "dependence",
}


def test_evaluate_measures_a_classifier() -> None:
    """A binary label has its confusion, calibration, threshold and four curves."""
    rule, seen = ByCost(false_positive=1, false_negative=4), trade(1000, seed=5)
    chosen = rule.choose(seen.y, seen.scores, {})
    rows = trade(1500, clusters=np.arange(1500) % 300, entity="visits")

    found = evaluate(
        rows,
        Plan(metric="roc_auc", threshold=chosen, costs=rule.costs(1500, {}), resamples=60),
        probability,
    )

    assert set(found) == COMMON | {
        "positives",
        "confusion",
        "calibration",
        "calibration_error",
        "threshold",
        "curves",
    }
    assert found["bootstrap"] == {"resamples": 60, "clusters": 300, "entity": "visits"}
    assert found["positives"] == np.sum(rows.y)
    assert found["threshold"]["rule"] == "cost"
    assert found["confusion"]["true_positive"] == np.sum(rows.y[rows.scores >= chosen.value])
    assert set(found["curves"]) == {"roc", "precision_recall", "gain", "cost"}
    assert found["calibration_error"] == found["metrics"]["ece"] < 0.1
    assert found["dependence"][0]["column"] == found["importance"][0]["column"] == "age"
    json.dumps(found, allow_nan=False)


def test_evaluate_measures_a_regression() -> None:
    """A quantity has residuals and the coverage of its interval, and any pinball loss asked for."""
    seen = amounts(500, seed=5)
    band = Interval(0.9).fit(seen.y, seen.scores)

    found = evaluate(amounts(1500), Plan(metric="pinball@0.9", band=band, resamples=60), odds)

    assert set(found) == COMMON | {"residuals", "interval"}
    assert set(found["metrics"]) == {"mae", "rmse", "wape", "pinball@0.9"}
    assert found["interval"]["coverage"] == pytest.approx(0.9, abs=0.04)
    assert found["bootstrap"]["entity"] is None
    json.dumps(found, allow_nan=False)


def test_evaluate_is_repeatable() -> None:
    """The same rows and seed give the same bytes."""
    first, second = (
        json.dumps(evaluate(trade(300), Plan(metric="brier", resamples=30), probability))
        for _ in range(2)
    )

    assert first == second


def test_evaluate_declares_the_threshold_it_was_given() -> None:
    """A threshold that no rule chose is told as declared."""
    found = evaluate(trade(100), Plan(metric="error", threshold=0.3, resamples=10))

    assert found["threshold"] == {"rule": "declared", "value": 0.3, "detail": {}}
    assert "importance" not in found


@pytest.mark.parametrize(
    ("metric", "y", "message"),
    [("roc_auc", 1.0, "roc_auc is undefined on the 30"), ("wape", 0.0, "wape is undefined")],
)
def test_evaluate_refuses_rows_its_metric_says_nothing_of(
    metric: str, y: float, message: str
) -> None:
    """Without a value of the trainer's own metric nothing can be promised."""
    with pytest.raises(DataError, match=message):
        evaluate(trade(30, y=np.full(30, y)), Plan(metric=metric))


@pytest.mark.parametrize("metric", ["brier", "mae"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scores": np.full(1, 0.5)},
        {"clusters": np.zeros(1, int)},
    ],
)
def test_evaluate_measures_a_single_row(metric: str, changes: Any) -> None:
    """One row has metrics, and hardly any interval; nothing fails on it."""
    found = evaluate(trade(1, **changes), Plan(metric=metric, resamples=20), probability)

    assert found["n"] == 1
    json.dumps(found, allow_nan=False)


def test_evaluate_measures_constant_scores_and_one_entity() -> None:
    """A model that says one thing, of rows that one entity holds, is measured without intervals."""
    rows = trade(200, scores=np.full(200, 0.5), clusters=np.zeros(200, int))

    found = evaluate(rows, Plan(metric="roc_auc", resamples=20), lambda x: np.full(len(x), 0.5))

    assert found["metrics"]["roc_auc"] == 0.5
    assert found["intervals"] == {}
    assert len(found["calibration"]) == 1
    assert {item["drop"] for item in found["importance"]} == {0.0}
    assert found["dependence"] == []
    json.dumps(found, allow_nan=False)


def test_evaluate_takes_arrays_alone() -> None:
    """Without columns there are numbers, without slices and importance."""
    y: Any = np.arange(40) % 2 * 1.0

    found = evaluate(Rows(y=y, scores=np.linspace(0, 1, 40)), Plan(metric="f1"))

    assert not {"slices", "importance", "dependence"} & set(found)


def test_evaluate_takes_seconds() -> None:
    """All of it, on 10,000 rows with 500 resamples, is a pause of a second or two."""
    rows = trade(10_000, clusters=np.arange(10_000) % 900)

    began = time.process_time()
    evaluate(rows, Plan(metric="roc_auc"), probability)

    assert time.process_time() - began < 6
