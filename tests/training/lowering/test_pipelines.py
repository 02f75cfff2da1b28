"""Candidates as users write them pass the proof that every bundle must pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import LinearSVC

from mlembed.training import lowering
from mlembed.training.proof import estimator_scores, prove
from training.census import COLUMNS, Fitted, table

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Bins whose width"),
    pytest.mark.filterwarnings("ignore:Features .* are constant"),
]
AMOUNTS = ["age", "log_gain", "per_year", "hour_sin", "hour_cos", "grown"]
CATEGORIES = ["job", "town"]
BUCKETS = OneHotEncoder(handle_unknown="ignore", min_frequency=20)
FILL = SimpleImputer(add_indicator=True)
BINS = KBinsDiscretizer(5, quantile_method="averaged_inverted_cdf")
BOOSTING = HistGradientBoostingClassifier(max_iter=15)


def encoded(numbers: Any, *rest: Any, remainder: Any = "drop") -> ColumnTransformer:
    """Return numbers and categories, each by its own steps."""
    return ColumnTransformer(
        [("num", numbers, AMOUNTS), ("cat", BUCKETS, CATEGORIES), *rest], remainder=remainder
    )


TARGET = ("te", TargetEncoder(), ["town"])
ORDINAL = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, min_frequency=5)
BINARY = [
    make_pipeline(
        encoded(make_pipeline(FILL, PowerTransformer()), TARGET, remainder="passthrough"), BOOSTING
    ),
    make_pipeline(
        ColumnTransformer([("o", ORDINAL, CATEGORIES)], remainder="passthrough"),
        HistGradientBoostingClassifier(
            max_iter=15, categorical_features=CATEGORIES, monotonic_cst={"age": 1}
        ),
    ),
    make_pipeline(
        encoded(
            make_pipeline(FILL, StandardScaler()),
            TARGET,
            remainder=make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()),
        ),
        LogisticRegression(max_iter=500),
    ),
    make_pipeline(
        encoded(
            make_pipeline(FILL, QuantileTransformer(n_quantiles=50, output_distribution="normal"))
        ),
        CalibratedClassifierCV(LinearSVC(random_state=0), cv=3),
    ),
    CalibratedClassifierCV(
        make_pipeline(encoded(make_pipeline(FILL, BINS)), LogisticRegression(max_iter=500)), cv=3
    ),
    make_pipeline(
        encoded(make_pipeline(FILL, StandardScaler(), PCA(3))),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2),
    ),
    make_pipeline(
        encoded(FILL),
        VarianceThreshold(),
        StandardScaler(),
        SelectKBest(k=6),
        MLPClassifier((6,), max_iter=20),
    ),
    make_pipeline(
        encoded(make_pipeline(FILL, SplineTransformer(extrapolation="constant"))),
        VotingClassifier(
            [("a", LogisticRegression(max_iter=500)), ("b", LogisticRegression(C=0.1))],
            voting="soft",
        ),
    ),
]
REGRESSION = [
    make_pipeline(
        ColumnTransformer(
            [
                (
                    "a",
                    make_pipeline(FILL, PolynomialFeatures(2), StandardScaler()),
                    ["age", "grown"],
                ),
                ("b", BUCKETS, make_column_selector(dtype_include="category")),
            ]
        ),
        PoissonRegressor(),
    ),
    make_pipeline(
        encoded(make_pipeline(FILL, StandardScaler())),
        TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
    ),
    make_pipeline(
        ColumnTransformer([("te", TargetEncoder(), CATEGORIES)], remainder="passthrough"),
        HistGradientBoostingRegressor(max_iter=15, loss="poisson"),
    ),
]


def passed(candidate: Any, kind: Any, seed: int) -> bool:
    """Tell whether *candidate* is proven on rows its fit never saw."""
    lowering.check(candidate)
    fitted = Fitted(candidate, kind=kind, seed=seed)
    x = table(seed + 1_000, 300)
    x[::7, 6] = 6.0
    x[::11, 7] = 85.0
    return prove(
        fitted.model,
        estimator_scores(fitted.estimator, fitted.features_model),
        x,
        COLUMNS,
        kind=kind,
        splits=lowering.split_values(fitted.estimator, fitted.specs),
        threshold=0.5,
        seed=seed,
    ).passed


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("number", range(len(BINARY)))
def test_pipeline_of_classifier_is_proven(number: int, seed: int) -> None:
    """Missing values, bounds, splits followed back, codes, ids and random rows all agree."""
    assert passed(BINARY[number], "binary", seed)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("number", range(len(REGRESSION)))
def test_pipeline_of_regressor_is_proven(number: int, seed: int) -> None:
    """The same for predictions of an amount."""
    assert passed(REGRESSION[number], "regression", seed)
