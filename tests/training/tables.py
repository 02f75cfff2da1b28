"""One table in every form that a trainer reads, for the data tests."""

from __future__ import annotations

import csv
import datetime as dt
import io
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from mlembed.columns import Column
from mlembed.training.cleaning import Cleaning
from mlembed.training.dataset import Dataset, read
from mlembed.training.labels import Binary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

COLUMNS = (
    Column(name="age", kind="number", minimum=0.0, maximum=120.0),
    Column(name="visits", kind="integer", nullable=True),
    Column(name="member", kind="boolean", nullable=True),
    Column(name="job", kind="category", nullable=True),
    Column(name="sex", kind="category", vocabulary=("f", "m"), declared=True),
    Column(name="since", kind="timestamp", nullable=True),
)
LABEL = Binary("paid", positive="yes")
AGE = COLUMNS[:1]

_TIMES = st.datetimes(
    dt.datetime(1900, 1, 1),  # noqa: DTZ001  the strategy adds the zone
    dt.datetime(2200, 1, 1),  # noqa: DTZ001  idem
    timezones=st.just(dt.UTC),
)
ROWS = st.fixed_dictionaries(
    {
        "age": st.one_of(st.floats(0, 120), st.floats(allow_nan=False), st.none()),
        "visits": st.one_of(st.integers(-(2**54), 2**54), st.none()),
        "member": st.sampled_from([True, False, None]),
        "job": st.one_of(st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.none()),
        "sex": st.sampled_from(["f", "m", " m ", "x", "?", None]),
        "since": st.one_of(_TIMES, st.none()),
        "paid": st.sampled_from(["yes", "no", None]),
    }
)
GOOD = {"age": 1.0, "visits": 1, "member": True, "job": "a", "sex": "f", "since": None}
TABLES = st.lists(ROWS, max_size=30).map(
    lambda rows: [*rows, {**GOOD, "paid": "yes"}, {**GOOD, "paid": "no"}]
)

_SCHEMA = pa.schema(
    [
        ("age", pa.float64()),
        ("visits", pa.int64()),
        ("member", pa.bool_()),
        ("job", pa.string()),
        ("sex", pa.dictionary(pa.int32(), pa.string())),
        ("since", pa.timestamp("us", "UTC")),
        ("paid", pa.string()),
    ]
)


def read_table(data: Any, columns: Sequence[Column] = COLUMNS, **options: Any) -> Dataset:
    """Read *data* as these tests declare it."""
    cleaning = options.pop("cleaning", Cleaning())
    return read(data, columns, options.pop("label", LABEL), cleaning, **options)


def mapping(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the columns of *rows*."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def csv_text(rows: Sequence[Mapping[str, Any]], separator: str = ",") -> str:
    """Return *rows* as a CSV file holds them."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator)
    writer.writerow(rows[0])
    writer.writerows([_text(row[name]) for name in rows[0]] for row in rows)
    return file.getvalue()


def write(path: Path, text: str) -> Path:
    """Write *text*, its line ends as they are."""
    path.write_text(text, encoding="utf-8", newline="")
    return path


def as_csv(rows: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """Return the path of *rows* as CSV."""
    return write(folder / "table.csv", csv_text(rows))


def as_parquet(rows: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """Return the path of *rows* as Parquet."""
    path = folder / "table.parquet"
    pq.write_table(as_arrow(rows, folder), path)
    return path


def as_arrow(rows: Sequence[Mapping[str, Any]], _folder: Path) -> pa.Table:
    """Return *rows* as an Arrow table."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=_SCHEMA)


def as_polars(rows: Sequence[Mapping[str, Any]], folder: Path) -> pl.DataFrame:
    """Return *rows* as a polars table with a categorical column."""
    return pl.DataFrame(as_arrow(rows, folder)).with_columns(pl.col("sex").cast(pl.Categorical))


def as_pandas(rows: Sequence[Mapping[str, Any]], _folder: Path) -> pd.DataFrame:
    """Return *rows* as a pandas table with nullable and categorical columns, its index shuffled."""
    columns = mapping(rows)
    return pd.DataFrame(
        {
            "age": pd.array(columns["age"], dtype="Float64"),
            "visits": pd.array(columns["visits"], dtype="Int64"),
            "member": pd.array(columns["member"], dtype="boolean"),
            "job": columns["job"],
            "sex": pd.Categorical(columns["sex"]),
            "since": pd.to_datetime(pd.Series(columns["since"]), utc=True),
            "paid": pd.array(columns["paid"], dtype="string"),
        }
    ).set_index(pd.RangeIndex(len(rows), 0, -1))


def as_mapping(rows: Sequence[Mapping[str, Any]], _folder: Path) -> dict[str, list[Any]]:
    """Return the columns of *rows*, as Python objects."""
    return mapping(rows)


FORMS: dict[str, Callable[[Sequence[Mapping[str, Any]], Path], Any]] = {
    "csv": as_csv,
    "parquet": as_parquet,
    "arrow": as_arrow,
    "polars": as_polars,
    "pandas": as_pandas,
    "mapping": as_mapping,
}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)
