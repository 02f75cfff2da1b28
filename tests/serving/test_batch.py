"""A table in any form gives what its records give one by one."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlembed
from bundles import COLUMNS, RECORD, TOWNS, toy_rows, toy_table
from mlembed.errors import InferenceError, MlembedError, SchemaError
from mlembed.serving.encoder import Encoder
from mlembed.serving.tables import encode_columns
from serving.logs import events
from serving.rows import ENCODER, STRANGE, encode, encode_value, nullable, one, records, towns

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry

N = 40


@pytest.fixture
def model(registry: FileRegistry, settings: mlembed.Settings) -> mlembed.Model:
    """Return the toy model."""
    return mlembed.load("toy", registry=registry, settings=settings)


def column_of(values: list[Any]) -> Any:
    """Return *values* as an array of objects."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


TABLES: dict[str, Any] = {
    "mapping of lists": dict,
    "mapping of tuples": lambda t: {name: tuple(values) for name, values in t.items()},
    "mapping of objects": lambda t: {name: column_of(values) for name, values in t.items()},
    "mapping of series": lambda t: {name: pd.Series(values) for name, values in t.items()},
    "mapping of arrow arrays": lambda t: {name: pa.array(values) for name, values in t.items()},
    "pandas": pd.DataFrame,
    "pandas with an index": lambda t: pd.DataFrame(t).set_index(pd.Index(range(N, 0, -1))),
    "pandas nullable": lambda t: pd.DataFrame(t).convert_dtypes(),
    "pandas categories": lambda t: pd.DataFrame(t).astype({"town": "category", "plan": "category"}),
    "pandas with arrow": lambda t: pd.DataFrame(t).convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.DataFrame,
    "polars categories": lambda t: pl.DataFrame(t).with_columns(
        pl.col("town").cast(pl.Categorical)
    ),
    "arrow": pa.table,
    "arrow batch": pa.RecordBatch.from_pydict,
    "arrow dictionaries": lambda t: pa.table(
        {**t, "town": pa.array(t["town"]).dictionary_encode()}
    ),
    "arrow in chunks": lambda t: pa.concat_tables([pa.table(t)[:7], pa.table(t)[7:]]),
}


@pytest.mark.parametrize("form", TABLES)
def test_predict_batch_is_predict_in_every_form(form: str, model: mlembed.Model) -> None:
    """Mappings, pandas, polars and Arrow give the scores and labels of the records alone."""
    alone = [model.predict(row) for row in toy_rows(N, seed=5)]

    batch = model.predict_batch(TABLES[form](toy_table(N, seed=5)))

    assert batch.scores.tolist() == pytest.approx([p.score for p in alone], rel=1e-12)
    assert batch.labels == [p.label for p in alone]
    assert batch.reasons == ["ok"] * N


@given(rows=st.lists(records(), min_size=1, max_size=4))
def test_encode_columns_is_encode(rows: list[dict[str, Any]]) -> None:
    """A table has the rows of its records, or fails where one of them fails."""
    table = {name: column_of([row[name] for row in rows]) for name in RECORD}

    assert_same(rows, table, ENCODER)


@pytest.mark.parametrize("name", RECORD)
def test_encode_columns_is_encode_for_strange_values(name: str) -> None:
    """No value is taken in a table that is refused alone, nor becomes another number there."""
    for value in STRANGE:
        for column in (column_of([value]), [value]):
            table = {key: [good] for key, good in RECORD.items()} | {name: column}
            assert_same([RECORD | {name: value}], table, ENCODER)


def assert_same(rows: list[dict[str, Any]], table: dict[str, Any], encoder: Encoder) -> None:
    """Compare the rows of a table with its records, to the bit."""
    try:
        expected = [encode(row, encoder) for row in rows]
    except SchemaError:
        with pytest.raises(SchemaError):
            encode_columns(encoder, table)
        return
    assert repr(encode_columns(encoder, table)[0].tolist()) == repr(expected)


def matrix_of(column: Any, values: Any) -> list[float]:
    """Return the cells of a table of one column called `x`."""
    cells: list[float] = encode_columns(Encoder("toy@1.0.0", [column]), {"x": values})[0][
        :, 0
    ].tolist()
    return cells


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (one("number"), np.arange(3, dtype=np.int8)),
        (one("number"), np.arange(3, dtype=np.float32)),
        (one("number"), np.array([0, 1, 2], dtype=">f8")),
        (one("number"), np.arange(6.0)[::2] / 2),
        (one("integer"), np.array([0.0, 1.0, 2.0])),
        (one("integer"), pd.Series([0, 1, 2], dtype="Int64")),
        (one("number"), range(3)),
        (one("number"), (value for value in (0, 1, 2))),
        (one("category", vocabulary=("a", "b", "c")), np.array(["a", "b", "c"])),
    ],
)
def test_encode_columns_reads_every_kind_of_array(column: Any, values: Any) -> None:
    """Widths, byte orders, strides and iterators do not matter."""
    assert matrix_of(column, values) == [0.0, 1.0, 2.0]


def test_encode_columns_reads_flags() -> None:
    """Flags are 0 and 1, in an array of their own or of numbers."""
    for values in (np.array([False, True]), np.array([0, 1]), [False, True], pd.array([0.0, 1.0])):
        assert matrix_of(one("boolean"), values) == [0.0, 1.0]


@pytest.mark.parametrize(
    "values",
    [
        [2**53 + 1],
        np.array([2**53 + 1]),
        np.array([2**64 - 1], dtype=np.uint64),
        pd.Series([2**53 + 1], dtype="Int64"),
        pa.array([2**53 + 1]),
        pl.Series([2**53 + 1]),
    ],
)
def test_encode_columns_refuses_ids_that_would_be_rounded(values: Any) -> None:
    """An id that a double cannot tell from its neighbour is refused in every form."""
    with pytest.raises(SchemaError, match=r"2\*\*53"):
        matrix_of(one("integer"), values)

    assert matrix_of(one("number"), values)[0] >= 2.0**53


def test_encode_columns_keeps_large_ids_exact() -> None:
    """The largest exact id is kept in every form."""
    for values in ([2**53, 1], np.array([2**53, 1]), pa.array([2**53, 1])):
        assert matrix_of(one("integer"), values) == [2.0**53, 1.0]


MOMENTS = [dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC), None]


@pytest.mark.parametrize(
    "values",
    [
        MOMENTS,
        pd.Series(MOMENTS),
        pd.Series(MOMENTS).dt.tz_convert("Europe/Oslo"),
        pl.Series(MOMENTS),
        pl.Series(MOMENTS).dt.convert_time_zone("Europe/Oslo"),
        pa.array(MOMENTS),
        pa.array(MOMENTS, pa.timestamp("ns", tz="Europe/Oslo")),
        np.array(["2026-03-04T12:00:00", "NaT"], dtype="datetime64[ns]"),
        np.array(["2026-03-04T12", "NaT"], dtype="datetime64[h]"),
        [MOMENTS[0].timestamp(), None],  # type: ignore[union-attr]  # the first is a time
    ],
)
def test_encode_columns_reads_moments_of_every_library(values: Any) -> None:
    """One moment is one number in every library, and its missing mark is missing."""
    cells = matrix_of(one("timestamp", nullable=True), values)

    assert repr(cells) == repr([1_772_625_600.0, np.nan])


@pytest.mark.parametrize("kind", ["number", "integer", "boolean", "category"])
def test_encode_columns_never_reads_times_as_numbers(kind: Any) -> None:
    """Times and durations are not counts of nanoseconds."""
    for values in (np.array([5], dtype="M8[ns]"), np.array([5], dtype="m8[ns]")):
        with pytest.raises(SchemaError, match=r"is (datetime|timedelta)64"):
            matrix_of(one(kind), values)


def test_encode_columns_leaves_masked_values_out() -> None:
    """What stands below a mask is missing."""
    masked = np.ma.MaskedArray([1.0, 999.0], mask=[False, True])

    assert repr(matrix_of(one("number", nullable=True), masked)) == "[1.0, nan]"


def test_encode_columns_names_every_bad_column() -> None:
    """Missing, unknown and bad columns stand in one message, with the first bad row."""
    table = toy_table(20, seed=1)
    table["age"][3] = 121.0
    table["income"][4] = float("inf")
    table["visits"][5] = 1.5
    table["member"][6] = "secret"
    table["town"][7] = 987_654

    with pytest.raises(SchemaError) as caught:
        encode_columns(ENCODER, table)

    assert list(caught.value.problems) == [
        "'age' is outside [0, 120] in 1 rows, first in row 3",
        "'income' is not finite, first in row 4",
        "'visits' has a fraction in 1 rows, first in row 5",
        "'member' is str, expected true or false, first in row 6",
        "'town' is int, expected a string, first in row 7",
    ]


def test_encode_columns_names_columns_that_do_not_align() -> None:
    """Columns that are missing, unknown, ragged or nested stand in one message."""
    table = toy_table(20, seed=1) | {"more": [1], "age": [1.0] * 19, "visits": np.ones((20, 2))}
    del table["member"]

    with pytest.raises(SchemaError) as caught:
        encode_columns(ENCODER, table)

    assert list(caught.value.problems) == [
        "'more' is no column",
        "'visits' has 2 dimensions, expected 1",
        "'member' is missing",
        "columns differ in length: [19, 20]",
    ]


@pytest.mark.parametrize("values", [41.0, None, "abc", b"abc", {"a": 1}, {1.0, 2.0}])
def test_encode_columns_refuses_what_is_no_column(values: Any) -> None:
    """One value, text, a mapping or a set is no column of values."""
    with pytest.raises(SchemaError, match=f"'x' is {type(values).__name__}, expected one value"):
        matrix_of(one("number"), values)


@pytest.mark.parametrize("table", [None, [], [RECORD], 5, "abc", np.ones((2, 7))])
def test_encode_columns_refuses_what_is_no_table(table: Any) -> None:
    """The error says what was given and what is taken, once and not for each column."""
    with pytest.raises(SchemaError, match="expected a mapping of columns") as caught:
        encode_columns(ENCODER, table)

    (problem,) = caught.value.problems
    assert problem.startswith(f"{type(table).__name__} is no table")


def test_encode_columns_refuses_a_table_without_columns() -> None:
    """Each one it lacks is named."""
    with pytest.raises(SchemaError, match="'age' is missing"):
        encode_columns(ENCODER, {})


def test_encode_columns_needs_a_column_where_all_may_be_missing() -> None:
    """A table without any column has no number of rows."""
    with pytest.raises(SchemaError, match="the table has no columns"):
        encode_columns(Encoder("toy@1.0.0", nullable(COLUMNS)), {})


def test_encode_columns_takes_a_left_out_nullable_column_as_missing() -> None:
    """A nullable column that is not given is missing in every row."""
    table = toy_table(3)
    del table["income"]

    assert np.isnan(encode_columns(ENCODER, table)[0][:, 1]).all()


def test_encode_columns_treats_unknown_categories_by_their_rule() -> None:
    """The rule is that of a record, and the row of the first problem is named."""
    values = ["oslo", "nowhere", None]

    assert repr(matrix_of(towns("rare", rare=True), values)) == repr([2.0, 3.0, np.nan])
    assert repr(matrix_of(towns("missing", rare=True), values)) == repr([2.0, np.nan, np.nan])
    with pytest.raises(SchemaError, match="none of its 3 categories, first in row 1"):
        matrix_of(towns("error", rare=True), values)
    assert encode_value(towns("rare", rare=True), "nowhere") == len(TOWNS)


def test_predict_batch_of_nothing_is_nothing(model: mlembed.Model) -> None:
    """A table without rows gives a batch without answers, and nothing is logged."""
    batch = model.predict_batch(toy_table(0))

    assert (len(batch), batch.scores.shape, batch.labels, batch.ids) == (0, (0,), [], [])


def test_predict_batch_of_one_is_predict(model: mlembed.Model) -> None:
    """A table of one record is that record."""
    batch = model.predict_batch({name: [value] for name, value in RECORD.items()})

    assert batch.scores[0] == pytest.approx(model.predict(RECORD).score, rel=1e-12)
    assert batch.version == model.version
    assert repr(batch) == "<Batch of 1 by toy@1.0.0>"


def test_predict_batch_of_100_000_rows_gives_each_an_id(model: mlembed.Model) -> None:
    """A large table gives every record a score and an id of its own, in time for a caller."""
    small = toy_table(1_000, seed=2)

    batch = model.predict_batch({name: values * 100 for name, values in small.items()})

    assert len(set(batch.ids)) == len(batch) == 100_000
    assert np.array_equal(batch.scores[:1_000], batch.scores[-1_000:])


def test_predict_batch_with_a_fallback_answers_for_every_record(
    registry: FileRegistry, settings: mlembed.Settings
) -> None:
    """A fallback answers for every record of a table that fails, and says why."""
    model = mlembed.load("toy", registry=registry, settings=settings, fallback=0.25)
    table = toy_table(300) | {"age": ["old"] * 300}

    batch = model.predict_batch(table)

    assert batch.scores.tolist() == [0.25] * 300
    assert set(batch.reasons) == {"fallback"}
    assert set(batch.labels) == {None}
    assert batch.error.startswith("SchemaError: record does not fit toy@1.0.0: 'age' is str")
    assert repr(batch).endswith("toy@1.0.0, fallback after SchemaError>")
    assert len(set(batch.ids)) == 300


@pytest.mark.parametrize(
    ("table", "n_records"),
    [
        (None, 0),
        (5, 0),
        ({}, 0),
        ({"age": 41.0}, 0),
        ({"age": 41.0, "town": ["oslo"] * 3}, 3),
        ({"age": (age for age in (1.0, 2.0))}, 0),
        (pd.DataFrame({"age": [1, 2]}), 2),
        (pa.table({"age": [1, 2]}), 2),
    ],
)
def test_predict_batch_with_a_fallback_never_raises(
    registry: FileRegistry, settings: mlembed.Settings, table: Any, n_records: int
) -> None:
    """Whatever the table is, the fallback answers for as many records as can be counted."""
    model = mlembed.load("toy", registry=registry, settings=settings, fallback=0.25)

    assert model.predict_batch(table).scores.tolist() == [0.25] * n_records


def test_predict_batch_logs_what_was_answered(model: mlembed.Model) -> None:
    """What the host does to its scores while they wait does not change the log."""
    batch = model.predict_batch(toy_table(300))
    answered = batch.scores.tolist()

    batch.scores[:] = 0.0
    model.flush()

    logged = [event["body"]["y"]["score"] for event in events(model.settings.log_dir)]
    assert [score for scores in logged for score in scores] == answered


class Bomb:
    """A table whose every use fails."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def test_predict_batch_maps_every_error(model: mlembed.Model) -> None:
    """Whatever a table raises reaches the host as an error of mlembed, with its cause."""
    with pytest.raises(InferenceError, match="RuntimeError while predicting") as caught:
        model.predict_batch(Bomb())

    assert isinstance(caught.value, MlembedError)
    assert isinstance(caught.value.__cause__, RuntimeError)
