"""A record becomes the same row in every form it may take, or every bad field is named."""

from __future__ import annotations

import dataclasses
import datetime as dt
import operator
import pickle
import sqlite3
import types
from collections import UserDict, defaultdict
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import COLUMNS, RECORD, Toy
from mlembed.columns import Category, Column
from mlembed.errors import SchemaError
from mlembed.serving.compiled import compile_encoder
from mlembed.serving.encoder import Encoder
from serving.rows import ENCODER, STRANGE, encode, nullable, only, records

ROW = [41.0, 30_000.0, 7.0, 1.0, 2.0, 1.0, RECORD["seen"].timestamp()]
Tuple = NamedTuple("Tuple", [(name, Any) for name in RECORD])  # type: ignore[misc]  # the fields are those of RECORD
Slots = dataclasses.make_dataclass("Slots", list(RECORD), slots=True)


class Lazy:
    """An object whose fields are computed, as a Django model's are."""

    class Meta:
        """Not a field."""

    objects = None

    def __getattr__(self, name: str) -> Any:
        if name in RECORD:
            return RECORD[name]
        raise AttributeError(name)


class Multi(dict[str, list[Any]]):
    """A mapping that stores lists and gives their last item, as Django's QueryDict does."""

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name)[-1]


FORMS = {
    "dict": dict(RECORD),
    "mapping proxy": types.MappingProxyType(RECORD),
    "UserDict": UserDict(RECORD),
    "dict subclass": defaultdict(float, RECORD),
    "multi dict": Multi({name: [None, value] for name, value in RECORD.items()}),
    "Record": Toy(**RECORD),
    "dataclass": Slots(**RECORD),
    "named tuple": Tuple(**RECORD),
    "namespace": types.SimpleNamespace(**RECORD, more="fields are fine"),
    "computed": Lazy(),
    "series": pd.Series(RECORD),
}


@pytest.mark.parametrize("form", FORMS)
def test_encoder_takes_every_form_of_record(form: str) -> None:
    """A mapping, a Record and any object with the attributes give the same row."""
    assert encode(FORMS[form]) == ROW


def test_encoder_takes_a_row_of_a_database() -> None:
    """A row that knows its keys is read by key, though it is no mapping."""
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    numbers = only(COLUMNS, "age", "visits")
    row = connection.execute("select 7 as visits, 41.0 as age").fetchone()
    connection.close()

    assert encode(row, Encoder("toy@1.0.0", numbers)) == [41.0, 7.0]


def test_encoder_reads_a_series_by_key() -> None:
    """A field that is called like a method of the host's object is still the field."""
    column = Column(name="size", kind="number")

    assert encode(pd.Series({"size": 5.0}), Encoder("toy@1.0.0", [column])) == [5.0]


@given(order=st.permutations(list(RECORD)))
def test_encoder_ignores_the_order_of_fields(order: list[str]) -> None:
    """Columns follow the bundle however the host orders its fields."""
    assert encode({name: RECORD[name] for name in order}) == ROW


@given(order=st.permutations(COLUMNS))
def test_encoder_follows_the_bundles_order(order: list[Column]) -> None:
    """Every cell stands where the bundle's column stands."""
    expected = dict(zip(RECORD, ROW, strict=True))

    row = encode(RECORD, Encoder("toy@1.0.0", order))

    assert row == [expected[column.name] for column in order]


BAD = {
    "age": -40.25,
    "income": float("inf"),
    "visits": 7.75,
    "member": "yes-secret",
    "town": 987_654,
    "seen": dt.datetime(2026, 3, 4),  # noqa: DTZ001  refused for it
    "ssn": "123-45-6789",
}


def test_encoder_names_every_bad_field_at_once() -> None:
    """Missing, extra, mistyped, out-of-range and non-finite fields stand in one message."""
    record = {**BAD, "plan": None}
    del record["member"]

    with pytest.raises(SchemaError) as caught:
        encode(record)

    assert caught.value.bundle == "toy@1.0.0"
    assert list(caught.value.problems) == [
        "'age' is outside [0, 120] (years)",
        "'income' is not finite",
        "'visits' has a fraction, expected a whole number",
        "'member' is missing",
        "'town' is int, expected a string",
        "'seen' has no time zone; expected one, such as datetime.now(UTC)",
        "'ssn' is no column",
    ]


def test_schema_error_never_shows_a_value() -> None:
    """No text of the error, pickled or not, holds what the host's record holds."""
    with pytest.raises(SchemaError) as caught:
        encode(BAD)

    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  our own bytes
    texts = [str(caught.value), repr(caught.value), str(again), repr(again.args)]
    assert str(again) == str(caught.value)
    for text in texts:
        assert not any(
            value in text for value in ("40.25", "7.75", "secret", "987", "123-45", "2026")
        )


def test_encoder_names_a_few_of_many_extra_fields() -> None:
    """A record of the wrong kind does not fill the log with its keys."""
    record = RECORD | {f"field_{i:05}": i for i in range(5_000)} | {"n" * 10_000: 1}

    with pytest.raises(SchemaError) as caught:
        encode(record)

    assert "'field_00000' is no column" in caught.value.problems
    assert caught.value.problems[-1] == "4991 more fields are no columns"
    assert len(str(caught.value)) < 1_000


def test_encoder_takes_a_left_out_nullable_field_as_missing() -> None:
    """Missing is missing, whether the host says None or says nothing."""
    short = {name: RECORD[name] for name in RECORD if name not in ("income", "plan")}

    assert np.array_equal(
        encode(short), encode(RECORD | {"income": None, "plan": None}), equal_nan=True
    )


@pytest.mark.parametrize("name", RECORD)
def test_fast_path_is_the_slow_path_for_strange_values(name: str) -> None:
    """The compiled shortcut gives the complete rule's row, or leaves the record to it."""
    for value in STRANGE:
        assert_paths_agree(RECORD | {name: value}, ENCODER)


@given(record=records())
def test_fast_path_is_the_slow_path(record: dict[str, Any]) -> None:
    """Whatever a record holds, both paths give the same row or the same problems."""
    assert_paths_agree(record, ENCODER)
    assert_paths_agree(types.SimpleNamespace(**record), ENCODER)


@given(record=records())
def test_fast_path_is_the_slow_path_where_all_may_be_missing(record: dict[str, Any]) -> None:
    """The same holds where every column is nullable."""
    assert_paths_agree(record, Encoder("toy@1.0.0", nullable(COLUMNS)))


@given(town=st.text(), plan=st.text() | st.none(), how=st.sampled_from(["rare", "missing"]))
def test_a_strange_word_stays_on_the_fast_path(town: str, plan: str | None, how: Any) -> None:
    """A word outside the vocabulary that may be is no reason to go the long way."""
    columns = [
        dataclasses.replace(column, rule=Category(unknown=how))
        if column.kind == "category"
        else column
        for column in COLUMNS
    ]
    encoder = Encoder("toy@1.0.0", columns)
    record = RECORD | {"town": town, "plan": plan}
    expected = answer(Encoder._encode_slowly, record, encoder)
    encoder.encode_dict = compile_encoder(
        *(encoder.columns, encoder.codes, encoder._pack, operator.itemgetter, _no_way)
    )

    assert answer(Encoder.encode, record, encoder) == expected


def _no_way(*_: Any) -> NoReturn:
    raise AssertionError("the slow path was taken")


def assert_paths_agree(record: Any, encoder: Encoder) -> None:
    """Encode both ways and compare rows and strange words, or problems, to the bit."""
    assert answer(Encoder.encode, record, encoder) == answer(
        Encoder._encode_slowly, record, encoder
    )


def answer(way: Any, record: Any, encoder: Encoder) -> str:
    """Return the row and the strange words, or the problems, as text in which NaN is itself."""
    cells = bytearray(8 * len(encoder.columns))
    try:
        return repr((way(encoder, record, cells), cells))
    except SchemaError as error:
        return str(error)
