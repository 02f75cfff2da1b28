"""A table that cannot be trained on is refused: where, what was expected, and the remedy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mlembed.columns import Column
from mlembed.errors import DataError, DeclarationError
from mlembed.training.cleaning import Cleaning
from mlembed.training.labels import Binary, Regression
from training.tables import AGE, GOOD, mapping, read_table, write

if TYPE_CHECKING:
    from pathlib import Path

PAIR = [{**GOOD, "paid": "yes"}, {**GOOD, "paid": "no"}]


def test_read_lists_all_missing_columns_and_the_nearest_headers(tmp_path: Path) -> None:
    """One message names every column that is missing and how to map headers to them."""
    path = write(tmp_path / "t.csv", "Age,sex-,job,paid\n1,f,a,yes\n")

    with pytest.raises(DataError) as raised:
        read_table(path, extra=("shop",))

    assert re.search(
        r"t\.csv lacks 6 columns: 'age' \(nearest header: 'Age'\), 'visits', 'member', "
        r"'sex' \(nearest header: 'sex-'\), 'since', 'shop', which the split, the entity, the "
        r"threshold or Leakage\(known_at=\.\.\.\) names\. Add what is missing, correct the name, or map headers "
        r"to columns with Cleaning\(rename=\{'Age': 'age', 'sex-': 'sex'\}\)",
        str(raised.value),
    )


def test_read_asks_for_headers_where_nothing_matches(tmp_path: Path) -> None:
    """A file without a header is recognised, and its first row is not shown."""
    path = write(tmp_path / "t.csv", "39,secret\n40,private\n")

    with pytest.raises(DataError, match="first row hold the headers") as raised:
        read_table(path, AGE)

    assert "secret" not in str(raised.value)


def test_read_refuses_a_missing_label() -> None:
    """The label's column is asked for like any other."""
    with pytest.raises(
        DataError, match=r"'paid', which the label names \(nearest header: 'Paid'\)"
    ):
        read_table({"age": [1], "Paid": ["yes"]}, AGE)


def test_read_renames_no_column_away_for_a_slip() -> None:
    """A field that the table has is not offered as another's name."""
    with pytest.raises(DataError, match="'agee', which the split") as raised:
        read_table({"age": [1.0, 2.0], "paid": ["yes", "no"]}, AGE, extra=("agee",))

    assert "'age': 'agee'" not in str(raised.value)


@pytest.mark.parametrize("empty", [pd.DataFrame, pl.DataFrame, dict, pa.table])
def test_read_refuses_an_empty_frame(empty: Any) -> None:
    """A frame without columns, or without rows, is refused."""
    with pytest.raises(DataError, match="has no columns"):
        read_table(empty({}))
    with pytest.raises(DataError, match="has no rows"):
        read_table(empty({"age": [], "paid": []}), AGE)


def test_read_tells_why_all_rows_were_rejected(tmp_path: Path) -> None:
    """The most frequent reasons are listed, and the rejects file is there to look at."""
    data = {"age": ["x", "y", "200"], "paid": ["yes", "no", "no"]}

    with pytest.raises(
        DataError,
        match=r"each of its 3 rows breaks a rule: 'age' is not a number \(2 rows\); "
        r"'age' is outside \[0, 120\] \(1 rows\)\. Correct",
    ):
        read_table(data, AGE, rejects=tmp_path / "rejects.csv")
    assert len((tmp_path / "rejects.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("paid", "positive", "message"),
    [
        (["yes", "yes"], "yes", r"one class: every good row is positive \(yes\)"),
        (["y", "no"], "yes", r"no good row is positive \(yes\); its values are 'no', 'y'\. Name"),
        (list("abcdefghijkl"), "z", r"'i', 'j', \.\.\.\. Name one"),
        (["a" * 50, "b"], "z", r"'a{40}\.\.\.', 'b'"),
    ],
)
def test_read_refuses_a_label_of_one_class(paid: list[str], positive: str, message: str) -> None:
    """Class names are shown, at most ten, so that the right one can be named."""
    with pytest.raises(DataError, match=message):
        read_table(
            {"age": [1] * len(paid), "paid": paid}, AGE, label=Binary("paid", positive=positive)
        )


def test_read_refuses_a_table_without_labels() -> None:
    """Rows whose outcome nobody knows cannot be learnt from."""
    with pytest.raises(DataError, match=r"label is missing \(2 rows\)"):
        read_table({"age": [1, 2], "paid": ["?", None]}, AGE)


def test_read_tells_when_all_positive_rows_were_rejected() -> None:
    """The class is there, but its rows break a rule."""
    with pytest.raises(DataError, match="its positive rows all break a rule"):
        read_table({"age": [1, -1], "paid": ["no", "yes"]}, AGE)


def test_read_refuses_a_quantity_that_is_text() -> None:
    """A regression label of text rejects each row with its reason."""
    with pytest.raises(DataError, match=r"label is not a number \(2 rows\)"):
        read_table({"age": [1, 2], "paid": ["a", "b"]}, AGE, label=Regression("paid"))


def test_read_refuses_a_column_listed_twice(tmp_path: Path) -> None:
    """Neither of two columns of one name is taken by chance, also after renaming."""
    path = write(tmp_path / "t.csv", "age,paid,age ,\n1,yes,2,\n")

    with pytest.raises(DataError, match="has more than one column 'age': give each"):
        read_table(path, AGE)
    with pytest.raises(DataError, match="more than one column 'age'"):
        read_table(
            {"age": [1], "a": [1], "paid": ["yes"]}, AGE, cleaning=Cleaning(rename={"a": "age"})
        )
    with pytest.raises(DataError, match="more than one column 'age'"):
        read_table(pd.DataFrame([[1, 2, "yes"]], columns=["age", "age", "paid"]), AGE)


def test_read_refuses_ragged_columns() -> None:
    """The lengths are named."""
    with pytest.raises(DataError, match="differ in length: 'age' has 2, 'paid' has 1"):
        read_table({"age": [1, 2], "paid": ["yes"]}, AGE)


@pytest.mark.parametrize(
    "data", [3, None, [{"age": 1}], b"age", pl.LazyFrame({"age": [1]}), pl.Series([1])]
)
def test_read_refuses_what_is_no_table(data: object) -> None:
    """The accepted kinds are listed."""
    with pytest.raises(DataError, match="is no table; expected the path of a CSV"):
        read_table(data)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("text", "column 'age' is one str"),
        (1, "column 'age' is a int; expected values"),
        (np.zeros((2, 2)), "column 'age' has 2 dimensions, expected 1"),
        ([{}, {}], "column 'age' holds a dict"),
        (["\ud800", "1"], "the mapping of columns cannot be read"),
    ],
)
def test_read_refuses_columns_that_are_none(values: object, message: str) -> None:
    """A column is a flat sequence of cells."""
    with pytest.raises(DataError, match=message):
        read_table({"age": values, "paid": ["yes", "no"]}, AGE)


@pytest.mark.parametrize(
    ("kind", "values", "held"),
    [
        ("number", pa.array([1, 2], pa.timestamp("us")), "TIMESTAMP"),
        ("number", pa.array([[1], [2]]), r"BIGINT\[\]"),
        ("category", pa.array([1.5, 2.0]), "DOUBLE"),
        ("timestamp", pa.array([True, False]), "BOOLEAN"),
        ("boolean", pa.array([b"a", b"b"]), "BLOB"),
    ],
)
def test_read_refuses_columns_of_another_type(kind: Any, values: pa.Array, held: str) -> None:
    """A typed column that cannot be what is declared is refused as a whole."""
    table = pa.table({"a": values, "paid": ["yes", "no"]})

    with pytest.raises(DataError, match=f"'a' holds {held}, expected .*Convert these columns"):
        read_table(table, (Column(name="a", kind=kind),))


def test_read_refuses_what_duckdb_cannot_read() -> None:
    """A frame with columns of a foreign type is refused without DuckDB's own message."""
    frame = pd.DataFrame({"age": pd.period_range("2024", periods=2), "paid": ["yes", "no"]})

    with pytest.raises(DataError, match="the pandas table cannot be read"):
        read_table(frame, AGE)


def test_read_refuses_an_unknown_zone() -> None:
    """The declaration is at fault, not the table."""
    with pytest.raises(DeclarationError, match=r"Cleaning\(timezone='Mars/Crater'\): no such zone"):
        read_table(mapping(PAIR), cleaning=Cleaning(timezone="Mars/Crater"))


def test_set_aside_refuses_a_place_it_cannot_write(tmp_path: Path) -> None:
    """Where rejects cannot be kept, nothing is read on."""
    write(tmp_path / "file", "")

    with pytest.raises(DataError, match=r"rejected rows cannot be written to .*name a file in"):
        read_table(mapping(PAIR), rejects=tmp_path / "file" / "rejects.csv")
