"""Splines keep every bit inside, at and beyond their knots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import SplineTransformer

from training.lowering.transforming import NUMBERS, attack, error, fit, numbers, ours, table

KEPT = [0, 1, 6, 3]
SPECS = [NUMBERS[position] for position in KEPT]
WAYS = ["constant", "linear", "continue", "periodic", "error"]


def around(fitted: Any, x: Any, seed: int) -> Any:
    """Return new rows, and rows at the knots of *fitted* and next to them."""
    knots = np.concatenate([spline.t for spline in fitted.bsplines_])
    new = np.vstack([numbers(seed)[:, KEPT], attack(x, knots.tolist())])
    new = new[np.abs(new).max(axis=1) < 1e14]
    if fitted.extrapolation == "error":
        return np.clip(new, x.min(axis=0), x.max(axis=0))
    if fitted.extrapolation == "constant" and not fitted.degree:
        return np.minimum(new, x.max(axis=0))  # above, scikit-learn 1.9 fails
    return new


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("knots", ["uniform", "quantile"])
@pytest.mark.parametrize("include_bias", [True, False])
def test_splines_keep_every_bit(way: str, degree: int, knots: str, include_bias: Any) -> None:
    """Every way to extrapolate, knots that coincide, and lines that scikit-learn shifts."""
    x = numbers(degree)[:, KEPT]
    fitted = fit(
        SplineTransformer(6, degree, knots=knots, extrapolation=way, include_bias=include_bias), x
    )

    assert error(fitted, around(fitted, x, degree + 10), SPECS) == 0.0


@pytest.mark.parametrize("way", WAYS)
def test_sparse_splines_keep_every_bit(way: str) -> None:
    """Sparse output holds the same numbers."""
    x = numbers(0)[:, KEPT]
    fitted = fit(SplineTransformer(extrapolation=way, sparse_output=True), x)

    assert error(fitted, around(fitted, x, 1), SPECS) == 0.0


@pytest.mark.parametrize("way", WAYS)
def test_splines_take_missing_values(way: str) -> None:
    """A missing value has no basis function where it is told so, and no number otherwise."""
    x = table(0)[:, KEPT]
    fitted = fit(SplineTransformer(extrapolation=way, handle_missing="zeros"), x)

    assert error(fitted, x, SPECS) == 0.0
    strict = fit(SplineTransformer(extrapolation=way), numbers(0)[:, KEPT])
    assert np.isnan(ours(strict, np.full((1, 4), np.nan), SPECS)).all()


@pytest.mark.parametrize("way", WAYS)
def test_splines_take_knots_few_rows_and_a_constant(way: str) -> None:
    """Given knots, a column of one value, one feature and no row are no special case."""
    x = numbers(0)[:, 7:]
    fitted = fit(SplineTransformer(3, 2, extrapolation=way), x)
    own = fit(SplineTransformer(knots=np.array([[0.0], [1], [4], [9], [11]]), extrapolation=way), x)

    assert error(fitted, x[:1], NUMBERS[7:]) == 0.0
    assert error(own, np.linspace(0, 11, 50)[:, np.newaxis], NUMBERS[7:]) == 0.0
    assert len(ours(own, x[:0], NUMBERS[7:])) == 0


def test_strict_splines_have_no_result_beyond_their_knots() -> None:
    """Where scikit-learn raises, the graph gives no number."""
    fitted = fit(SplineTransformer(extrapolation="error"), numbers(0)[:, :1])
    beyond = np.array([[1e3], [-1e3]])

    with pytest.raises(ValueError, match="beyond"):
        fitted.transform(beyond)
    assert np.isnan(ours(fitted, beyond, SPECS[:1])).all()
