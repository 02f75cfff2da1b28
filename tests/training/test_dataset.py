"""A table is read alike in every form, and each row is kept or counted."""

from __future__ import annotations

import datetime as dt
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from mlembed.columns import Category, Column
from mlembed.errors import DataError
from mlembed.serving.encoder import Encoder
from mlembed.serving.tables import encode_columns
from mlembed.training.labels import Multiclass
from mlembed.training.vocabulary import learn
from training.tables import AGE, COLUMNS, FORMS, GOOD, TABLES, mapping, read_table

PAIR = [{**GOOD, "paid": "yes"}, {**GOOD, "paid": "no"}]
LEARNT = tuple(
    Column(name=c.name, kind=c.kind, nullable=c.nullable, rule=Category(min_count=1))
    for c in COLUMNS
)


@settings(max_examples=15)
@given(rows=TABLES)
def test_read_gives_the_same_dataset_from_every_form(rows: list[dict[str, Any]]) -> None:
    """A table says the same as CSV, Parquet, pandas, polars, Arrow and a mapping."""
    with tempfile.TemporaryDirectory() as folder:
        datasets = {name: read_table(form(rows, Path(folder))) for name, form in FORMS.items()}

    first = datasets["csv"]
    assert {name: item.digest for name, item in datasets.items()} == dict.fromkeys(
        FORMS, first.digest
    )
    for item in datasets.values():
        assert item.n_read == len(rows) == len(item.y) + item.n_rejected
        assert item.reasons == first.reasons
        np.testing.assert_array_equal(item.y, first.y)
        for name, values in item.columns.items():
            np.testing.assert_array_equal(values, first.columns[name])


@settings(max_examples=25)
@given(rows=TABLES)
def test_read_keeps_only_what_the_encoder_accepts(rows: list[dict[str, Any]]) -> None:
    """Rows that are kept encode without an error, and those set aside would not."""
    table = read_table(mapping(rows))

    columns = learn(LEARNT, table)
    matrix, unknown = encode_columns(Encoder("toy", columns), table.columns)

    assert matrix.shape == (len(table), len(COLUMNS))
    assert not unknown
    kept = [row for row in rows if _fits(row)]
    assert len(kept) == len(table)
    assert matrix[:, 0].tolist() == [row["age"] for row in kept]


def _fits(row: dict[str, Any]) -> bool:
    return (
        row["age"] is not None
        and 0 <= row["age"] <= 120
        and abs(row["visits"] or 0) <= 2**53
        and (row["sex"] or "").strip() in ("f", "m")
        and row["paid"] is not None
    )


def test_read_reads_the_split_columns_too() -> None:
    """Columns that are all numbers or times become doubles; others stay text."""
    data = {
        "age": [1, 2, 3],
        "paid": ["yes", "no", "no"],
        "at": ["2024-01-01", "2024-01-02T00:00:00Z", None],
        "number": ["1", " 2", "3"],
        "shop": ["1", "b", "3"],
    }

    table = read_table(data, AGE, extra=("at", "number", "shop", "age"))

    assert table.extra["at"].tolist() == [1704067200.0, 1704153600.0]
    assert table.extra["number"].tolist() == [1.0, 2.0]
    assert table.extra["shop"].tolist() == ["1", "b"]
    assert table.extra["age"].tolist() == [1.0, 2.0]
    assert table.reasons == {"'at' is missing": 1}


def test_read_keeps_the_type_of_split_columns() -> None:
    """Typed split columns are doubles where they can be, and finite."""
    frame = pl.DataFrame(
        {
            "age": [1, 2, 3],
            "paid": ["yes", "no", "no"],
            "at": [dt.datetime(1970, 1, 2, tzinfo=dt.UTC)] * 3,
            "order": [1.5, 2.5, math.inf],
        }
    )

    table = read_table(frame, AGE, extra=("at", "order"))

    assert table.extra["at"].tolist() == [86400.0, 86400.0]
    assert table.extra["order"].tolist() == [1.5, 2.5]
    assert table.reasons == {"'order' is not finite": 1}


@pytest.mark.parametrize("change", [{"age": 2.0}, {"job": "b"}, {"job": None}, {"paid": "yes"}])
def test_digest_tells_rows_apart(change: dict[str, Any]) -> None:
    """Any cell, label or order that differs gives another digest; the source does not."""
    rows = [*PAIR, {**GOOD, "paid": "no"}]
    changed = [*PAIR, {**GOOD, "paid": "no", **change}]

    digests = {
        read_table(mapping(table)).digest
        for table in (rows, changed, [*changed[1:], changed[0]], [*rows])
    }

    assert len(digests) == 3


def test_digest_tells_what_was_read_beside_the_record_apart() -> None:
    """Another day or group is another table: rows are held out by it."""
    tables = [mapping([{**row, "at": at} for row in PAIR]) for at in (1.0, 2.0, "a", "b")]

    digests = [read_table(table, AGE, extra=("at",)).digest for table in tables]
    again = read_table(tables[0], AGE, extra=("at", "age")).digest

    assert len({*digests}) == 4
    assert again == digests[0]


def test_take_returns_the_rows_as_a_table() -> None:
    """The rows taken are a dataset of their own with a digest of their own."""
    table = read_table(mapping([*PAIR, {**GOOD, "age": 5, "paid": "no"}]), extra=("age",))

    taken = table.take(np.array([2, 0]))

    assert taken.columns["age"].tolist() == taken.extra["age"].tolist() == [5.0, 1.0]
    assert (taken.y.tolist(), taken.n_read, taken.n_rejected) == ([0.0, 1.0], 2, 0)
    assert taken.digest != table.digest == table.take(np.array([0, 1, 2])).digest


def test_read_shows_no_value() -> None:
    """No message shows what a cell holds."""
    data = {"age": ["secret"], "paid": ["yes"]}

    with pytest.raises(DataError) as raised:
        read_table(data, AGE)

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("form", FORMS)
def test_read_reads_a_label_of_several_classes(form: str, tmp_path: Path) -> None:
    """Classes are learnt or declared, and their codes follow their order in every form."""
    rows = [{**GOOD, "visits": n, "paid": "yes"} for n in (10, 9, 10, None, 2)]
    data = FORMS[form](rows, tmp_path)

    learnt = read_table(data, AGE, label=Multiclass("visits"))
    declared = read_table(data, AGE, label=Multiclass("visits", classes=[10, 2]))

    assert (learnt.kind, learnt.classes, learnt.y.tolist()) == (
        "multiclass",
        ("2", "9", "10"),
        [2.0, 1.0, 2.0, 0.0],
    )
    assert learnt.reasons == {"label is missing": 1}
    assert (declared.classes, declared.y.tolist()) == (("10", "2"), [0.0, 0.0, 1.0])
    assert declared.reasons == {"label is missing": 1, "label is none of its classes": 1}
    assert learnt.take(np.array([0])).classes == learnt.classes


def test_read_refuses_one_class_of_several() -> None:
    """Classes whose rows all break a rule are no classes to learn."""
    data = {"age": [1.0, 2.0, 500.0], "paid": ["a", "a", "b"]}

    with pytest.raises(DataError, match="has one class in the rows to keep"):
        read_table(data, AGE, label=Multiclass("paid"))
