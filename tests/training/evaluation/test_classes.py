"""A model of several classes is measured by the probabilities of all of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from mlembed.errors import DataError, MonitoringError
from mlembed.monitoring.performance import compare
from mlembed.training.evaluation import Plan, Rows, contrast, evaluate
from mlembed.training.evaluation.classes import of_classes
from training.evaluation.scenes import COLUMNS, cells, odds

CLASSES = ("low", "middle", "high")


def probabilities(x: Any) -> Any:
    """Score rows with the true probability of each class, `(n, 3)`."""
    signal = odds(x)[:, np.newaxis] * np.array([-1.0, 0.0, 1.0]) + np.array([0, 0.7, 0])
    weights = np.exp(signal - signal.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def rows(n: int, **changes: Any) -> Rows:
    """Return rows with a label of three classes, scored by the truth."""
    x = cells(n)
    scores = probabilities(x)
    draws = np.random.default_rng(1).random(n)[:, np.newaxis]
    y = (draws > scores.cumsum(axis=1)[:, :2]).sum(axis=1).astype(float)
    given = {"y": y, "scores": scores, "x": x, "columns": COLUMNS, "classes": CLASSES}
    return Rows(**{**given, **changes})


def test_evaluate_measures_several_classes() -> None:
    """Metrics, intervals, slices and importance are those of classes; curves of two are absent."""
    found = evaluate(
        rows(1500, clusters=np.arange(1500) % 300),
        Plan(metric="error", resamples=60),
        probabilities,
    )

    assert set(found["metrics"]) == set(found["intervals"])
    assert set(found["metrics"]) == {"error", "balanced_error", "macro_f1", "log_loss"}
    assert found["importance"][0]["column"] == "age"
    assert found["importance"][0]["low"] > 0
    worst = [part["value_of_metric"] for part in found["slices"] if "reason" not in part]
    assert worst == sorted(worst, reverse=True)
    assert not {"curves", "confusion", "calibration", "threshold", "dependence"} & set(found)
    json.dumps(found, allow_nan=False)


def test_of_classes_agrees_with_scikit_learn() -> None:
    """Precision, recall and F1 of each class, and the matrix, are scikit-learn's."""
    measured = rows(800)
    answered = measured.scores.argmax(axis=1)
    known = sk.precision_recall_fscore_support(measured.y, answered, zero_division=0)

    found = of_classes(measured)

    for key, values in zip(("precision", "recall", "f1", "n"), known, strict=True):
        assert [item[key] for item in found["classes"]] == pytest.approx(list(values))
    places = [CLASSES.index(name) for name in found["confusion_matrix"]["classes"]]
    matrix = sk.confusion_matrix(measured.y, answered)
    assert found["confusion_matrix"]["counts"] == matrix[np.ix_(places, places)].tolist()
    assert found["calibration_error"] < 0.08


def test_of_classes_joins_all_but_the_most_frequent() -> None:
    """A matrix of many classes keeps twenty and joins the rest, losing no row."""
    random = np.random.default_rng(0)
    scores = random.dirichlet(np.ones(40), 500)
    y = random.integers(0, 30, 500).astype(float)

    found = of_classes(Rows(y=y, scores=scores, classes=tuple(map(str, range(40)))))

    assert len(found["confusion_matrix"]["classes"]) == 21
    assert np.sum(found["confusion_matrix"]["counts"]) == 500
    assert found["classes"][35] == {"class": "35", "n": 0, "precision": 0, "recall": 0, "f1": 0}


def test_contrast_compares_models_of_several_classes() -> None:
    """A champion that knows less is worse by every metric of classes; NaN rows do not count."""
    measured = rows(1500)
    flat = (measured.scores + 1) / (measured.scores + 1).sum(axis=1, keepdims=True)
    flat[0, 1] = np.nan

    found = contrast(measured, flat, "log_loss", 0.5, title="a@1.0.0", resamples=100)

    assert (found["n"], found["low"] > 0) == (1499, True)


def test_compare_refuses_models_of_other_classes() -> None:
    """Probabilities of three and of four classes have no common measure."""
    with pytest.raises(MonitoringError, match="different classes"):
        compare(np.zeros(2), np.full((2, 3), 0.3), np.full((2, 4), 0.2), "error")


def test_rows_refuse_scores_that_are_not_of_their_classes() -> None:
    """A probability is owed for each class, and labels are places among them."""
    with pytest.raises(DataError, match=r"scores of shape \(4,\) do not fit 3 classes"):
        Rows(y=np.zeros(4), scores=np.zeros(4), classes=CLASSES)
    with pytest.raises(DataError, match=r"scores of shape \(4, 3\) do not fit 0 classes"):
        Rows(y=np.zeros(4), scores=np.zeros((4, 3)))
    with pytest.raises(DataError, match="labels of several classes are places"):
        Rows(y=np.full(4, 3.0), scores=np.zeros((4, 3)), classes=CLASSES)
    with pytest.raises(DataError, match="1 of 4 scores are missing"):
        rows(4, scores=np.where(np.eye(4, 3, -3) == 1, np.nan, 0.3))
