"""Linear models of every link, number of classes and encoding score like their graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lars,
    LarsCV,
    Lasso,
    LassoCV,
    LassoLars,
    LassoLarsCV,
    LassoLarsIC,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    Perceptron,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TheilSenRegressor,
    TweedieRegressor,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR

from mlembed.errors import LoweringError
from mlembed.serving.session import Session
from mlembed.training import lowering
from mlembed.training.lowering import Builder, FeatureSpec
from training.lowering.agreement import SPECS, error, features, fit
from training.lowering.transforming import distance

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

REGRESSORS = [
    ARDRegression(),
    BayesianRidge(),
    ElasticNet(),
    ElasticNetCV(),
    HuberRegressor(),
    Lars(),
    LarsCV(),
    Lasso(alpha=0.01),
    LassoCV(),
    LassoLars(alpha=0.01),
    LassoLarsCV(),
    LassoLarsIC(),
    LinearRegression(),
    LinearRegression(fit_intercept=False),
    LinearRegression(positive=True),
    LinearSVR(random_state=0),
    OrthogonalMatchingPursuit(),
    OrthogonalMatchingPursuitCV(),
    QuantileRegressor(),
    Ridge(),
    RidgeCV(),
    SGDRegressor(random_state=0),
    SGDRegressor(random_state=0, average=True),
    TheilSenRegressor(random_state=0, max_subpopulation=200),
    GammaRegressor(),
    PoissonRegressor(),
    TweedieRegressor(),
    TweedieRegressor(power=1.5),
    TweedieRegressor(power=1, link="identity"),
    TweedieRegressor(power=3, link="log"),
    TweedieRegressor(power=0, link="log"),
]
CLASSIFIERS = [
    LogisticRegression(),
    LogisticRegression(fit_intercept=False),
    LogisticRegression(solver="saga", l1_ratio=0.5, random_state=0),
    LogisticRegressionCV(Cs=3),
    SGDClassifier(loss="log_loss", random_state=0),
    SGDClassifier(loss="modified_huber", random_state=0),
    LinearDiscriminantAnalysis(),
    LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3),
    LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto"),
]
MARGINS = [
    LinearSVC(random_state=0),
    RidgeClassifier(),
    RidgeClassifierCV(),
    SGDClassifier(random_state=0),
]


def short(estimator: Any) -> str:
    """Name a case."""
    return repr(estimator).replace("\n", "").replace(" ", "")[:60]


@pytest.mark.parametrize("estimator", REGRESSORS, ids=short)
def test_linear_regression_agrees(estimator: Any) -> None:
    """Every linear regressor is its weighted sum, through its link."""
    lowering.check(estimator)

    assert error(fit(estimator, 0)) <= 1e-12


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=short)
def test_linear_classifier_agrees(estimator: Any, n_classes: int) -> None:
    """Two classes have one probability, more have one each."""
    lowering.check(estimator)

    assert error(fit(estimator, n_classes)) <= 1e-12


def test_liblinear_agrees() -> None:
    """The solver for two classes gives the same kind of probability."""
    assert error(fit(LogisticRegression(solver="liblinear"))) <= 1e-12


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("estimator", [*CLASSIFIERS, *MARGINS], ids=short)
def test_linear_decision_agrees(estimator: Any, n_classes: int) -> None:
    """The decision function, which calibration reads, is lowered with or without the encoding."""
    calibrated = fit(CalibratedClassifierCV(estimator, cv=3), n_classes)
    inner = calibrated.calibrated_classifiers_[0].estimator
    builder = Builder(len(SPECS))
    width = 1 if n_classes == 2 else n_classes
    result = lowering.decide(inner, builder, "x", SPECS)
    x = features(3)

    got = Session(lowering.serialize(builder.model(result, "d", width))).run_matrix(x)

    assert distance(got, np.asarray(inner.decision_function(x))) <= 1e-12
    assert error(calibrated) <= 1e-12


@pytest.mark.parametrize("estimator", [CLASSIFIERS[0], CLASSIFIERS[4], CLASSIFIERS[5]], ids=short)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_linear_classifier_agrees_far_outside(estimator: Any, n_classes: int) -> None:
    """Shares of probabilities that are next to nothing, or nothing, are those of the library."""
    x = np.random.default_rng(0).normal(size=(300, 2))
    candidate = make_pipeline(StandardScaler(), estimator)
    y = np.digitize(x[:, 0], [0.0, 0.7][: n_classes - 1])
    specs = (FeatureSpec("a"), FeatureSpec("b"))
    fitted = lowering.prepare(candidate, specs).fit(x, y)
    far = np.vstack([x * 10.0**power for power in range(-3, 5)])
    model = lowering.serialize(lowering.lower_estimator(fitted, specs)[0])
    wanted = fitted.predict_proba(far)

    got = Session(model).run_matrix(far)

    assert distance(got, wanted if n_classes > 2 else wanted[:, 1]) <= 1e-9


def test_linear_pipeline_of_three_classes_keeps_its_width() -> None:
    """More sums than one are lowered behind the encoding, not inside of it."""
    fitted = fit(LogisticRegression(), 3)
    graph = lowering.lower_estimator(fitted, SPECS)[0].graph

    assert [node.op_type for node in graph.node][-2:] == ["Gemm", "Softmax"]
    assert graph.output[0].type.tensor_type.shape.dim[1].dim_value == 3


def test_linear_pipeline_of_two_classes_stays_short() -> None:
    """The form for speed: categories are one tree operator that feeds the product."""
    graph = lowering.lower_estimator(fit(LogisticRegression()), SPECS)[0].graph

    assert [node.op_type for node in graph.node] == [
        *("TreeEnsemble", "IsNaN", "Where", "Sub", "Gemm", "Sigmoid")
    ]


@pytest.mark.parametrize("estimator", MARGINS, ids=short)
def test_classifier_without_probability_is_refused_by_name(estimator: Any) -> None:
    """A candidate that gives no probability is refused before training, with the remedy."""
    for candidate in (estimator, make_pipeline(StandardScaler(), estimator)):
        with pytest.raises(LoweringError, match=r"no probability.*CalibratedClassifierCV"):
            lowering.check(candidate)
        lowering.check(CalibratedClassifierCV(candidate))

    x = np.random.default_rng(0).normal(size=(50, 1))
    with pytest.raises(LoweringError, match="no probability"):
        lowering.lower_estimator(estimator.fit(x, (x[:, 0] > 0).astype(int)), SPECS[:1])


def test_perceptron_is_refused() -> None:
    """An estimator nobody lowered is named, and what can be lowered is listed."""
    with pytest.raises(LoweringError, match=r"Perceptron has no exact ONNX form.*LogisticReg"):
        lowering.check(Perceptron())


def test_several_outputs_are_refused() -> None:
    """A model of two targets has no single score."""
    x = features(0)[:, :1]
    fitted = LinearRegression().fit(np.nan_to_num(x), np.zeros((len(x), 2)))

    with pytest.raises(LoweringError, match="2 outputs"):
        lowering.lower_estimator(fitted, SPECS[:1])


def test_old_multinomial_is_refused() -> None:
    """A setting of earlier releases, which changes two-class probabilities, is refused."""
    estimator = LogisticRegression()
    estimator.multi_class = "multinomial"

    with pytest.raises(LoweringError, match="multi_class"):
        lowering.check(estimator)


def test_old_liblinear_shares_probabilities() -> None:
    """Releases that let liblinear tell several classes apart share the classes' probabilities."""
    x = np.random.default_rng(0).normal(size=(90, 1))
    fitted = OneVsRestClassifier(LogisticRegression()).fit(x, np.arange(90) % 3)
    old = LogisticRegression(solver="liblinear")
    old.classes_ = fitted.classes_
    old.coef_ = np.vstack([item.coef_ for item in fitted.estimators_])
    old.intercept_ = np.concatenate([item.intercept_ for item in fitted.estimators_])
    model = lowering.serialize(lowering.lower_estimator(old, SPECS[:1])[0])

    assert distance(Session(model).run_matrix(x), fitted.predict_proba(x)) <= 1e-12
