"""Encoders look codes up as scikit-learn does: the missing, the rare and the unknown too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.model_selection import KFold
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from mlembed.errors import LoweringError
from mlembed.training import lowering
from training.lowering.transforming import (
    CATEGORIES,
    NUMBERS,
    categories,
    error,
    fit,
    numbers,
    ours,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering import FeatureSpec

ONE_HOT = [
    OneHotEncoder(handle_unknown="ignore"),
    OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.int32),
    OneHotEncoder(handle_unknown="ignore", drop="first"),
    OneHotEncoder(handle_unknown="ignore", drop="if_binary"),
    OneHotEncoder(handle_unknown="ignore", drop=np.array([2.0, 7.0, 1.0])),
    OneHotEncoder(handle_unknown="ignore", min_frequency=20),
    OneHotEncoder(handle_unknown="ignore", min_frequency=0.05, drop="first"),
    OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20),
    OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=4),
    OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=1),
    OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3, drop="first"),
    OneHotEncoder(handle_unknown="infrequent_if_exist"),
    OneHotEncoder(handle_unknown="warn", min_frequency=10),
    OneHotEncoder(handle_unknown="warn"),
]
KNOWN = {"handle_unknown": "use_encoded_value"}
ORDINAL = [
    OrdinalEncoder(**KNOWN, unknown_value=-1),
    OrdinalEncoder(**KNOWN, unknown_value=np.nan),
    OrdinalEncoder(**KNOWN, unknown_value=-1, encoded_missing_value=-2),
    OrdinalEncoder(**KNOWN, unknown_value=99, encoded_missing_value=99, dtype=np.int64),
    OrdinalEncoder(**KNOWN, unknown_value=-1, min_frequency=20),
    OrdinalEncoder(**KNOWN, unknown_value=np.nan, max_categories=3, encoded_missing_value=-5),
]


def hard(seed: int) -> Any:
    """Return codes with missing, never seen, negative, fractional and huge ones."""
    x = categories(seed)
    x[:12, :] = np.array([8, 9, 13, -1, 0.5, -0.0, 2.0**53, 1e300, np.nextafter(1, 2), 60, 65, 7])[
        :, np.newaxis
    ]
    x[12:24, 0] = x[:12, 0]
    return x


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("encoder", [*ONE_HOT, *ORDINAL], ids=str)
def test_encoder_keeps_every_bit(encoder: Any, missing: float, seed: int) -> None:
    """Known, rare, missing and unknown categories are encoded alike."""
    fitted = fit(encoder, categories(seed, missing=missing))

    assert error(fitted, hard(seed + 10), CATEGORIES) == 0.0


@pytest.mark.parametrize("n_classes", [0, 2, 3, 5])
@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("smooth", ["auto", 0.0, 7.5])
def test_target_encoder_keeps_every_bit(n_classes: int, missing: float, smooth: Any) -> None:
    """A category has its mean, one a class where there are more than two; the unknown the mean."""
    random = np.random.default_rng(0)
    x = categories(3, missing=missing)
    y = random.lognormal(0, 1, len(x)) if not n_classes else random.integers(0, n_classes, len(x))
    fitted = fit(TargetEncoder(smooth=smooth), x, y)

    assert error(fitted, hard(4), CATEGORIES) == 0.0


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=20),
        OrdinalEncoder(**KNOWN, unknown_value=-1),
    ],
    ids=str,
)
def test_encoder_takes_numbers_as_categories(encoder: Any) -> None:
    """Ids up to 2**53 and amounts are categories to the last bit."""
    x = numbers(0, 60)
    near = np.vstack([x, np.nextafter(x, np.inf), np.nextafter(x, -np.inf)])

    assert error(fit(encoder, x), near, NUMBERS) == 0.0


@pytest.mark.parametrize(
    "encoder",
    [OneHotEncoder(), OneHotEncoder(drop="if_binary"), OrdinalEncoder()],
    ids=str,
)
def test_strict_encoder_gives_nan_where_scikit_learn_refuses(encoder: Any) -> None:
    """Known categories agree to the bit; a row that scikit-learn refuses has no number."""
    x = categories(0, missing=0.0)
    fitted = fit(encoder, x)

    assert error(fitted, x, CATEGORIES) == 0.0
    for bad in (8.0, np.nan, 0.5):
        row = x[:1].copy()
        row[0, 0] = bad
        with pytest.raises(ValueError, match="unknown"):
            fitted.transform(row)
        assert np.isnan(ours(fitted, row, CATEGORIES)).any()


@pytest.mark.parametrize("encoder", [OneHotEncoder(), OrdinalEncoder()], ids=str)
def test_strict_encoder_of_categories_is_refused(encoder: Any) -> None:
    """A category first seen after the fit would raise, so the default is refused before it."""
    with pytest.raises(LoweringError, match=r"job, town, flag may have some; use handle_unknown="):
        lowering.step_of(encoder).prepare(encoder, CATEGORIES)

    assert lowering.step_of(encoder).prepare(encoder, NUMBERS) is not encoder


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_encoder_of_fewer_digits_is_refused(dtype: Any) -> None:
    """An estimator behind a float32 matrix would compute in float32."""
    encoder = OneHotEncoder(dtype=dtype)

    with pytest.raises(LoweringError, match=r"dtype is float.*float64"):
        lowering.step_of(encoder).check(encoder)


@pytest.mark.parametrize("encoder", [ONE_HOT[0], ONE_HOT[2], ONE_HOT[7], ORDINAL[0]], ids=str)
@pytest.mark.parametrize("column", [[[1.0]], [[np.nan]], [[np.nan], [2.0], [2.0]]], ids=str)
def test_encoder_takes_tiny_columns(encoder: Any, column: Sequence[Sequence[float]]) -> None:
    """One category, none but missing, one row and no row are no special case."""
    specs: tuple[FeatureSpec, ...] = CATEGORIES[:1]
    fitted = fit(encoder, np.array(column))

    assert error(fitted, np.array([[1.0], [np.nan], [2.0], [5.0]]), specs) == 0.0
    assert len(ours(fitted, np.empty((0, 1)), specs)) == 0


@pytest.mark.parametrize("kind", ["classes", "numbers", "continuous"])
def test_target_encoder_has_folds_from_a_seed(kind: str) -> None:
    """The same input gives the same training columns; another seed gives others."""
    x = categories(0)
    random = np.random.default_rng(0)
    y = random.normal(size=len(x)) if kind == "numbers" else random.integers(0, 2, len(x))
    encoder = TargetEncoder(target_type="continuous" if kind == "continuous" else "auto")

    def columns(seed: int) -> Any:
        prepared = lowering.step_of(encoder).prepare(encoder, CATEGORIES)
        assert prepared.get_params()["cv__random_state"] is None
        return prepared.set_params(cv__random_state=seed).fit_transform(x, y)

    assert np.array_equal(columns(1), columns(1))
    assert not np.array_equal(columns(1), columns(2))
    assert columns(1).shape == (len(x), 3)


def test_target_encoder_keeps_the_folds_of_the_user() -> None:
    """A splitter that was given is not replaced."""
    folds = KFold(3)
    encoder = TargetEncoder(cv=folds)

    prepared = lowering.step_of(encoder).prepare(encoder, CATEGORIES)

    assert isinstance(prepared.cv, KFold)
    assert lowering.step_of(TargetEncoder()).prepare(TargetEncoder(), ()).cv.get_n_splits() == 5
