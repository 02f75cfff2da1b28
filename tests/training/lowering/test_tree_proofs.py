"""The proof that stands before a bundle passes for every estimator made of trees."""

from __future__ import annotations

from typing import Any

import lightgbm
import pytest
import xgboost
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from mlembed.training.proving import prove_estimator
from training.census import COLUMNS, FEATURES, NAMES, TRANSFORMS, Fitted, table

N: dict[str, Any] = {"n_estimators": 8}
BINARY = [
    HistGradientBoostingClassifier(max_iter=8),
    RandomForestClassifier(**N, random_state=0),
    ExtraTreesClassifier(**N, random_state=0),
    DecisionTreeClassifier(random_state=0),
    ExtraTreeClassifier(random_state=0, splitter="best"),
    GradientBoostingClassifier(**N, random_state=0),
    GradientBoostingClassifier(**N, loss="exponential", random_state=0),
    lightgbm.LGBMClassifier(**N, verbose=-1, n_jobs=1),
    lightgbm.LGBMClassifier(**N, verbose=-1, n_jobs=1, zero_as_missing=True),
    xgboost.XGBClassifier(**N, n_jobs=1),
]
REGRESSION = [
    HistGradientBoostingRegressor(max_iter=8, loss="poisson"),
    RandomForestRegressor(**N, random_state=0),
    ExtraTreesRegressor(**N, random_state=0),
    DecisionTreeRegressor(random_state=0),
    ExtraTreeRegressor(random_state=0),
    GradientBoostingRegressor(**N, loss="huber", random_state=0),
    IsolationForest(n_estimators=8, random_state=0),
    lightgbm.LGBMRegressor(**N, objective="tweedie", verbose=-1, n_jobs=1),
    xgboost.XGBRegressor(**N, objective="reg:gamma", n_jobs=1),
]
CASES = [("binary", one) for one in BINARY] + [("regression", one) for one in REGRESSION]


@pytest.mark.parametrize("features", [FEATURES, NAMES], ids=["computed", "raw"])
@pytest.mark.parametrize(
    ("kind", "estimator"), CASES, ids=lambda item: getattr(type(item), "__name__", item)
)
def test_tree_models_pass_their_proof(kind: Any, estimator: Any, features: Any) -> None:
    """Raw columns, computed features, and one that is missing throughout: each is proved."""
    fitted = Fitted(estimator, kind=kind, features=features)

    proof = prove_estimator(
        fitted.estimator,
        COLUMNS,
        TRANSFORMS,
        features,
        table(1_000, 300),
        kind=kind,
        threshold=0.5,
        model=fitted.model,
    )

    assert proof.passed
    exact = not isinstance(estimator, (xgboost.XGBClassifier, xgboost.XGBRegressor))
    assert proof.tolerance == (1e-9 if exact else 1e-6)
