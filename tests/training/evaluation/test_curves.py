"""A curve is what scikit-learn draws, in few points, its ends among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from mlembed.errors import DataError
from mlembed.training.evaluation.curves import MAX_POINTS, curves
from mlembed.training.threshold import ByCost


def rows(n: int, seed: int = 0, share: float = 0.3) -> tuple[Any, Any]:
    """Return labels, of which about *share* are positive, and scores that agree somewhat."""
    random = np.random.default_rng(seed)
    y = (random.random(n) < share) * 1.0
    return y, 1 / (1 + np.exp(-(2 * (y - 0.5) + random.normal(0, 1, n))))


@pytest.mark.parametrize("n", [50, 20_000])
@pytest.mark.parametrize("share", [0.3, 0.02])
def test_curves_are_short_and_keep_their_ends(n: int, share: float) -> None:
    """At most 200 points, both axes in order, from the first threshold to the last."""
    y, scores = rows(n, share=share)
    costs = ByCost(false_positive=1, false_negative=9).costs(n, {})

    found = curves(y, scores, costs)

    assert list(found) == ["roc", "precision_recall", "gain", "cost"]
    for name, curve in found.items():
        assert len(curve["x"]) == len(curve["y"]) <= MAX_POINTS
        assert np.all(np.diff(curve["x"]) >= 0), name
    for name in ("roc", "gain"):
        assert (found[name]["x"][0], found[name]["y"][0]) == (0.0, 0.0)
        assert (found[name]["x"][-1], found[name]["y"][-1]) == (1.0, 1.0)
        assert np.all(np.diff(found[name]["y"]) >= 0)
    assert found["precision_recall"]["x"][-1] == 1.0
    assert len(found["cost"]["x"]) > min(n, MAX_POINTS) * 0.9


def test_roc_and_gain_lie_on_the_whole_curve() -> None:
    """The area under the few points is the area under all of them, to a thousandth."""
    y, scores = rows(20_000, share=0.02)

    roc = curves(y, scores)["roc"]

    assert sk.auc(roc["x"], roc["y"]) == pytest.approx(sk.roc_auc_score(y, scores), abs=1e-3)


def test_precision_recall_points_are_those_of_thresholds() -> None:
    """Each point is the precision and recall of some threshold."""
    y, scores = rows(300)
    precision, recall, _ = sk.precision_recall_curve(y, scores)
    known = set(zip(recall.round(9), precision.round(9), strict=True))

    curve = curves(y, scores)["precision_recall"]

    assert {
        (round(x, 9), round(v, 9)) for x, v in zip(curve["x"], curve["y"], strict=True)
    } <= known


def test_cost_curve_keeps_the_least_cost() -> None:
    """The threshold that the rule would choose is a point of the curve."""
    y, scores = rows(20_000)
    rule = ByCost(false_positive=1, false_negative=3)
    chosen = rule.choose(y, scores, {})

    curve = curves(y, scores, rule.costs(len(y), {}))["cost"]

    assert min(curve["y"]) == chosen.detail["mean_cost"]
    assert curve["x"][int(np.argmin(curve["y"]))] == chosen.value


@pytest.mark.parametrize(("truth", "names"), [(0.0, set()), (1.0, {"gain"})])
def test_curves_of_one_class_are_absent(truth: float, names: set[str]) -> None:
    """What needs two classes is left out where there is one."""
    assert set(curves(np.full(5, truth), np.linspace(0, 1, 5))) == names


def test_curves_of_tied_scores_are_a_line() -> None:
    """A model that says the same of all has the diagonal for its curve."""
    found = curves(np.array([0.0, 1.0, 1.0]), np.full(3, 0.5))

    assert found["roc"] == {"x": [0.0, 1.0], "y": [0.0, 1.0]}
    assert found["precision_recall"] == {"x": [1.0], "y": [2 / 3]}


def test_curves_refuse_missing_scores() -> None:
    """A score that is missing is no low score."""
    with pytest.raises(DataError, match="1 of 3 scores are missing"):
        curves(np.array([0.0, 1.0, 1.0]), np.array([0.1, np.nan, 0.3]))
