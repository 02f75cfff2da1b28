"""Pipelines as users write them, and what they are fitted on, for the tests of pipelines."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

from training.lowering.transforming import (
    SPECS,
    attack,
    table,
)

NAMES = [spec.name for spec in SPECS]
NUMBERS = ["age", "gain", "since"]
CODES = ["job", "town"]
ORDINAL = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
ONE_HOT = OneHotEncoder(handle_unknown="ignore", min_frequency=20)
FILLED = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
FINAL = HistGradientBoostingClassifier(max_iter=15)


def whole(final: Any) -> Any:
    """Return a candidate as a user writes it."""
    return make_pipeline(
        ColumnTransformer(
            [
                ("num", FILLED, ["age", "gain"]),
                ("cat", ONE_HOT, CODES),
                ("te", TargetEncoder(), ["town"]),
            ],
            remainder=SimpleImputer(keep_empty_features=True),
        ),
        StandardScaler(),
        final,
    )


def target(x: Any, n_classes: int = 2) -> Any:
    """Return classes that age, missing values and towns have a say in."""
    filled = np.nan_to_num(x)
    signal = filled[:, 0] / 12 + filled[:, 10] % 3 + np.isnan(x[:, 5])
    return np.searchsorted(np.quantile(signal, np.arange(1, n_classes) / n_classes), signal)


def hard(seed: int) -> Any:
    """Return new rows with unknown codes, rows all missing and values out of range."""
    x = np.vstack([table(seed), attack(table(0)), np.full((1, len(SPECS)), np.nan)])
    x[::9, 10] = 77.0
    return x
