"""Numbers are rounded for people and never look like what they are not."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed.training.report import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.3"),
        (12345.678, "12,346"),
        (0.000012341, "1.234e-05"),
        (-0.5, "-0.5"),
        (1e20, "1e+20"),
        (0.99999, ">0.9999"),
        (-0.99999, "<-0.9999"),
        (999.96, "1,000"),
        (0.0, "0"),
        (math.nan, "-"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (None, "-"),
    ],
)
def test_number_has_four_digits(value: float | None, text: str) -> None:
    """Four significant digits, thousands apart, and a metric just below 1 is not shown as 1."""
    assert numbers.number(value) == text


@given(st.floats(-1e14, 1e14))
def test_number_is_within_its_digits(value: float) -> None:
    """What is shown differs from the value by less than a thousandth of it."""
    text = numbers.number(value).replace(",", "").replace("-", "-").strip("<>")

    assert float(text) == pytest.approx(value, rel=1e-3)


def test_signed_shows_a_gain() -> None:
    """A gain has a plus, a loss a minus, nothing neither."""
    assert [numbers.signed(value) for value in (0.5, -0.5, 0.0, None)] == ["+0.5", "-0.5", "0", "-"]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.5, "50.0%"),
        (1e-5, "<0.1%"),
        (0.0, "0.0%"),
        (None, "-"),
        (math.nan, "-"),
        (-0.1, "-10.0%"),
    ],
)
def test_percent_shows_that_little_is_not_nothing(share: float | None, text: str) -> None:
    """A share too small for a digit is no 0."""
    assert numbers.percent(share) == text


@pytest.mark.parametrize(
    ("iso", "text"),
    [
        ("2026-01-02T00:00:00+00:00", "2026-01-02"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02 01:04 UTC"),
        ("2026-01-02T03:04:05", "2026-01-02 03:04 UTC"),
        ("yesterday", "yesterday"),
        (None, "-"),
    ],
)
def test_moment_is_in_utc(iso: str | None, text: str) -> None:
    """Times are shown in UTC, midnight as a date; what is no time is shown as it is."""
    assert numbers.moment(iso) == text


def test_second_reaches_beyond_calendars() -> None:
    """Seconds before 1970 are a date, and those that no calendar holds a number."""
    assert numbers.second(-86_400.0) == "1969-12-31"
    assert numbers.second(1e19) == "1e+19"
