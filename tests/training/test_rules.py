"""A cell means what its column declares, however it is stored."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mlembed.columns import Column
from mlembed.training.cleaning import Cleaning
from mlembed.training.labels import Binary, Regression
from training.tables import AGE, COLUMNS, GOOD, mapping, read_table

if TYPE_CHECKING:
    from pathlib import Path

PAIR = [{**GOOD, "paid": "yes"}, {**GOOD, "paid": "no"}]


def test_read_names_every_rule_a_row_breaks() -> None:
    """Reasons say the column and the rule, never a value, and count a row once a rule."""
    rows = [
        *PAIR,
        {**GOOD, "age": "old", "sex": "x", "paid": "yes"},
        {**GOOD, "age": 121, "visits": 1.5, "paid": "yes"},
        {**GOOD, "age": None, "visits": 2**53 + 2, "paid": "yes"},
        {**GOOD, "age": "inf", "visits": "1e999", "paid": "yes"},
        {**GOOD, "member": "maybe", "since": "20240101", "paid": "yes"},
        {**GOOD, "member": 2, "sex": "?", "paid": None},
    ]

    table = read_table(mapping(rows))

    assert (table.n_read, table.n_rejected, len(table)) == (8, 6, 2)
    assert table.reasons == {
        "'age' is not a number": 1,
        "'sex' is none of its 2 values": 1,
        "'age' is outside [0, 120]": 1,
        "'visits' has a fraction": 1,
        "'age' is missing": 1,
        "'visits' is beyond 2**53": 1,
        "'age' is not finite": 1,
        "'visits' is not finite": 1,
        "'member' is not true or false": 2,
        "'since' is not a time": 1,
        "'sex' is missing": 1,
        "label is missing": 1,
    }


def test_read_holds_the_ends_of_a_range_as_declared() -> None:
    """An end belongs to its range unless it is excluded."""
    half_open = dataclasses.replace(AGE[0], exclusive_minimum=True)
    opened = dataclasses.replace(AGE[0], exclusive_maximum=True)
    data = {"age": [0, 120, 0.5, 119.5, -1, 121], "paid": ["yes", "yes", "no", "no", "no", "no"]}

    ages = [
        read_table(data, (column,)).columns["age"].tolist()
        for column in (AGE[0], half_open, opened)
    ]

    assert ages == [[0.0, 120.0, 0.5, 119.5], [120.0, 0.5, 119.5], [0.0, 0.5, 119.5]]


@pytest.mark.parametrize("text", ["1_000", "0x10", "1,5", "1e", "\u0661", "1 2", "--1", "1d"])
def test_read_takes_no_text_for_a_number_that_is_none(text: str) -> None:
    """Only plain decimal notation is a number."""
    columns = (Column(name="age", kind="number"),)

    table = read_table({"age": ["1", "2", text], "paid": ["yes", "no", "no"]}, columns)

    assert table.reasons == {"'age' is not a number": 1}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2024-06-01T10:00:00Z", 1717236000.0),
        ("2024-06-01 10:00:00.25+02:00", 1717228800.25),
        ("2024-06-01 10:00:00", 1717228800.0),
        ("2024-06-01", 1717192800.0),
        ("1717236000.5", 1717236000.5),
    ],
)
def test_read_takes_naive_times_in_the_declared_zone(text: str, seconds: float) -> None:
    """A time without a zone is meant in the zone of the Cleaning; ten digits are seconds."""
    columns = (Column(name="t", kind="timestamp"),)

    table = read_table(
        {"t": [text, "1970-01-01T00:00:00Z"], "paid": ["yes", "no"]},
        columns,
        cleaning=Cleaning(timezone="Europe/Berlin"),
    )

    assert table.columns["t"].tolist() == [seconds, 0.0]


@pytest.mark.parametrize("dtype", ["int64", "float64", "text"])
@pytest.mark.parametrize("form", ["csv", "parquet", "pandas", "dict"])
def test_read_takes_no_other_unit_for_seconds(tmp_path: Path, form: str, dtype: str) -> None:
    """Milliseconds and 20240101 are no seconds since 1970, in text and in numbers alike."""
    whole = [1_717_236_000, 1_717_236_000_000, 20_240_101, -1_717_236_000_000, 1_717_236_001]
    cells = list(map(str, whole)) if dtype == "text" else np.array(whole, dtype)
    frame = pd.DataFrame({"t": cells, "paid": ["yes", "yes", "no", "no", "no"]})
    data: Any = frame if form == "pandas" else {name: frame[name].to_numpy() for name in frame}
    if form in ("csv", "parquet"):
        data = tmp_path / f"t.{form}"
        frame.to_csv(data, index=False) if form == "csv" else frame.to_parquet(data)

    table = read_table(data, (Column(name="t", kind="timestamp"),))

    assert table.columns["t"].tolist() == [1_717_236_000.0, 1_717_236_001.0]
    assert table.reasons == {"'t' is not a time": 3}


def test_read_takes_short_numbers_that_are_no_dates_for_seconds() -> None:
    """Only what reads as a day of a month of this age is a date; fractions are none."""
    seconds = [0.0, -1.0, 20_241_301.0, 20_240_132.0, 20_240_101.5, 18_991_231.0, 99_999_999_999.0]
    paid = ["yes", "no", "no", "no", "no", "no", "no"]

    table = read_table({"t": seconds, "paid": paid}, (Column(name="t", kind="timestamp"),))

    assert table.columns["t"].tolist() == seconds


def test_read_calls_missing_and_infinite_times_by_their_names() -> None:
    """A number that is none is missing, and infinity is not finite, in times too."""
    seconds = [1e9, 2e9, math.nan, math.inf, -math.inf]
    paid = ["yes", "no", "no", "no", "no"]

    table = read_table({"t": seconds, "paid": paid}, (Column(name="t", kind="timestamp"),))

    assert table.reasons == {"'t' is missing": 1, "'t' is not finite": 2}


def test_read_takes_typed_times_whatever_their_seconds_look_like() -> None:
    """In August 1970 a time has the digits of a date, and after 5138 those of milliseconds."""
    moments = [dt.datetime(1970, 8, 23, 6, 15, 1), dt.datetime(9999, 12, 31)]  # noqa: DTZ001  the case

    table = read_table(
        pl.DataFrame({"t": moments, "paid": ["yes", "no"]}), (Column(name="t", kind="timestamp"),)
    )

    assert table.columns["t"].tolist() == [20_240_101.0, 253_402_214_400.0]


@pytest.mark.parametrize("form", ["pandas", "polars", "arrow", "numpy"])
def test_read_keeps_the_instant_of_typed_times(form: str) -> None:
    """Typed times mean the same instant in every library, naive ones in the declared zone."""
    naive = [dt.datetime(2024, 6, 1, 10), dt.datetime(2024, 12, 1, 10)]  # noqa: DTZ001  the case
    data: dict[str, Any] = {"t": np.array(naive, dtype="datetime64[ns]"), "paid": ["yes", "no"]}
    frame = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.table, "numpy": dict}

    table = read_table(
        frame[form](data),
        (Column(name="t", kind="timestamp"),),
        cleaning=Cleaning(timezone="Europe/Berlin"),
    )

    assert table.columns["t"].tolist() == [1717228800.0, 1733043600.0]


class Colour(enum.Enum):
    """A vocabulary."""

    RED = "red"


def test_read_takes_members_of_an_enum() -> None:
    """A member stands for its value."""
    data = {"job": [Colour.RED, "red"], "paid": ["yes", "no"]}

    assert read_table(data, (COLUMNS[3],)).columns["job"].tolist() == ["red", "red"]


def test_read_gives_a_quantity_as_it_is() -> None:
    """A regression label is a finite number; others are set aside."""
    data = {"age": [1, 2, 3, 4], "paid": ["1.5", "free", "", "inf"]}

    table = read_table(data, AGE, label=Regression("paid", unit="EUR"))

    assert (table.kind, table.y.tolist()) == ("regression", [1.5])
    assert table.reasons == {
        "label is not a number": 1,
        "label is missing": 1,
        "label is not finite": 1,
    }


def test_read_sets_unclear_labels_aside() -> None:
    """A value that is neither class is not taken for the negative one."""
    label = Binary("paid", positive=True)

    table = read_table({"age": [1, 2, 3], "paid": ["TRUE", "no", "7"]}, AGE, label=label)

    assert table.y.tolist() == [1.0, 0.0]
    assert table.reasons == {"label is neither class": 1}


def test_read_takes_whole_numbers_and_booleans_for_categories() -> None:
    """A category may be stored as whole numbers or booleans; its text is what counts."""
    columns = (Column(name="zip", kind="category"), Column(name="flag", kind="category"))
    data = {"zip": np.array([10, 20]), "flag": [True, False], "paid": ["yes", "no"]}

    table = read_table(data, columns)

    assert [values.tolist() for values in table.columns.values()] == [
        ["10", "20"],
        ["true", "false"],
    ]


def test_read_takes_pandas_columns_of_objects() -> None:
    """Columns of Python objects, and categories that are no text, are read as what they hold."""
    frame = pd.DataFrame(
        {
            "age": pd.Series([1, 2.5, "x", 3], dtype=object),
            "member": pd.Series([True, None, False, False], dtype=object),
            "job": pd.Categorical([7, None, 8, 8]),
            "since": pd.Series([pd.NaT, pd.NA, None, dt.date(1970, 1, 2)], dtype=object),
            "visits": pd.Series([2**80, 2, decimal.Decimal(3), np.int8(4)], dtype=object),
            "paid": pd.Categorical([True, True, True, False]),
        }
    )
    columns = tuple(column for column in COLUMNS if column.name != "sex")

    table = read_table(frame, columns, label=Binary("paid", positive=False))

    assert {name: values.tolist() for name, values in table.columns.items()} == {
        "age": [2.5, 3.0],
        "visits": [2.0, 4.0],
        "member": [pytest.approx(math.nan, nan_ok=True), 0.0],
        "job": [None, "8"],
        "since": [pytest.approx(math.nan, nan_ok=True), 86400.0],
    }
    assert table.reasons == {"'visits' is beyond 2**53": 1, "'age' is not a number": 1}


def test_read_takes_a_column_without_values_for_any_kind() -> None:
    """A nullable column that is missing everywhere fits, whatever type the frame gave it."""
    frame = pd.DataFrame({"age": [1.0, 2.0], "job": [np.nan, np.nan], "paid": ["yes", "no"]})

    assert read_table(frame, (COLUMNS[0], COLUMNS[3])).columns["job"].tolist() == [None, None]
