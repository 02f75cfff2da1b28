"""What a linear model makes of its sums: a score, by class and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
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
from sklearn.svm import LinearSVC, LinearSVR

from mlembed.errors import LoweringError
from mlembed.training.lowering.decisions import is_decision_enough
from mlembed.training.lowering.preprocessing.accurate import logistic
from mlembed.training.lowering.preprocessing.scalers import clip
from mlembed.training.lowering.registry import class_name

if TYPE_CHECKING:
    from mlembed.training.lowering.graph import Builder

REGRESSORS = (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    HuberRegressor,
    Lars,
    LarsCV,
    Lasso,
    LassoCV,
    LassoLars,
    LassoLarsCV,
    LassoLarsIC,
    LinearRegression,
    LinearSVR,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    QuantileRegressor,
    Ridge,
    RidgeCV,
    SGDRegressor,
    TheilSenRegressor,
)
GENERALISED = (GammaRegressor, PoissonRegressor, TweedieRegressor)
SOFTMAX = (LinearDiscriminantAnalysis, LogisticRegression, LogisticRegressionCV)
MARGINS = (LinearSVC, RidgeClassifier, RidgeClassifierCV)
LINEAR = (*REGRESSORS, *GENERALISED, *SOFTMAX, *MARGINS, SGDClassifier)

_WITH_PROBABILITY = ("log_loss", "modified_huber")


def check_linear(estimator: Any) -> None:
    """Refuse linear models whose score has no exact form.

    Raises:
        LoweringError: If it gives no probability where one is needed, or has a link of old.
    """
    if type(estimator) is SGDClassifier and estimator.loss not in _WITH_PROBABILITY:
        _need_probability(estimator, "use loss='log_loss', or calibrate it with")
    if type(estimator) in MARGINS:
        _need_probability(estimator, "use LogisticRegression, or calibrate it with")
    # scikit-learn before 1.8 lets a logistic regression be several.
    if getattr(estimator, "multi_class", "auto") not in ("auto", "deprecated", "ovr"):
        raise LoweringError(
            f"{class_name(estimator)}: multi_class is set, and two classes get another "
            "probability then; leave multi_class alone"
        )


def _need_probability(estimator: Any, remedy: str) -> None:
    if not is_decision_enough():
        raise LoweringError(
            f"{class_name(estimator)}: gives no probability to serve as a score; "
            f"{remedy} CalibratedClassifierCV"
        )


def lower_link(estimator: Any, builder: Builder, sums: str, n_sums: int) -> str:
    """Add the nodes from the sums, double[N, n_sums], to the score of a linear model."""
    kind = type(estimator)
    if kind in REGRESSORS:
        return sums
    if kind in GENERALISED:
        link = type(estimator._base_loss.link).__name__  # noqa: SLF001  no public name
        return {"IdentityLink": lambda: sums, "LogLink": lambda: builder.node("Exp", sums)}[link]()
    if kind in MARGINS:
        _refuse_score(estimator)
    if kind is SGDClassifier:
        return _stochastic(estimator, builder, sums, n_sums)
    if n_sums == 1:
        return builder.node("Sigmoid", sums)
    if getattr(estimator, "solver", "") == "liblinear" or (
        getattr(estimator, "multi_class", "auto") == "ovr"
    ):
        return _shares(builder, logistic(builder, sums), n_sums)
    return builder.node("Softmax", sums, axis=1)


def _stochastic(estimator: Any, builder: Builder, sums: str, n_sums: int) -> str:
    if estimator.loss not in _WITH_PROBABILITY:
        _refuse_score(estimator)
    if estimator.loss == "log_loss":
        if n_sums == 1:
            return builder.node("Sigmoid", sums)
        return _shares(builder, logistic(builder, sums), n_sums)
    raised = builder.node("Add", clip(builder, sums, -1.0, 1.0), builder.constant(1.0))
    parts = builder.node("Div", raised, builder.constant(2.0))
    return parts if n_sums == 1 else _shares(builder, parts, n_sums)


def _shares(builder: Builder, parts: str, n_parts: int) -> str:
    """Divide each row by its sum; a row of zeros becomes equal shares."""
    axis = builder.constant([1], np.int64)
    total = builder.node("ReduceSum", parts, axis, keepdims=1)
    nothing = builder.node("Equal", total, builder.constant(0.0))
    shares = builder.node("Div", parts, total)
    return builder.node("Where", nothing, builder.constant(1.0 / n_parts), shares)


def _refuse_score(estimator: Any) -> NoReturn:
    raise LoweringError(
        f"{class_name(estimator)}: gives no probability to serve as a score; "
        "calibrate it with CalibratedClassifierCV"
    )
