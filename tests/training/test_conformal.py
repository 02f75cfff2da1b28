"""An interval holds the truth as often as it says, or there are too few rows to say so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed.errors import DataError, DeclarationError
from mlembed.training.conformal import Interval, Method

METHODS: tuple[Method, ...] = ("absolute", "signed")
SHAPES: dict[str, Any] = {
    "normal": lambda random, n: random.normal(size=n),
    "skewed": lambda random, n: random.lognormal(0, 1.5, n),
    "heavy": lambda random, n: random.standard_cauchy(n),
    "tied": lambda random, n: random.integers(0, 3, n) * 1.0,
}


def mean_coverage(declared: Interval, shape: str, n: int, rounds: int = 300) -> float:
    """Return how often the truth of a new row lies inside, over many calibrations of *n* rows."""
    random = np.random.default_rng(0)
    held = []
    for _ in range(rounds):
        errors = SHAPES[shape](random, n + 50)
        band = declared.fit(errors[:n], np.zeros(n))
        held.append(band.measured(errors[n:], np.zeros(50))["coverage"])
    return float(np.mean(held))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", ["normal", "skewed", "heavy"])
@pytest.mark.parametrize("n", [39, 200])
def test_interval_holds_the_truth_as_often_as_it_says(method: Method, shape: str, n: int) -> None:
    """On exchangeable rows the coverage is the level, whatever the errors look like."""
    coverage = mean_coverage(Interval(0.9, method), shape, n)

    assert 0.9 - 0.015 <= coverage <= 0.9 + 2 / (n + 1) + 0.015


@pytest.mark.parametrize("method", METHODS)
def test_interval_of_tied_errors_holds_more(method: Method) -> None:
    """Ties may only widen an interval."""
    assert mean_coverage(Interval(0.8, method), "tied", 30) >= 0.8


@given(seed=st.integers(0, 500), n=st.integers(19, 80), level=st.sampled_from([0.5, 0.8, 0.9]))
def test_interval_holds_its_calibration_rows(seed: int, n: int, level: float) -> None:
    """At least ceil((n + 1) level) of the n calibration errors lie inside: no less would do."""
    errors = np.random.default_rng(seed).normal(size=n)

    for method in METHODS:
        band = Interval(level, method).fit(errors, np.zeros(n))
        inside = np.sum((-band.below <= errors) & (errors <= band.above))
        assert inside >= (math.ceil((n + 1) * level - 1e-9) if method == "absolute" else n * level)


def test_signed_ends_follow_skewed_errors() -> None:
    """Where the truth lies mostly above the score, the interval reaches further up."""
    errors = np.random.default_rng(0).lognormal(0, 1, 500)

    signed = Interval(0.8, "signed").fit(errors, np.zeros(500))
    absolute = Interval(0.8).fit(errors, np.zeros(500))

    assert signed.above > abs(signed.below)
    assert signed.below < 0
    assert absolute.below == absolute.above
    assert signed.above + signed.below < absolute.above + absolute.below


@pytest.mark.parametrize(
    ("declared", "needed"),
    [
        (Interval(0.9), 9),
        (Interval(0.95), 19),
        (Interval(0.9, "signed"), 19),
        (Interval(0.99, "signed"), 199),
    ],
)
def test_interval_says_how_many_rows_it_needs(declared: Interval, needed: int) -> None:
    """From the fewest rows that can keep the level on there is a band, with one less an error."""
    y = np.arange(float(needed))

    assert declared.fit(y, np.zeros(needed)).above == needed - 1
    with pytest.raises(DataError, match=f"needs at least {needed} calibration rows, there are"):
        declared.fit(y[1:], np.zeros(needed - 1))


@pytest.mark.parametrize(
    ("y", "scores", "message"),
    [
        ([1.0] * 20, [np.nan] + [1.0] * 19, "1 of 20 scores are missing"),
        ([np.inf] * 20, [1.0] * 20, "20 of 20 labels are missing or infinite"),
        ([], [], "no rows"),
    ],
)
def test_interval_refuses_rows_without_an_error(y: Any, scores: Any, message: str) -> None:
    """A row whose error is unknown cannot be counted as one inside or outside."""
    with pytest.raises(DataError, match=message):
        Interval().fit(np.array(y), np.array(scores))
    with pytest.raises(DataError, match=message):
        Interval().fit(np.arange(9.0), np.zeros(9)).measured(np.array(y), np.array(scores))


def test_band_is_measured_on_other_rows() -> None:
    """The coverage is that of the rows given, its interval wider where they are of few entities."""
    band = Interval(0.5).fit(np.arange(1.0, 10.0), np.zeros(9))
    y: Any = np.repeat(np.tile([0.0, 9.0], 10), 10)

    rows = band.measured(y, np.zeros(200))
    entities = band.measured(y, np.zeros(200), np.repeat(np.arange(20), 10))

    assert (band.above, rows["coverage"], rows["n"], rows["n_calibration"]) == (5.0, 0.5, 200, 9)
    assert entities["coverage_low"] < rows["coverage_low"] < 0.5 < rows["coverage_high"]


@pytest.mark.parametrize("declared", [(0.0,), (1.0,), (90,), (float("nan"),), (0.9, "both")])
def test_interval_refuses_what_means_nothing(declared: Any) -> None:
    """A level of none or all, or an unknown method, is refused where it is written."""
    with pytest.raises(DeclarationError):
        Interval(*declared)
