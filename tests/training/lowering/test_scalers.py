"""Scalers keep every bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import (
    Binarizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)

from training.lowering.transforming import (
    EMPTY,
    N_NUMBERS,
    NUMBERS,
    SPECS,
    attack,
    error,
    fit,
    numbers,
    ours,
    table,
)

SCALERS = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    StandardScaler(with_std=False),
    StandardScaler(with_mean=False, with_std=False),
    MinMaxScaler(),
    MinMaxScaler((-1, 3), clip=True),
    MaxAbsScaler(),
    MaxAbsScaler(clip=True),
    RobustScaler(),
    RobustScaler(quantile_range=(5, 95), unit_variance=True),
    RobustScaler(with_centering=False),
    RobustScaler(with_scaling=False),
]
ROW_WISE = [Normalizer(), Normalizer("l1"), Normalizer("max"), Binarizer(), Binarizer(threshold=3)]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("scaler", SCALERS, ids=str)
def test_scaler_keeps_every_bit(scaler: Any, seed: int) -> None:
    """Missing values, large ids and values far outside the fitted range are scaled alike."""
    x = table(seed)[:, : N_NUMBERS + 1]
    fitted = fit(scaler, x)
    new = np.vstack([table(seed + 10)[:, : N_NUMBERS + 1], attack(x)])

    assert error(fitted, new, (*NUMBERS, EMPTY)) == 0.0


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("scaler", ROW_WISE, ids=str)
def test_row_wise_scaler_agrees(scaler: Any, seed: int) -> None:
    """A row is normalised or cut by its own values, one of zeros too."""
    x = numbers(seed)
    new = np.vstack([numbers(seed + 10), attack(x), np.zeros((1, N_NUMBERS))])

    assert error(fit(scaler, x), new, NUMBERS) <= 1e-15


@pytest.mark.parametrize("scaler", [*SCALERS, *ROW_WISE], ids=str)
@pytest.mark.parametrize("n_rows", [0, 1])
def test_scaler_takes_few_rows_and_one_feature(scaler: Any, n_rows: int) -> None:
    """No row, one row and one feature are no special case."""
    fitted = fit(scaler, numbers(0)[:, :1])
    new = numbers(1)[:n_rows, :1]

    if n_rows:
        assert error(fitted, new, SPECS[:1]) <= 1e-15
    else:
        assert ours(fitted, new, SPECS[:1]).shape == (0, 1)
