"""A record class says what every column is, and what cannot be a column is refused at once."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
from typing import Annotated, Any, Literal, Optional, Union

import pydantic
import pytest
from pydantic import Field

import mlembed
from mlembed.columns import Category, Column
from mlembed.errors import DeclarationError
from mlembed.record import columns_of

START = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


class Plan(enum.Enum):
    """A vocabulary with an alias, which is no second value."""

    BASIC = "basic"
    PLUS = "plus"
    STANDARD = "basic"  # noqa: PIE796  an alias


class Tone(enum.StrEnum):
    """A vocabulary of strings that are their own members."""

    WARM = "warm"
    COLD = "cold"


class Level(enum.IntEnum):
    """Numbers, which are no vocabulary."""

    LOW = 1


class Nothing(enum.Enum):
    """No values at all."""


def column_of(annotation: Any) -> Column:
    """Return the column of a record whose one field `x` has *annotation*."""
    record: Any = pydantic.create_model("One", __base__=mlembed.Record, x=(annotation, ...))
    (column,) = columns_of(record)
    return column


@pytest.mark.parametrize(
    ("annotation", "column"),
    [
        (float, Column(name="x", kind="number")),
        (int, Column(name="x", kind="integer")),
        (bool, Column(name="x", kind="boolean")),
        (str, Column(name="x", kind="category")),
        (dt.datetime, Column(name="x", kind="timestamp")),
        (Literal["b", "a"], Column(name="x", kind="category", vocabulary=("b", "a"))),
        (Plan, Column(name="x", kind="category", vocabulary=("basic", "plus"))),
        (Tone, Column(name="x", kind="category", vocabulary=("warm", "cold"))),
    ],
    ids=str,
)
def test_columns_of_reads_every_type(annotation: Any, column: Column) -> None:
    """Each allowed type has its kind; a declared vocabulary keeps its order."""
    found = column_of(annotation)

    assert (found.kind, found.vocabulary) == (column.kind, column.vocabulary)
    assert found.declared == bool(column.vocabulary)
    assert not found.nullable
    assert not found.rare


@pytest.mark.parametrize(
    "annotation",
    [
        Optional[float],  # noqa: UP045  hosts write it
        Union[float, None],  # noqa: UP007  idem
        float | None,
        None | float,
        Annotated[float | None, Field(ge=0)],
        Annotated[float, Field(ge=0)] | None,
        Optional[Annotated[float, Field(ge=0)]],  # noqa: UP045  idem
    ],
    ids=str,
)
def test_columns_of_reads_every_optional_form(annotation: Any) -> None:
    """However None is written, the column may be missing and keeps its kind and range."""
    column = column_of(annotation)

    assert column.kind == "number"
    assert column.nullable
    assert column.minimum == (0.0 if "ge=0" in repr(annotation).lower() else None)


@pytest.mark.parametrize(
    "annotation",
    [
        Literal["a", "b", None],  # noqa: PYI061  hosts write it
        Literal["a", "b"] | None,
        Optional[Literal["a", "b"]],  # noqa: UP045  idem
    ],
    ids=str,
)
def test_columns_of_reads_an_optional_vocabulary(annotation: Any) -> None:
    """None is never one of the categories."""
    column = column_of(annotation)

    assert (column.vocabulary, column.nullable) == (("a", "b"), True)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (Field(ge=0, le=120), "[0, 120]"),
        (Field(gt=0, lt=1), "(0, 1)"),
        (Field(ge=5), "[5, inf)"),
        (Field(lt=-1), "(-inf, -1)"),
        (Field(ge=decimal.Decimal("0.5")), "[0.5, inf)"),
        (Field(ge=1, le=1), "[1, 1]"),
        (Field(description="EUR"), ""),
    ],
    ids=str,
)
def test_columns_of_reads_ranges(field: Any, text: str) -> None:
    """Ranges keep their ends and whether these are allowed."""
    assert column_of(Annotated[float, field]).range_text == text


def test_columns_of_reads_a_range_of_times() -> None:
    """The range of a timestamp is in epoch seconds."""
    column = column_of(Annotated[dt.datetime, Field(ge=START)])

    assert column.minimum == START.timestamp()


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[float, Field(description="EUR per year")],
        Annotated[float, Field(description="EUR per year")] | None,
    ],
    ids=str,
)
def test_columns_of_reads_units(annotation: Any) -> None:
    """The description is the unit, inside an optional form too."""
    assert column_of(annotation).unit == "EUR per year"


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[str, Category(unknown="error", min_count=3)],
        Annotated[str, Category(unknown="error", min_count=3)] | None,
        Annotated[str | None, Category(unknown="error", min_count=3)],
    ],
    ids=str,
)
def test_columns_of_reads_the_category_rule(annotation: Any) -> None:
    """The rule of a learnt vocabulary travels with the column."""
    assert column_of(annotation).rule == Category(unknown="error", min_count=3)


def test_columns_of_keeps_the_order_of_fields() -> None:
    """Columns stand in the order of declaration, inherited fields first."""

    class Parent(mlembed.Record):
        """One field."""

        b: float

    class Child(Parent):
        """Two more."""

        a: int
        c: bool

    assert [column.name for column in columns_of(Child)] == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (list[float], "not one number"),
        (dict[str, float], "not one number"),
        (int | float, "not one number"),
        (int | str | None, "not one number"),
        (None, "not one number"),
        (Any, "not one number"),
        (bytes, "not one number"),
        (dt.date, "not one number"),
        (Level, "not all strings"),
        (Literal[1, 2], "not all strings"),
        (Literal["a", 1], "not all strings"),
        (Nothing, "empty"),
        (Literal[None], "empty"),  # noqa: PYI061  hosts may write it
        (Annotated[float, Category()], "is a number, so Category"),
        (Annotated[str, Field(ge="a")], "is a category, so a range"),
        (Annotated[bool, Field(ge=0)], "is a boolean, so a range"),
        (Annotated[float, Field(ge=float("nan"))], "finite"),
        (Annotated[float, Field(le=float("inf"))], "finite"),
        (Annotated[int, Field(ge=10**400)], "finite"),
        (Annotated[dt.timedelta, Field(ge=dt.timedelta(1))], "not one number"),
        (Annotated[dt.datetime, Field(ge=START.replace(tzinfo=None))], "time zone"),
        (Annotated[float, Field(ge=2, le=1)], "empty range"),
        (Annotated[float, Field(gt=1, le=1)], "empty range"),
    ],
    ids=str,
)
def test_columns_of_refuses_what_is_not_one_number(annotation: Any, words: str) -> None:
    """What cannot become one double is refused with the field's name and the reason."""
    with pytest.raises(DeclarationError, match=f"'x'.*{words}"):
        column_of(annotation)


def test_columns_of_lists_every_bad_field() -> None:
    """All bad declarations stand in one message, the good ones in none."""

    class Bad(mlembed.Record):
        """Three bad fields and a good one."""

        tags: list[str]
        age: float
        level: Level
        member: Annotated[bool, Category()]

    with pytest.raises(DeclarationError) as caught:
        columns_of(Bad)

    text = str(caught.value)
    assert text.startswith("Bad cannot be a model's input")
    assert all(f"'{name}'" in text for name in ("tags", "level", "member"))
    assert "'age'" not in text


def test_columns_of_refuses_an_empty_record() -> None:
    """A record without fields is no input."""
    with pytest.raises(DeclarationError, match="it has no fields"):
        columns_of(mlembed.Record)


def test_record_refuses_unknown_fields() -> None:
    """A misspelt field of a record is an error where the record is made."""
    record: Any = pydantic.create_model("One", __base__=mlembed.Record, x=(float, ...))

    with pytest.raises(pydantic.ValidationError, match="Extra inputs"):
        record(x=1.0, y=2.0)
