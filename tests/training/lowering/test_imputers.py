"""Imputers fill what is missing with the fit's own statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer

from mlembed.errors import LoweringError
from mlembed.training import lowering
from training.lowering.transforming import SPECS, attack, error, fit, ours, table

IMPUTERS = [
    SimpleImputer(),
    SimpleImputer(strategy="median", add_indicator=True),
    SimpleImputer(strategy="most_frequent", keep_empty_features=True),
    SimpleImputer(strategy="constant", fill_value=-7.5, add_indicator=True),
    SimpleImputer(strategy="constant", fill_value=2, keep_empty_features=True),
    SimpleImputer(strategy="mean", keep_empty_features=True, add_indicator=True),
    MissingIndicator(error_on_new=False),
    MissingIndicator(features="all"),
]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("imputer", IMPUTERS, ids=str)
def test_imputer_keeps_every_bit(imputer: Any, seed: int) -> None:
    """Missing values, a column missing throughout and one newly missing are filled alike."""
    x = table(seed)
    new = np.vstack([table(seed + 10), attack(x), np.full((1, len(SPECS)), np.nan)])

    assert error(fit(imputer, x), new, SPECS) == 0.0


@pytest.mark.parametrize(
    "imputer",
    [
        SimpleImputer(missing_values=-1),
        SimpleImputer(missing_values=0.0, strategy="median", add_indicator=True),
        MissingIndicator(missing_values=-1, features="all"),
    ],
    ids=str,
)
def test_imputer_takes_another_missing_value(imputer: Any) -> None:
    """A number may stand for what is missing; zero has two signs."""
    x = np.nan_to_num(table(0), nan=-1.0)
    new = np.vstack([np.nan_to_num(table(1), nan=-1.0), attack(x)])

    assert error(fit(imputer, x), new, SPECS) == 0.0


@pytest.mark.parametrize("imputer", IMPUTERS, ids=str)
def test_imputer_takes_no_row_and_one_feature(imputer: Any) -> None:
    """No row and one feature are no special case."""
    x = table(0)[:, 1:2]
    fitted = fit(imputer, x)

    assert error(fitted, np.array([[np.nan]]), SPECS[1:2]) == 0.0
    assert len(ours(fitted, x[:0], SPECS[1:2])) == 0


@pytest.mark.parametrize(
    ("imputer", "words"),
    [
        (KNNImputer(), r"ties.*SimpleImputer"),
        (SimpleImputer(missing_values="?"), "missing_values is a str"),
        (SimpleImputer(strategy=np.max), "no known name"),
        (MissingIndicator(), "error_on_new=False"),
    ],
    ids=range(4),
)
def test_imputer_is_refused_by_name(imputer: Any, words: str) -> None:
    """What cannot be exact is refused before the fit, with the remedy."""
    with pytest.raises(LoweringError, match=words):
        lowering.step_of(imputer).check(imputer)


def test_neighbours_are_refused_when_fitted() -> None:
    """A fitted KNNImputer that nobody checked is refused as well."""
    fitted = KNNImputer().fit(table(0))

    with pytest.raises(LoweringError, match="ties"):
        ours(fitted, table(1), SPECS)
