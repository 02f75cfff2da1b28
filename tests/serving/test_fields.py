"""One value becomes one double, by a rule each kind of column has."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import math
import zoneinfo
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from bundles import TOWNS
from mlembed.errors import SchemaError
from serving.rows import Plan, Text, Town, Visits, encode_value, one, towns

if TYPE_CHECKING:
    from mlembed.columns import Column

NOON = dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC)


def problem(column: Column, value: Any) -> str:
    """Return what is said of one bad value."""
    with pytest.raises(SchemaError) as caught:
        encode_value(column, value)
    (text,) = caught.value.problems
    return text


@pytest.mark.parametrize(
    "value",
    [
        *(7, 7.0, np.float64(7), np.float32(7), np.int8(7), decimal.Decimal(7), Visits.MANY),
        fractions.Fraction(14, 2),
    ],
)
@pytest.mark.parametrize("kind", ["number", "integer"])
def test_convert_takes_every_real_number(kind: str, value: Any) -> None:
    """A number is a number, whichever library it comes from."""
    assert encode_value(one(kind), value) == 7.0


@pytest.mark.parametrize("kind", ["number", "integer"])
def test_convert_takes_a_boolean_as_a_number(kind: str) -> None:
    """True is 1 and false is 0, as everywhere in Python."""
    assert [encode_value(one(kind), value) for value in (True, False, np.True_)] == [1, 0, 1]


@pytest.mark.parametrize("value", ["7", b"7", 7j, [7.0], np.array(7.0), object(), dt.date.min])
@pytest.mark.parametrize("kind", ["number", "integer"])
def test_convert_refuses_what_is_no_number(kind: str, value: Any) -> None:
    """Text and containers are never read as numbers."""
    assert problem(one(kind), value).startswith(f"'x' is {type(value).__name__}, expected a")


@pytest.mark.parametrize(
    "value",
    [
        *(math.inf, -math.inf, np.float32("inf"), np.float16("-inf"), 10**400),
        *(decimal.Decimal("Infinity"), decimal.Decimal("1e400")),
    ],
)
@pytest.mark.parametrize("kind", ["number", "integer"])
def test_convert_refuses_what_is_not_finite(kind: str, value: Any) -> None:
    """What a double cannot hold is refused, in the widths of other libraries too."""
    assert problem(one(kind), value) == "'x' is not finite"


NOT_A_NUMBER = [
    *(None, math.nan, np.float32("nan"), np.float64("nan"), decimal.Decimal("NaN")),
    *(decimal.Decimal("sNaN"), pd.NA, pd.NaT),
]


@pytest.mark.parametrize("value", NOT_A_NUMBER)
@pytest.mark.parametrize("kind", ["number", "integer", "boolean", "category", "timestamp"])
def test_convert_takes_every_sign_of_missing(kind: str, value: Any) -> None:
    """None, NaN and pandas' own marks are missing where that is allowed, and only there."""
    assert math.isnan(encode_value(one(kind, nullable=True), value))
    assert problem(one(kind), value) == "'x' is missing"


@pytest.mark.parametrize("value", [2**53, -(2**53), np.int64(2**53), decimal.Decimal(2**53)])
def test_convert_keeps_large_ids_exact(value: Any) -> None:
    """Every whole number a double can tell apart is kept as it is."""
    assert int(encode_value(one("integer"), value)) == value


@pytest.mark.parametrize(
    "value",
    [
        *(2**53 + 1, -(2**53) - 1, 2**53 + 2, 2**63, 10**20, np.int64(2**53 + 1)),
        *(np.uint64(2**64 - 1), decimal.Decimal(2**53 + 1)),
    ],
)
def test_convert_refuses_ids_that_would_be_rounded(value: Any) -> None:
    """An id that would become another id is refused, the very next one already."""
    assert problem(one("integer"), value) == "'x' is beyond 2**53, where a double loses digits"


@pytest.mark.parametrize(
    "value", [0.5, np.float32(7.5), decimal.Decimal("1.00000000000000000000001")]
)
def test_convert_refuses_a_fraction_of_a_whole_number(value: Any) -> None:
    """A fraction is refused, however small it is."""
    assert problem(one("integer", unit="visits"), value) == (
        "'x' has a fraction, expected a whole number (visits)"
    )


def test_convert_holds_closed_and_open_ends() -> None:
    """A closed end is allowed, an open one is not; the next double is."""
    closed = one("number", minimum=0.0, maximum=1.0)
    opened = one("number", minimum=0.0, maximum=1.0, exclusive_minimum=True, exclusive_maximum=True)
    inside = math.nextafter(0.0, 1.0), math.nextafter(1.0, 0.0)

    assert [encode_value(closed, end) for end in (0.0, 1.0)] == [0.0, 1.0]
    assert tuple(encode_value(opened, end) for end in inside) == inside
    assert {problem(opened, end) for end in (0.0, 1.0)} == {"'x' is outside (0, 1)"}
    assert problem(closed, math.nextafter(1.0, 2.0)) == "'x' is outside [0, 1]"


def test_convert_compares_narrow_floats_as_doubles() -> None:
    """A float32 is the double it is, not the bound rounded to its width."""
    tenth = np.float32(0.1)

    assert encode_value(one("number", minimum=0.1), tenth) == float(tenth)
    assert problem(one("number", maximum=0.1), tenth) == "'x' is outside (-inf, 0.1]"


@pytest.mark.parametrize("value", [True, 1, 1.0, np.True_, np.int64(1)])
def test_convert_takes_one_as_true(value: Any) -> None:
    """A flag may come as 0 or 1, as databases give it."""
    assert encode_value(one("boolean"), value) == 1.0


@pytest.mark.parametrize("value", ["true", 2, 0.5, "1", b"1"])
def test_convert_refuses_other_flags(value: Any) -> None:
    """Nothing else is true or false."""
    assert problem(one("boolean"), value).endswith("expected true or false")


@pytest.mark.parametrize("value", ["oslo", Text("oslo"), np.str_("oslo"), Town.OSLO])
def test_convert_takes_every_string_as_a_category(value: Any) -> None:
    """A member of an enumeration or a string of any class is its text."""
    assert encode_value(towns("error", rare=False), value) == TOWNS.index("oslo")


def test_convert_takes_a_string_member() -> None:
    """A string member is its text."""
    assert encode_value(one("category", vocabulary=("basic", "plus")), Plan.PLUS) == 1.0


@pytest.mark.parametrize("value", ["nowhere", "", "OSLO", "oslo ", Town.NOWHERE])
def test_convert_treats_an_unknown_category_by_its_rule(value: Any) -> None:
    """It becomes the bucket of rare ones, missing, or a problem; case and spaces count."""
    assert encode_value(towns("rare", rare=True), value) == len(TOWNS)
    assert math.isnan(encode_value(towns("rare", rare=False), value))
    assert math.isnan(encode_value(towns("missing", rare=True), value))
    assert problem(towns("error", rare=True), value) == "'x' is none of its 3 categories"


@pytest.mark.parametrize("value", [1, 1.5, b"oslo", True, ["oslo"], object()])
def test_convert_refuses_a_category_that_is_no_string(value: Any) -> None:
    """Nothing else than a string names a category."""
    assert problem(towns("rare", rare=True), value).startswith(f"'x' is {type(value).__name__}")


@pytest.mark.parametrize(
    "value",
    [
        NOON,
        NOON.astimezone(dt.timezone(dt.timedelta(hours=-7))),
        NOON.astimezone(zoneinfo.ZoneInfo("Europe/Oslo")),
        pd.Timestamp("2026-03-04 13:00", tz="Europe/Oslo"),
        "2026-03-04T12:00:00+00:00",
        "2026-03-04T12:00:00Z",
        NOON.timestamp(),
        int(NOON.timestamp()),
    ],
)
def test_convert_takes_a_moment_in_any_zone(value: Any) -> None:
    """One moment is one number, in whatever zone it is told."""
    assert encode_value(one("timestamp"), value) == NOON.timestamp()


class Nowhere(dt.tzinfo):
    """A zone that knows no offset, so that its times are naive."""

    def utcoffset(self, _: dt.datetime | None, /) -> None:
        """Know nothing."""

    def dst(self, _: dt.datetime | None, /) -> None:
        """Know nothing."""

    def tzname(self, _: dt.datetime | None, /) -> None:
        """Know nothing."""


@pytest.mark.parametrize(
    "value",
    [
        NOON.replace(tzinfo=None),
        pd.Timestamp("2026-03-04"),
        "2026-03-04T12:00:00",
        "2026-03-04",
        NOON.replace(tzinfo=Nowhere()),
    ],
)
def test_convert_refuses_a_naive_time(value: Any) -> None:
    """A time without a zone is no moment, and is never guessed."""
    assert problem(one("timestamp"), value).startswith("'x' has no time zone")


@pytest.mark.parametrize("value", ["yesterday", True, dt.date(2026, 3, 4), dt.timedelta(1), []])
def test_convert_refuses_what_is_no_time(value: Any) -> None:
    """A day, a duration and words are no moment."""
    assert problem(one("timestamp"), value).split(" ", 1)[0] == "'x'"


def test_convert_holds_the_range_of_a_timestamp() -> None:
    """A bound on a time is a bound on its seconds."""
    column = one("timestamp", minimum=NOON.timestamp())

    assert encode_value(column, NOON) == NOON.timestamp()
    assert problem(column, NOON - dt.timedelta(seconds=1)).startswith("'x' is outside")
