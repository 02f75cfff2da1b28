"""A column of values means what each value means alone, whichever way it is read."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import math
from typing import TYPE_CHECKING, Any

import pytest
from django.db import models
from hypothesis import given
from hypothesis import strategies as st

from mlembed.columns import Column
from mlembed.errors import SchemaError
from mlembed.serving.encoder import Encoder
from mlembed.serving.tables import encode_columns
from mlembed_django.sources import column, plain

if TYPE_CHECKING:
    from mlembed.columns import Kind


class Plan(models.TextChoices):
    """A choice of texts."""

    BASIC = "basic"
    PLUS = "plus"


class Level(enum.IntEnum):
    """A choice of numbers."""

    LOW = 0
    HIGH = 1


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "none": st.none(),
    "flag": st.booleans(),
    "whole": st.integers(-(2**60), 2**60) | st.just(10**400),
    "number": st.floats(),
    "decimal": st.decimals(allow_nan=True),
    "text": st.sampled_from(["basic", "plus", "other", "", "1", "2026-03-04T17:30:00+00:00"]),
    "choice": st.sampled_from(Plan),
    "level": st.sampled_from(Level),
    "moment": st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1))  # noqa: DTZ001
    | st.datetimes(
        dt.datetime(1900, 1, 1),  # noqa: DTZ001
        dt.datetime(2200, 1, 1),  # noqa: DTZ001
        timezones=st.just(dt.UTC),
    ),
    "date": st.dates(dt.date(1900, 1, 1), dt.date(2200, 1, 1)),
    "other": st.just(object()) | st.just(dt.timedelta(1)) | st.just(b"1"),
}
# Mostly a column is of one type and None; sometimes it is not.
LISTS = st.sets(st.sampled_from(sorted(VALUES)), min_size=1, max_size=2).flatmap(
    lambda kinds: st.lists(st.one_of(*(VALUES[kind] for kind in kinds)), min_size=1, max_size=6)
)


def alone(encoder: Encoder, value: Any) -> float:
    """Return what a value becomes in a record of its own."""
    cells = bytearray(8)
    encoder.encode({"x": plain(value)}, cells)
    return memoryview(cells).cast("d")[0]


@pytest.mark.parametrize("nullable", [True, False])
@pytest.mark.parametrize("kind", ["number", "integer", "boolean", "category", "timestamp"])
@given(values=LISTS)
def test_a_column_is_what_its_values_are_alone(
    kind: Kind, *, nullable: bool, values: list[Any]
) -> None:
    """Either all of them fit, and give the same doubles, or the column is refused as one of them is."""
    words = ("basic", "plus") if kind == "category" else ()
    encoder = Encoder(
        "one@1",
        [Column(name="x", kind=kind, nullable=nullable, vocabulary=words, rare=bool(words))],
    )

    try:
        expected: list[float] | None = [alone(encoder, value) for value in values]
    except SchemaError:
        expected = None
    found: list[float] | None
    try:
        found = encode_columns(encoder, {"x": column(kind, values)})[0][:, 0].tolist()
    except SchemaError:
        found = None

    assert (found is None) == (expected is None)
    for one, other in zip(found or (), expected or (), strict=True):
        assert one == other or (math.isnan(one) and math.isnan(other))


def test_a_signalling_nan_is_a_missing_number() -> None:
    """What a decimal column of a database may hold is no reason to fail."""
    values = [decimal.Decimal("sNaN"), decimal.Decimal(1)]

    made = column("number", values)

    encoder = Encoder("one@1", [Column(name="x", kind="number", nullable=True)])
    assert math.isnan(encode_columns(encoder, {"x": made})[0][0, 0])
