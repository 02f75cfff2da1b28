"""Thresholds of trees are followed back to the features that were asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from mlembed.training import lowering
from mlembed.training.lowering.composition import rows_of
from mlembed.training.lowering.tracing import sources_behind
from training.lowering.agreement import estimator_scores, graph_scores
from training.lowering.candidates import FILLED, FINAL, target
from training.lowering.transforming import (
    SPECS,
    distance,
    fit,
    table,
    theirs,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_splits_are_followed_back() -> None:
    """A threshold behind scalers, imputers and chosen columns is one of the original feature."""
    x = table(0)[:, :8]
    specs = SPECS[:8]
    logs = make_pipeline(FunctionTransformer(np.log1p), StandardScaler())
    union = FeatureUnion([("x", MinMaxScaler()), ("y", logs)], transformer_weights={"y": 2.0})
    encode = ColumnTransformer(
        [
            ("c", union, ["id24"]),
            ("a", FILLED, ["gain", "age"]),
            ("b", "passthrough", ["id31"]),
        ],
        transformer_weights={"b": 2.0},
    )
    fitted = fit(lowering.prepare(make_pipeline(encode, FINAL), specs), x, target(table(0)))
    splits = lowering.split_values(fitted, specs)

    assert set(splits) <= {"gain", "age", "id24"}
    assert "age" in splits
    for name, values in splits.items():
        assert _changes(fitted, x, specs, name, values), name


def _changes(fitted: Any, x: Any, specs: Sequence[Any], name: str, values: Sequence[float]) -> bool:
    """Tell whether the score of some row changes within the neighbourhood of a threshold."""
    position = [spec.name for spec in specs].index(name)
    rows = np.repeat(x[:20], len(values), axis=0)
    rows[:, position] = np.tile(values, 20)
    scores = fitted.predict_proba(rows)[:, 1].reshape(20, -1)
    return bool((np.diff(scores, axis=1) != 0).any())


@pytest.mark.parametrize(
    ("steps", "followed"),
    [
        ([VarianceThreshold(), "passthrough"], {"age", "gain"}),
        ([FunctionTransformer(np.sqrt), StandardScaler()], {"age", "gain"}),
        ([FunctionTransformer(np.abs)], set()),
        ([SimpleImputer(missing_values=-1)], set()),
        ([SimpleImputer(add_indicator=True)], {"age", "gain"}),
        ([PCA(2)], set()),
    ],
    ids=range(6),
)
def test_splits_are_followed_through_rising_steps_alone(
    steps: list[Any], followed: set[str]
) -> None:
    """What goes up and down, or mixes features, has no threshold on one of them."""
    x = np.abs(table(0, missing=0.0)[:, :2]) + 1
    y = ((x[:, 0] > 40) ^ (x[:, 1] > 60)).astype(int)
    fitted = make_pipeline(*steps, FINAL).fit(x, y)

    splits = lowering.split_values(fitted, SPECS[:2])

    assert set(splits) == followed
    new = np.abs(table(1, missing=0.0)[:, :2]) + 1
    near = [graph_scores(fitted, new, SPECS[:2]), estimator_scores(fitted, new)]
    assert distance(*near) <= 1e-9


@pytest.mark.parametrize(
    "step",
    [
        StandardScaler(),
        StandardScaler(with_mean=False, copy=False),
        MinMaxScaler(clip=True),
        MaxAbsScaler(),
        RobustScaler(),
        PowerTransformer(copy=False),
        QuantileTransformer(n_quantiles=5),
        QuantileTransformer(n_quantiles=50, output_distribution="normal"),
    ],
    ids=repr,
)
def test_source_is_the_column_of_the_whole_step(step: Any) -> None:
    """A column computed alone is that of the whole matrix to the bit, and changes no input."""
    x = table(0)[:, [0, 1, 5, 6, 7]]
    fitted = fit(step, x.copy())
    before = x.copy()

    columns = [source(x[:, i]) for i, source in enumerate(sources_behind([fitted], 5)) if source]

    assert np.array_equal(x, before, equal_nan=True)
    assert np.array_equal(np.column_stack(columns), theirs(fitted, x.copy()), equal_nan=True)
    assert np.array_equal(rows_of(fitted)(x), theirs(fitted, x.copy()), equal_nan=True)
    assert np.array_equal(x, before, equal_nan=True)
