"""Texts held as codes are the texts they stand for, and are encoded like them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlembed.columns import Category, Column
from mlembed.errors import SchemaError
from mlembed.serving.encoder import Encoder
from mlembed.serving.tables import encode_columns
from mlembed.training import dataset as datasets
from mlembed.training.coded import Columns, Texts
from mlembed.training.dataset import Dataset
from mlembed.training.distinct import count_texts, distinct
from mlembed.training.matrix import encode_dataset
from mlembed.training.vocabulary import learn
from training.tables import COLUMNS, TABLES, mapping, read_table

CELLS = st.lists(
    st.one_of(st.none(), st.sampled_from(["a", "b", "é", ""])), min_size=1, max_size=20
)


def texts(cells: list[str | None]) -> Texts:
    """Return *cells* as codes; one text stands in no row."""
    known = [*dict.fromkeys(cell for cell in cells if cell is not None), "unused"]
    codes = [-1 if cell is None else known.index(cell) for cell in cells]
    return Texts(np.array(codes, dtype=np.int32), np.array(known, dtype=object))


def objects(cells: list[str | None]) -> Any:
    """Return *cells* as an array."""
    array = np.empty(len(cells), dtype=object)
    array[:] = cells
    return array


@given(cells=CELLS, data=st.data())
def test_texts_are_what_they_stand_for(cells: list[str | None], data: st.DataObject) -> None:
    """An array of texts, its rows and its counts come out as they went in."""
    held = texts(cells)
    rows = data.draw(st.lists(st.integers(0, len(cells) - 1)))

    assert held.array().tolist() == cells
    codes, known, counts = distinct(held)
    assert [None if code < 0 else known[code] for code in codes.tolist()] == cells
    assert dict(zip(known.tolist(), counts.tolist(), strict=True)) == count_texts(objects(cells))
    assert count_texts(held) == count_texts(objects(cells))
    assert held[np.array(rows, dtype=np.intp)].array().tolist() == [cells[i] for i in rows]
    assert dict(zip(held.texts.tolist(), held.counts().tolist(), strict=True)) == {
        text: cells.count(text) for text in held.texts
    }


@settings(max_examples=25)
@given(cells=CELLS, size=st.integers(1, 9))
def test_digest_does_not_tell_how_texts_are_held(cells: list[str | None], size: int) -> None:
    """Codes and texts, digested in parts of any size, have the digest of the whole."""
    doubles = np.arange(len(cells), dtype=np.float64)
    whole = hashlib.sha256(json.dumps(["c", len(cells), cells]).encode())
    whole.update(json.dumps(["", len(cells), None]).encode() + doubles.tobytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "_DIGESTED", size)
        found = {
            Dataset(kind="regression", columns=columns, y=doubles, n_read=len(cells)).digest
            for columns in (Columns({"c": texts(cells)}), {"c": objects(cells)})
        }

    assert found == {whole.hexdigest()}


@settings(max_examples=25)
@given(rows=TABLES)
def test_encode_dataset_encodes_as_a_host_does(rows: list[dict[str, Any]]) -> None:
    """The matrix made of codes is that of the table, bit by bit."""
    table = read_table(mapping(rows))
    columns = (
        learn(
            tuple(
                Column(name=c.name, kind=c.kind, nullable=c.nullable, rule=Category(min_count=2))
                for c in COLUMNS
            ),
            table,
        )
        if {*table.columns["job"]} - {None}
        else COLUMNS[:3]
    )

    matrix = encode_dataset("toy", columns, table)

    given_columns = {column.name: table.columns[column.name] for column in columns}
    wanted, _ = encode_columns(Encoder("toy", columns), given_columns)
    np.testing.assert_array_equal(matrix, wanted)
    plain = Dataset(kind="binary", columns=given_columns, y=table.y, n_read=len(table))
    np.testing.assert_array_equal(encode_dataset("toy", columns, plain), wanted)


def test_encode_dataset_lists_every_column_that_does_not_fit() -> None:
    """All bad columns are told at once; a text that stands in no row is no trouble."""
    columns = (
        Column(
            name="a",
            kind="category",
            vocabulary=("x",),
            declared=True,
            rule=Category(unknown="error"),
        ),
        Column(name="b", kind="number", maximum=1.0),
        Column(name="c", kind="category", vocabulary=("x",), declared=True),
    )
    given_columns = Columns({"a": texts(["x"]), "b": np.array([2.0]), "c": texts([None])})
    table = Dataset(kind="binary", columns=given_columns, y=np.zeros(1), n_read=1)

    with pytest.raises(SchemaError) as raised:
        encode_dataset("toy", columns, table)

    assert [problem.split()[0] for problem in raised.value.problems] == ["'b'", "'c'"]
