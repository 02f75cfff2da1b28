"""Power transforms agree to the last digits, and say where they cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import PowerTransformer

from mlembed.errors import LoweringError
from training.lowering.transforming import NUMBERS, attack, error, fit, numbers, ours, table

KEPT = [0, 1, 5, 6, 7]
SPECS = [NUMBERS[position] for position in KEPT]


def spread(seed: int) -> Any:
    """Return rows of all but the ids, and values near 0, negative and large."""
    rows = np.vstack([table(seed), attack(numbers(0)).repeat(2, axis=1)[:, :12]])[:, KEPT]
    return rows[np.nan_to_num(np.abs(rows)).max(axis=1) < 1e12]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("standardize", [True, False])
def test_yeo_johnson_agrees(standardize: Any, seed: int) -> None:
    """Both signs, missing values and values far outside the fit are bent alike."""
    fitted = fit(PowerTransformer(standardize=standardize), table(seed)[:, KEPT])

    assert error(fitted, spread(seed + 10), SPECS) <= 1e-12


@pytest.mark.parametrize("exponents", [[0.0, 2.0], [1e-17, 2 - 2e-16], [1.0, -3.0], [2.0, 0.0]])
def test_yeo_johnson_agrees_at_its_edges(exponents: list[float]) -> None:
    """At exponent 0, and at 2 for negative values, the curve is a logarithm."""
    x = spread(1)[:, :2]
    fitted = fit(PowerTransformer(standardize=False), x)
    fitted.lambdas_ = np.array(exponents)

    assert error(fitted, x, SPECS[:2]) <= 1e-12


@pytest.mark.parametrize("exponents", [None, [0.0, 1e-20], [-2.0, 3.0]])
@pytest.mark.parametrize("standardize", [True, False])
def test_box_cox_agrees(exponents: list[float] | None, standardize: Any) -> None:
    """Positive values are bent alike, at exponent 0 too; missing ones stay so."""
    x = np.abs(table(0)[:, :2]) + 0.1
    fitted = fit(PowerTransformer("box-cox", standardize=standardize), x)
    if exponents:
        fitted.lambdas_ = np.array(exponents)
    new = np.vstack([np.abs(table(1)[:, :2]) + 1e-3, [[5e-324, 1e-300], [1e12, 1e10]]])
    new = new if exponents is None or exponents[0] == 0 else new[:400]

    assert error(fitted, new, SPECS[:2]) <= 1e-12


def test_box_cox_has_no_result_where_it_refuses() -> None:
    """A value that is not positive has no number."""
    fitted = PowerTransformer("box-cox").fit(numbers(0)[:, 1:2])
    bad = np.array([[0.0], [-1.0], [3.0]])

    with pytest.raises(ValueError, match="strictly positive"):
        fitted.transform(bad.copy())
    assert np.isnan(ours(fitted, bad, SPECS[:1])[:, 0]).tolist() == [True, True, False]


@pytest.mark.parametrize("column", [3, 4])
def test_power_of_ids_is_refused_by_name(column: int) -> None:
    """The last digit of a logarithm of ids is larger than the tolerance."""
    fitted = fit(PowerTransformer(), table(1)[:, [0, column]])
    specs = [NUMBERS[0], NUMBERS[column]]

    with pytest.raises(LoweringError, match=rf"{NUMBERS[column].name} vary so little.*Scaler"):
        ours(fitted, table(2)[:, [0, column]], specs)


def test_power_takes_no_row() -> None:
    """No row is no special case."""
    fitted = fit(PowerTransformer(), table(0)[:, KEPT])

    assert ours(fitted, np.empty((0, 5)), SPECS).shape == (0, 5)
