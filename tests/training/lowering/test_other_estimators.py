"""Perceptrons, Gaussian classifiers, support vectors, baselines and what skl2onnx may lower."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cross_decomposition import PLSRegression
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.naive_bayes import ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer
from sklearn.svm import SVC, SVR, NuSVC, NuSVR

from mlembed.errors import LoweringError
from mlembed.serving.session import Session
from mlembed.training import lowering
from training.lowering.agreement import SPECS, error, features, fit, labels
from training.lowering.transforming import distance

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
QUICK = {"max_iter": 15, "random_state": 0}
REGRESSORS = [
    MLPRegressor(hidden_layer_sizes=(8,), **QUICK),
    MLPRegressor(hidden_layer_sizes=(8, 4), activation="tanh", loss="poisson", **QUICK),
    MLPRegressor(hidden_layer_sizes=(6,), activation="identity", **QUICK),
    DummyRegressor(),
    DummyRegressor(strategy="median"),
    DummyRegressor(strategy="quantile", quantile=0.9),
    DummyRegressor(strategy="constant", constant=3),
    SVR(),
    SVR(kernel="linear"),
    SVR(kernel="poly", coef0=0.5),
    SVR(kernel="poly", degree=0),
    SVR(kernel="sigmoid", gamma=0.01),
    NuSVR(gamma="auto"),
    PLSRegression(),
    PLSRegression(1, scale=False),
]
CLASSIFIERS = [
    MLPClassifier((8,), **QUICK),
    MLPClassifier((8, 4), activation="logistic", **QUICK),
    MLPClassifier((), **QUICK),
    GaussianNB(),
    GaussianNB(priors=None, var_smoothing=1e-3),
    QuadraticDiscriminantAnalysis(reg_param=0.1),
    CalibratedClassifierCV(QuadraticDiscriminantAnalysis(reg_param=0.1), cv=3),
    CalibratedClassifierCV(GaussianNB(), cv=3),
    DummyClassifier(),
    DummyClassifier(strategy="most_frequent"),
    DummyClassifier(strategy="uniform"),
    DummyClassifier(strategy="constant", constant=1),
]


def short(estimator: Any) -> str:
    """Name a case."""
    return repr(estimator).replace("\n", "").replace(" ", "")[:70]


@pytest.mark.parametrize("estimator", REGRESSORS, ids=short)
def test_regressor_agrees(estimator: Any) -> None:
    """Every regressor of the list gives its predictions to twelve digits."""
    lowering.check(estimator)

    assert error(fit(estimator, 0)) <= 1e-12


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=short)
def test_classifier_agrees(estimator: Any, n_classes: int) -> None:
    """Every classifier of the list gives its probabilities, for two classes and for three."""
    lowering.check(estimator)

    assert error(fit(estimator, n_classes)) <= 1e-12


@pytest.mark.parametrize(
    "inner", [SVC(), SVC(kernel="poly", degree=2), NuSVC(kernel="linear", nu=0.3)], ids=short
)
def test_support_vectors_are_calibrated(inner: Any) -> None:
    """A support vector classifier serves through its decision function."""
    candidate = CalibratedClassifierCV(inner, cv=3)
    lowering.check(candidate)

    assert error(fit(candidate)) <= 1e-10
    with pytest.raises(LoweringError, match=r"pairwise coupling.*CalibratedClassifierCV"):
        lowering.check(inner)
    with pytest.raises(LoweringError, match="no probability"):
        lowering.lower_estimator(fit(candidate).calibrated_classifiers_[0].estimator, SPECS)


def test_support_vectors_of_three_classes_are_refused() -> None:
    """Pairs of classes are decided by libsvm, which calibration of three classes would read."""
    fitted = fit(CalibratedClassifierCV(SVC(), cv=3), 3)

    with pytest.raises(LoweringError, match=r"3 classes pair by pair.*OneVsRest"):
        lowering.lower_estimator(fitted, SPECS)


@pytest.mark.parametrize("estimator", [MultinomialNB(), ComplementNB()], ids=short)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_counts_agree(estimator: Any, n_classes: int) -> None:
    """What skl2onnx may lower is right to the proof's bound, behind the user's own steps."""
    bins = KBinsDiscretizer(2, quantile_method="averaged_inverted_cdf")
    x = np.nan_to_num(features(0))
    fitted = make_pipeline(bins, estimator).fit(x, labels(features(0), n_classes))
    new = np.nan_to_num(features(1))
    wanted = fitted.predict_proba(new)

    model = lowering.serialize(lowering.lower_estimator(fitted, SPECS)[0])

    got = Session(model).run_matrix(new)
    assert distance(got, wanted if n_classes > 2 else wanted[:, 1]) <= 1e-12


def test_baseline_takes_no_row() -> None:
    """A constant score has as many rows as there are records."""
    model = lowering.lower_estimator(fit(DummyRegressor(), 0), SPECS)[0]

    assert Session(lowering.serialize(model)).run_matrix(features(0)[:3]).shape == (3,)


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (DummyClassifier(strategy="stratified"), "at random.*prior"),
        (KNeighborsClassifier(), "at one distance.*forest"),
        (KNeighborsRegressor(), "at one distance"),
        (RadiusNeighborsClassifier(), "at one distance"),
        (RadiusNeighborsRegressor(), "at one distance"),
        (GaussianProcessClassifier(), "cancel"),
        (GaussianProcessRegressor(), "cancel.*SVR"),
        (SVR(kernel=np.dot), "the kernel is Python"),
        (SVR(kernel="precomputed"), "the kernel is Python"),
    ],
    ids=range(9),
)
def test_estimator_is_refused_by_name(estimator: Any, words: str) -> None:
    """What cannot be exact is refused before training, with the reason and the remedy."""
    with pytest.raises(LoweringError, match=rf"{type(estimator).__name__}.*{words}"):
        lowering.check(estimator)


def test_refused_estimators_are_refused_when_fitted() -> None:
    """A fitted estimator that nobody checked is refused as well."""
    x = np.nan_to_num(features(0))

    with pytest.raises(LoweringError, match="at one distance"):
        lowering.lower_estimator(KNeighborsRegressor().fit(x, x[:, 0]), SPECS)


@pytest.mark.parametrize(
    "estimator", [MLPRegressor(hidden_layer_sizes=(3,), **QUICK), PLSRegression(1)], ids=short
)
def test_two_outputs_are_refused(estimator: Any) -> None:
    """A model of two targets has no single score."""
    x = np.random.default_rng(0).normal(size=(60, 4))

    with pytest.raises(LoweringError, match="outputs, expected one"):
        lowering.lower_estimator(estimator.fit(x, x[:, :2]), SPECS)
