"""Quantile transforms agree at every quantile and its two neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import QuantileTransformer

from training.lowering.transforming import EMPTY, NUMBERS, attack, error, fit, ours, table

SPECS = (*NUMBERS, EMPTY)
TRANSFORMERS = [
    QuantileTransformer(n_quantiles=100),
    QuantileTransformer(n_quantiles=17, output_distribution="normal"),
    QuantileTransformer(n_quantiles=1),
    QuantileTransformer(n_quantiles=2, output_distribution="normal"),
    QuantileTransformer(n_quantiles=150, subsample=200, random_state=0),
    QuantileTransformer(
        n_quantiles=150, subsample=200, random_state=0, output_distribution="normal"
    ),
]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=str)
def test_quantiles_agree(transformer: Any, seed: int) -> None:
    """Ties of many quantiles, both bounds, missing values and empty columns are mapped alike."""
    x = table(seed)[:, :9]
    fitted = fit(transformer, x)
    at = fitted.quantiles_
    near = [at, np.nextafter(at, np.inf), np.nextafter(at, -np.inf), at + 1e-7, at - 1e-7]
    new = np.vstack([table(seed + 10)[:, :9], attack(x), *near])
    bound = 0.0 if transformer.output_distribution == "uniform" else 1e-14

    assert error(fitted, new, SPECS) <= bound


def test_quantiles_that_are_neighbouring_doubles_agree() -> None:
    """Between two neighbouring doubles there is no piece."""
    base = 2.0**53
    x = np.array([[base], [base], [base + 2], [base + 4], [np.nextafter(base + 4, np.inf)]])
    fitted = QuantileTransformer(n_quantiles=5).fit(x)

    assert error(fitted, np.vstack([x, x + 2, x - 2]), NUMBERS[:1]) == 0.0


def test_quantiles_take_no_row() -> None:
    """No row is no special case."""
    fitted = fit(TRANSFORMERS[1], table(0)[:, :9])

    assert ours(fitted, np.empty((0, 9)), SPECS).shape == (0, 9)
