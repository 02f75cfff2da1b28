"""Calibrated scores of a graph are those of scikit-learn, knots and links included."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from mlembed.errors import LoweringError
from mlembed.training import lowering
from mlembed.training.lowering import FeatureSpec
from training.lowering.agreement import (
    SPECS,
    checkpoint_errors,
    error,
    features,
    fit,
    graph_scores,
    labels,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*converge.*")

ONE = (FeatureSpec("age"),)
METHODS = ("sigmoid", "isotonic", "temperature")
BASES = {
    "boosting": HistGradientBoostingClassifier(max_iter=20),
    "forest": RandomForestClassifier(20, random_state=0),
    "logistic": LogisticRegression(max_iter=500),
    "vectors": None,  # scikit-learn's default, which has no probability
    "pipeline": make_pipeline(
        SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=500)
    ),
    "mlp": MLPClassifier((6,), max_iter=30, random_state=0),
}
# Of the network two classes, and no temperature: the logarithm of 1e-12 more than 1 - p makes
# 1e-9 of its last digit.
CASES = [
    (base, method, n_classes)
    for base in BASES
    for method in METHODS
    for n_classes in (2, 3)
    if base != "mlp" or (method != "temperature" and n_classes == 2)
]


@pytest.mark.parametrize("ensemble", [True, False])
@pytest.mark.parametrize(("base", "method", "n_classes"), CASES)
def test_calibration_keeps_probabilities(
    base: str, method: str, ensemble: Any, n_classes: int
) -> None:
    """Each method over each kind of response gives scikit-learn's probabilities."""
    calibrated = CalibratedClassifierCV(BASES[base], method=method, cv=3, ensemble=ensemble)

    assert error(fit(calibrated, n_classes)) < 1e-11


@pytest.mark.parametrize("method", METHODS)
def test_calibration_of_a_frozen_estimator_keeps_probabilities(method: str) -> None:
    """An estimator fitted before is calibrated on a later slice."""
    frozen = FrozenEstimator(fit(BASES["boosting"]))
    x = features(5)

    calibrated = CalibratedClassifierCV(frozen, method=method).fit(x, labels(x, 2))

    assert len(calibrated.calibrated_classifiers_) == 1
    assert error(calibrated) < 1e-11


def test_calibration_of_rows_without_any_class_gives_all_the_same() -> None:
    """Where every class's calibrator says zero, each class gets an equal share."""
    x = np.repeat(np.arange(6.0), 50)[:, np.newaxis]
    y = np.repeat([0, 1, 2, 0, 1, 2], 50)
    tree = DecisionTreeClassifier(max_leaf_nodes=2).fit(x, y)
    calibrated = CalibratedClassifierCV(FrozenEstimator(tree), method="isotonic").fit(x, y)
    for calibrator in calibrated.calibrated_classifiers_[0].calibrators:
        calibrator.fit([0.0, 1.0], [0.0, 0.0])

    found = graph_scores(calibrated, x, ONE)

    assert np.array_equal(found, np.full((300, 3), 1 / 3))
    assert np.array_equal(found, calibrated.predict_proba(x))


def test_calibration_gives_its_estimators_categories_and_thresholds() -> None:
    """What is calibrated is prepared as if it stood alone, and its splits are probed."""
    fitted = fit(CalibratedClassifierCV(BASES["boosting"], cv=3))

    inner = fitted.calibrated_classifiers_[0].estimator
    assert inner.is_categorical_.tolist() == [False, False, False, True]
    assert set(lowering.split_values(fitted, SPECS)) >= {"age", "gain"}


def test_calibration_of_a_fold_without_a_class_is_refused() -> None:
    """Folds by position can lack a class; scikit-learn then calibrates the wrong ones."""
    x = features(0)
    calibrated = CalibratedClassifierCV(BASES["forest"], cv=KFold(3))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = calibrated.fit(x, np.repeat([0, 1, 2], [300, 100, 100]))

    with pytest.raises(LoweringError, match="lacks a class; use stratified folds"):
        lowering.lower_estimator(fitted, SPECS)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("increasing", [True, False])
def test_isotonic_is_exact_at_its_knots_and_beside_them(dtype: Any, increasing: Any) -> None:
    """The line between two knots is scikit-learn's to the bit, in doubles and in floats."""
    random = np.random.default_rng(0)
    x = random.normal(size=2_000).astype(dtype)
    y = (random.random(2_000) < 1 / (1 + np.exp(-2 * x))).astype(dtype)
    regression = IsotonicRegression(out_of_bounds="clip", increasing=increasing).fit(x, y)
    knots = regression.X_thresholds_

    around = [np.nextafter(knots, dtype(-np.inf)), knots, np.nextafter(knots, dtype(np.inf))]
    points = np.concatenate([*around, random.normal(size=500), [-1e30, 1e30]]).astype(dtype)
    found = graph_scores(regression, points[:, np.newaxis].astype(np.float64), ONE)

    assert knots.dtype == dtype
    assert np.array_equal(found, regression.predict(points).astype(np.float64))


@pytest.mark.parametrize("x", [[1.0, 1.0, 1.0], [1.0, 2.0, 2.0], [0.0, 5e-324, 1.0]])
def test_isotonic_takes_repeated_and_crowded_knots(x: list[float]) -> None:
    """One knot, equal ones and ones without a double between them are no special case."""
    regression = IsotonicRegression(out_of_bounds="clip").fit(x, [0.0, 1.0, 1.0])
    points = np.array([-1.0, 0.0, 5e-324, 0.5, 1.0, 1.5, 2.0, 3.0])

    found = graph_scores(regression, points[:, np.newaxis], ONE)

    assert np.array_equal(found, regression.predict(points))


@pytest.mark.parametrize("rule", ["nan", "raise"])
def test_isotonic_without_clipping_is_refused(rule: Any) -> None:
    """A score that is no number beyond the training range is refused before the fit."""
    with pytest.raises(LoweringError, match="use out_of_bounds='clip'"):
        lowering.check(IsotonicRegression(out_of_bounds=rule))


def test_isotonic_of_several_features_is_refused() -> None:
    """It reads one number; more columns or a category are named before the fit."""
    with pytest.raises(LoweringError, match="got 4 features, expected one number"):
        lowering.prepare(IsotonicRegression(out_of_bounds="clip"), SPECS)


@pytest.mark.parametrize("nested", [False, True])
def test_isotonic_of_what_computes_in_float32_is_refused(nested: bool) -> None:  # noqa: FBT001
    """Its steps make any score of a last digit, which no proof allows; other methods are smooth."""
    boosting: Any = pytest.importorskip("xgboost").XGBClassifier()
    if nested:
        boosting = VotingClassifier([("x", boosting), ("f", BASES["forest"])], voting="soft")

    with pytest.raises(LoweringError, match=r"XGBClassifier computes in float32.+use 'sigmoid' or"):
        lowering.check(CalibratedClassifierCV(boosting, method="isotonic"))

    lowering.check(CalibratedClassifierCV(boosting, method="sigmoid"))
    lowering.check(CalibratedClassifierCV(boosting, method="temperature"))


def test_calibration_of_an_unknown_estimator_is_refused() -> None:
    """What cannot be lowered inside is named before the fit."""
    with pytest.raises(LoweringError, match="AdaBoostClassifier has no exact ONNX form"):
        lowering.check(CalibratedClassifierCV(AdaBoostClassifier()))


def test_calibration_names_what_its_tensors_should_be() -> None:
    """Response and calibrated value of each fold are checkpoints of a failed proof."""
    x = features(0)
    calibrated = CalibratedClassifierCV(BASES["boosting"], method="isotonic", cv=3)
    calibrated.fit(x, labels(x, 2))

    assert checkpoint_errors(calibrated) == {
        "decision_function of HistGradientBoostingClassifier": (20, 1),
        "isotonic calibration of HistGradientBoostingClassifier": (20, 1),
    }
