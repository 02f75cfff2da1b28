"""A small synthetic table with everything that breaks conversions, for the lowering tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.columns import Column
from mlembed.features import clip, cyclic, hour_of_day, log1p, ratio
from mlembed.serving.session import Session
from mlembed.training.lowering import feature_specs, lower, lower_features, prepare, serialize

if TYPE_CHECKING:
    from mlembed.training.lowering import FeatureSpec

COLUMNS = (
    Column(name="age", kind="number", minimum=0.0, maximum=120.0),
    Column(name="gain", kind="number", nullable=True, minimum=0.0, exclusive_minimum=True),
    Column(name="empty", kind="number", nullable=True),
    Column(name="account", kind="integer"),
    Column(name="since", kind="timestamp", nullable=True),
    Column(name="member", kind="boolean"),
    Column(name="job", kind="category", vocabulary=tuple("abcdefg"), rare=True, nullable=True),
    Column(name="town", kind="category", vocabulary=tuple(f"t{i}" for i in range(90))),
)
NAMES = tuple(column.name for column in COLUMNS)
TRANSFORMS = {
    "log_gain": log1p("gain"),
    "per_year": ratio("gain", "age"),
    "hour": cyclic(hour_of_day("since", 1.0), 24.0),
    "grown": clip("age", 18.0, 67.0),
}
# Without "empty", which histogram gradient boosting cannot be fitted on in scikit-learn 1.9.
FEATURES = ("age", "log_gain", "per_year", "hour_sin", "hour_cos", "grown", *NAMES[3:])


def table(seed: int, n: int = 600) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return rows with missing values, unseen and unknown codes, skew, epochs and large ids."""
    random = np.random.default_rng(seed)
    x = np.column_stack(
        [
            random.uniform(17, 90, n),
            random.lognormal(4, 2, n),
            np.full(n, np.nan),
            2.0**31 + random.integers(0, 300, n),
            1.7e9 + random.integers(-(10**8), 10**8, n),
            random.integers(0, 2, n),
            random.choice(8, n, p=[0.5, 0.2, 0.1, 0.1, 0.05, 0.03, 0.0, 0.02]),
            random.integers(0, 80, n),
        ]
    )
    for position in (1, 4, 6):
        x[random.random(n) < 0.15, position] = np.nan
    return x


def target(x: np.ndarray[Any, Any], seed: int, kind: str) -> np.ndarray[Any, Any]:
    """Return a target every column has a say in: 0/1 for `binary`, above 0 for `regression`."""
    random = np.random.default_rng(seed + 1)
    filled = np.nan_to_num(x)
    signal = (
        0.03 * (filled[:, 0] - 50)
        + 0.3 * np.log1p(filled[:, 1])
        + 0.01 * (filled[:, 3] - 2.0**31 - 150)
        + np.where(np.isin(filled[:, 6], (0, 2, 4)), 1.0, -1.0)
        + np.where(filled[:, 7] % 3 == 0, 1.0, -0.5)
        + np.where(np.isnan(x[:, 4]), 1.0, 0.0)
        + random.normal(0, 0.3, len(x))
    )
    labels: np.ndarray[Any, Any] = np.exp(signal / 3)
    return (signal > np.median(signal)).astype(int) if kind == "binary" else labels


class Fitted:
    """An estimator fitted through the features graph, and both of its sides.

    Attributes:
        specs: The features it reads.
        estimator: Fitted scikit-learn estimator.
        model: Bytes of the full graph.
        features_model: Bytes of the features graph.
    """

    def __init__(
        self,
        estimator: Any,
        *,
        kind: str,
        seed: int = 0,
        features: tuple[str, ...] = FEATURES,
        rows: int = 600,
    ) -> None:
        x = table(seed, rows)
        self.specs: tuple[FeatureSpec, ...] = feature_specs(COLUMNS, TRANSFORMS, features)
        self.features_model = serialize(lower_features(COLUMNS, TRANSFORMS, features))
        matrix = Session(self.features_model).run_matrix(x).reshape(len(x), -1)
        self.estimator = prepare(estimator, self.specs).fit(matrix, target(x, seed, kind))
        self.model = serialize(lower(self.estimator, COLUMNS, TRANSFORMS, features))
