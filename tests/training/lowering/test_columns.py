"""Products, projections and selections of columns agree with scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_selection import (
    RFE,
    RFECV,
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
)
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from mlembed.errors import LoweringError
from mlembed.training import lowering
from training.lowering.transforming import NUMBERS, attack, error, fit, numbers, ours, table

POLYNOMIALS = [
    PolynomialFeatures(),
    PolynomialFeatures(3, interaction_only=True),
    PolynomialFeatures((2, 4), include_bias=False),
    PolynomialFeatures((3, 3), interaction_only=True),
    PolynomialFeatures(1, include_bias=False),
    PolynomialFeatures(0),
]
PROJECTIONS = [
    PCA(),
    PCA(3, whiten=True),
    PCA(0.9),
    PCA(2, svd_solver="randomized", random_state=0),
    PCA(whiten=True, svd_solver="covariance_eigh"),
    TruncatedSVD(3, random_state=0),
]
LINE = LinearRegression()
SELECTORS = [
    VarianceThreshold(),
    SelectKBest(k=3),
    SelectKBest(k=0),
    SelectPercentile(percentile=40),
    SelectFpr(alpha=0.5),
    SelectFdr(alpha=0.5),
    SelectFwe(alpha=0.5),
    GenericUnivariateSelect(param=30),
    SelectFromModel(LINE),
    RFE(LINE, n_features_to_select=2),
    RFECV(LINE),
    SequentialFeatureSelector(LINE, n_features_to_select=2),
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("transformer", POLYNOMIALS, ids=str)
def test_polynomial_keeps_every_bit(transformer: Any, seed: int) -> None:
    """Products are multiplied in the same order, so ids and huge values round alike."""
    x = numbers(seed)

    assert error(fit(transformer, x), np.vstack([numbers(seed + 10), attack(x)]), NUMBERS) == 0.0


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("transformer", PROJECTIONS, ids=lambda item: repr(item)[:40])
def test_projection_agrees(transformer: Any, seed: int) -> None:
    """Scaled columns, projected and whitened, agree far beyond the fitted range."""
    scale = StandardScaler().fit(numbers(seed))
    new = np.vstack([numbers(seed + 10), attack(numbers(seed))])
    new = scale.transform(new[np.abs(new).max(axis=1) < 1e16])

    assert error(fit(transformer, scale.transform(numbers(seed))), new, NUMBERS) <= 1e-12


@pytest.mark.parametrize("transformer", SELECTORS, ids=lambda item: repr(item)[:40])
def test_selection_keeps_every_bit(transformer: Any) -> None:
    """The columns that were chosen are passed on as they are."""
    x = numbers(0)
    fitted = fit(transformer, x, (x[:, 0] > 40).astype(int))

    assert error(fitted, np.vstack([numbers(1), attack(x)]), NUMBERS) == 0.0


@pytest.mark.parametrize(
    "transformer", [POLYNOMIALS[0], POLYNOMIALS[5], PROJECTIONS[1], SELECTORS[0]], ids=str
)
def test_columns_take_no_row(transformer: Any) -> None:
    """No row is no special case."""
    assert len(ours(fit(transformer, numbers(0)), numbers(0)[:0], NUMBERS)) == 0


def test_variance_threshold_passes_missing_values() -> None:
    """A selector that takes missing values passes them on."""
    fitted = fit(VarianceThreshold(), table(0)[:, :8])

    assert error(fitted, table(1)[:, :8], NUMBERS) == 0.0


def test_prefit_selection_is_refused() -> None:
    """An estimator fitted elsewhere is lost when a candidate is cloned."""
    selector = SelectFromModel(LINE, prefit=True)

    with pytest.raises(LoweringError, match=r"prefit=True.*prefit=False"):
        lowering.step_of(selector).check(selector)
