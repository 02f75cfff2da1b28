"""Encode single records without a model, and generate good and strange ones."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from bundles import COLUMNS, TOWNS
from mlembed.columns import Category, Column
from mlembed.serving.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

ENCODER = Encoder("toy@1.0.0", COLUMNS)


class Town(enum.Enum):
    """A category as the members of an enumeration that is no string."""

    OSLO = "oslo"
    NOWHERE = "nowhere"


class Plan(enum.StrEnum):
    """A category as string members."""

    PLUS = "plus"


class Visits(enum.IntEnum):
    """A number as a member."""

    MANY = 7


class Text(str):
    """A string of the host's own class."""

    __slots__ = ()


def encode(record: Any, encoder: Encoder = ENCODER) -> list[float]:
    """Return the row of *record*."""
    cells = bytearray(8 * len(encoder.columns))
    encoder.encode(record, cells)
    return list(struct.unpack(f"={len(encoder.columns)}d", cells))


def one(kind: Any, **rest: Any) -> Column:
    """Return a column called `x`."""
    return Column(name="x", kind=kind, **rest)


def towns(unknown: Any, *, rare: bool) -> Column:
    """Return a nullable category called `x` with a rule for unknown values."""
    rule = Category(unknown=unknown)
    return one("category", vocabulary=TOWNS, rare=rare, nullable=True, rule=rule)


def encode_value(column: Column, value: Any) -> float:
    """Return the double of one value of a column called `x`."""
    return encode({"x": value}, Encoder("toy@1.0.0", [column]))[0]


def only(columns: Sequence[Column], *names: str) -> tuple[Column, ...]:
    """Return those of *columns* that are named, in this order."""
    found = {column.name: column for column in columns}
    return tuple(found[name] for name in names)


def nullable(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Return *columns*, each of which may be missing."""
    return tuple(dataclasses.replace(column, nullable=True) for column in columns)


STRANGE: list[Any] = [
    *(None, True, False, 0, 1, 7, -1, 2**53, 2**53 + 1, -(2**53) - 1, 10**400),
    *(0.0, -0.0, 41.5, 120.0, 120.00000000000001, 1e308, float("nan"), float("inf"), -np.inf),
    *(np.float64(41.5), np.float32(0.1), np.float32("inf"), np.float16("nan"), np.int64(7)),
    *(
        np.int64(2**53 + 1),
        np.uint64(2**64 - 1),
        np.bool_(1),
        np.float64("nan"),
        np.str_("oslo"),
    ),
    *(np.array(41.5), np.array([41.5]), np.array([1.0, 2.0]), np.datetime64("2026-01-01")),
    *(decimal.Decimal("41.5"), decimal.Decimal("NaN"), decimal.Decimal("sNaN")),
    *(decimal.Decimal(2**53 + 1), decimal.Decimal("1e400"), fractions.Fraction(1, 3)),
    *(
        "oslo",
        "nowhere",
        "",
        "41",
        "2026-03-04T17:30:00+00:00",
        "2026-03-04",
        Text("oslo"),
        b"oslo",
    ),
    *(Town.OSLO, Town.NOWHERE, Plan.PLUS, Visits.MANY, pd.NA, pd.NaT, 1j, [], ["oslo"], ([],)),
    *(object(), object, lambda: 1.0),
    *(dt.datetime(2026, 3, 4, tzinfo=dt.UTC), dt.datetime(2026, 3, 4), dt.date(2026, 3, 4)),  # noqa: DTZ001  naive ones are refused
    *(pd.Timestamp("2026-03-04", tz="Europe/Oslo"), pd.Timestamp("2026-03-04")),
    *(dt.time(1, tzinfo=dt.UTC), dt.timedelta(1), dt.datetime.max.replace(tzinfo=dt.UTC)),
]


def records(columns: Sequence[Column] = COLUMNS) -> st.SearchStrategy[dict[str, Any]]:
    """Return good records, some fields of which are replaced by strange ones."""
    strange = st.sampled_from(STRANGE) | st.floats() | st.integers() | st.text() | st.datetimes()
    return st.fixed_dictionaries({c.name: _good(c) | strange for c in columns})


def _good(column: Column) -> st.SearchStrategy[Any]:
    if column.kind == "category":
        return st.sampled_from(column.vocabulary)
    if column.kind == "boolean":
        return st.booleans()
    if column.kind == "integer":
        return st.integers(0, 100)
    if column.kind == "timestamp":
        return st.datetimes(timezones=st.just(dt.UTC))
    return st.floats(0, 120)
