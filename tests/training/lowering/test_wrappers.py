"""Estimators that hold others score like their graphs, and their thresholds are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Perceptron, Ridge
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, StandardScaler

from mlembed.errors import LoweringError
from mlembed.training import lowering
from mlembed.training.lowering.nesting import modules_of, tolerance_of
from training.lowering.agreement import SPECS, checkpoint_errors, error, features, fit, labels

NUMBERS = SPECS[:3]
TREES = HistGradientBoostingClassifier(max_iter=10)
AMOUNTS = HistGradientBoostingRegressor(max_iter=10)
LINEAR = LogisticRegression(max_iter=500)
FOREST = RandomForestClassifier(10, random_state=0)
CLASSES = [
    VotingClassifier([("a", TREES), ("b", FOREST)], voting="soft"),
    VotingClassifier(
        [("a", TREES), ("b", "drop"), ("c", FOREST)], voting="soft", weights=[1, 9, 3]
    ),
    StackingClassifier([("a", TREES), ("b", FOREST)], final_estimator=TREES, cv=3),
    StackingClassifier(
        [("a", TREES)], final_estimator=FOREST, stack_method="decision_function", cv=3
    ),
    BaggingClassifier(TREES, 3, random_state=0),
    BaggingClassifier(None, 3, random_state=0),
    OneVsRestClassifier(TREES),
    OneVsRestClassifier(LINEAR),
]
QUANTITIES = [
    VotingRegressor([("a", AMOUNTS), ("b", Ridge())], weights=[1.0, 0.5]),
    StackingRegressor([("a", AMOUNTS), ("b", Ridge())], final_estimator=Ridge(), cv=3),
    BaggingRegressor(AMOUNTS, 3, random_state=0),
    TransformedTargetRegressor(None),
    TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
    TransformedTargetRegressor(AMOUNTS, transformer=StandardScaler(with_mean=False)),
    TransformedTargetRegressor(AMOUNTS, transformer=StandardScaler(with_std=False)),
    TransformedTargetRegressor(Ridge(), transformer=MinMaxScaler((1, 3))),
    *(
        TransformedTargetRegressor(AMOUNTS, func=there, inverse_func=back, check_inverse=False)
        for there, back in (
            (np.log, np.exp),
            (np.log1p, np.expm1),
            (np.exp, np.log),
            (np.expm1, np.log1p),
            (np.sqrt, np.square),
            (np.square, np.sqrt),
        )
    ),
]


def describe(estimator: Any) -> str:
    """Name a case by class and settings."""
    return str(estimator).replace("\n", "").replace(" ", "")


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("estimator", CLASSES, ids=describe)
def test_committee_keeps_probabilities(estimator: Any, n_classes: int) -> None:
    """A committee's graph gives its probabilities, of two classes and of three."""
    fitted = fit(estimator, n_classes)

    assert error(fitted) < 1e-11
    assert checkpoint_errors(fitted)


@pytest.mark.parametrize("estimator", QUANTITIES, ids=describe)
def test_wrapped_regressor_keeps_predictions(estimator: Any) -> None:
    """A regressor's graph gives its predictions in the target's own unit."""
    assert error(fit(estimator, 0)) < 1e-11


@pytest.mark.parametrize("inner", [TREES, LINEAR], ids=describe)
def test_bagging_over_drawn_features_keeps_probabilities(inner: Any) -> None:
    """Each member reads the features it drew, one of them perhaps twice."""
    bagging = BaggingClassifier(inner, 5, max_features=2, bootstrap_features=True, random_state=0)
    fitted = fit(bagging, 2, NUMBERS)

    assert error(fitted, NUMBERS) < 1e-11
    if inner is TREES:
        drawn = {int(i) for own in fitted.estimators_features_ for i in own}
        assert set(lowering.split_values(fitted, NUMBERS)) == {NUMBERS[i].name for i in drawn}


def test_bagging_over_drawn_features_refuses_categories() -> None:
    """A member that draws features cannot know which of them are categories."""
    with pytest.raises(LoweringError, match=r"use max_features=1\.0"):
        lowering.prepare(BaggingClassifier(TREES, max_features=0.5), SPECS)


@pytest.mark.parametrize(
    ("estimator", "threshold"),
    [
        (FixedThresholdClassifier(TREES, threshold=0.3), 0.3),
        (FixedThresholdClassifier(TREES), 0.5),
        (TunedThresholdClassifierCV(TREES, cv=3, scoring="f1"), None),
    ],
    ids=describe,
)
def test_threshold_is_told_and_the_graph_gives_the_probability(
    estimator: Any, threshold: float | None
) -> None:
    """Scores from the threshold on are what the estimator calls its second class."""
    fitted = fit(estimator)
    found = lowering.threshold_of(FrozenEstimator(fitted))

    assert found is not None
    assert found == threshold or threshold is None
    assert error(fitted) < 1e-11
    x = features(3)
    assert np.array_equal(fitted.predict(x), (fitted.predict_proba(x)[:, 1] >= found).astype(int))


def test_threshold_at_the_end_of_a_pipeline_is_told() -> None:
    """A pipeline calls positive what its last step does, from that step's threshold on."""
    ends = make_pipeline(StandardScaler(), FixedThresholdClassifier(LINEAR, threshold=0.3))

    assert lowering.threshold_of(make_pipeline("passthrough", ends)) == 0.3


def test_threshold_of_others_is_none() -> None:
    """An estimator without a threshold of its own leaves the declared one alone."""
    assert lowering.threshold_of(TREES) is None


@pytest.mark.parametrize(
    ("estimator", "remedy"),
    [
        (
            FixedThresholdClassifier(TREES, response_method="decision_function"),
            "use response_method='predict_proba'",
        ),
        (TunedThresholdClassifierCV(TREES, cv="prefit", refit=False), "FrozenEstimator"),
        (StackingClassifier([("a", TREES)], TREES, cv="prefit"), "FrozenEstimator"),
        (StackingClassifier([("a", TREES)], TREES, passthrough=True), "use passthrough=False"),
        (
            StackingClassifier([("a", TREES)], TREES, stack_method="predict"),
            "use stack_method='predict_proba'",
        ),
        (VotingClassifier([("a", TREES)], voting="hard"), "use voting='soft'"),
        (VotingClassifier([("a", Perceptron())], voting="soft"), "Perceptron"),
        (BaggingClassifier(Perceptron()), "Perceptron has no exact ONNX form"),
        (OneVsRestClassifier(Perceptron()), "Perceptron has no exact ONNX form"),
        (FrozenEstimator(Perceptron()), "Perceptron has no exact ONNX form"),
        (
            TransformedTargetRegressor(Ridge(), func=np.cbrt, inverse_func=np.exp2),
            "expected one of numpy.exp",
        ),
        (TransformedTargetRegressor(Ridge(), transformer=QuantileTransformer()), "StandardScaler"),
    ],
    ids=describe,
)
def test_what_cannot_be_lowered_is_refused_before_the_fit(estimator: Any, remedy: str) -> None:
    """Settings without an exact form are named, with the remedy."""
    with pytest.raises(LoweringError, match=remedy):
        lowering.check(estimator)


def test_threshold_on_the_first_class_is_refused() -> None:
    """The score is the probability of the second class; a threshold on the other is not its."""
    fitted = fit(FixedThresholdClassifier(TREES, threshold=0.3, pos_label=0))

    with pytest.raises(LoweringError, match="leave pos_label out"):
        lowering.lower_estimator(fitted, SPECS)


def test_bagging_whose_draw_lacks_a_class_is_refused() -> None:
    """A member that never saw a class gives a probability of fewer of them."""
    x = features(0)
    forest = make_pipeline(SimpleImputer(), FOREST)  # takes no weights, so rows are drawn
    bagging = BaggingClassifier(forest, 5, max_samples=3, random_state=0).fit(x, labels(x, 3))

    with pytest.raises(LoweringError, match="raise max_samples"):
        lowering.lower_estimator(bagging, SPECS)


def test_nested_estimators_tell_tolerance_and_libraries() -> None:
    """A committee is as exact as its least exact member, and says which that is."""

    class Coarse(Ridge):  # type: ignore[misc]  # no types
        """A regressor of a library that computes in float32."""

    lowering.register(Coarse, tolerance=1e-6)(lowering.family_of(Ridge()).lower)
    committee = VotingRegressor([("a", TransformedTargetRegressor(Coarse())), ("b", AMOUNTS)])

    tolerance, reason = tolerance_of(committee)

    assert tolerance == 1e-6
    assert "Coarse computes in float32" in reason
    assert tolerance_of(QUANTITIES[0]) == (1e-9, "")
    assert any(name.startswith("sklearn.") for name in modules_of(committee))
