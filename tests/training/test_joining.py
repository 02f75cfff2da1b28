"""A join adds what was known, and changes no row of the left table."""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlembed.columns import Column
from mlembed.errors import DataError, DeclarationError
from mlembed.training.cleaning import Cleaning
from mlembed.training.labels import Binary
from mlembed.training.sources import opened
from mlembed.training.tables import Query, Table
from training.tables import FORMS, read_table, write

COLUMNS = (
    Column(name="row", kind="number"),
    Column(name="value", kind="number", nullable=True),
)
LABEL = Binary("paid", positive="yes")
KEYS = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "NA", " a "]))
# Around 1970, some equal, some not: seconds with a fraction of a microsecond's grain.
INSTANTS = st.one_of(st.none(), st.integers(-6, 6).map(lambda i: i * 0.5))


def values(data: Any, cleaning: Cleaning | None = None, n_rows: int | None = None) -> list[Any]:
    """Return the joined column `value` of each row, None where it is missing."""
    table = read_table(data, COLUMNS, label=LABEL, cleaning=cleaning or Cleaning())
    row = table.columns["row"].tolist()
    assert row == [float(i) for i in range(len(row) if n_rows is None else n_rows)]
    return [None if value != value else value for value in table.columns["value"].tolist()]  # noqa: PLR0124  NaN


def left(**columns: list[Any]) -> dict[str, list[Any]]:
    """Return a left table of numbered rows."""
    n_rows = len(next(iter(columns.values())))
    paid = ["yes", "no"] * n_rows
    return {"row": list(range(n_rows)), **columns, "paid": paid[:n_rows]}


def moment(seconds: float | None) -> dt.datetime | None:
    """Return the time so many seconds after 1970."""
    return (
        None
        if seconds is None
        else dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    )


def key(text: str | None) -> str | None:
    """Return *text* as cleaning reads it."""
    return None if text is None or text.strip() == "NA" else text.strip()


@settings(max_examples=25)
@given(
    rows=st.lists(KEYS, min_size=2, max_size=12),
    others=st.lists(st.sampled_from(["a", "b", "c", "d", None]), unique=True, max_size=5),
    form=st.sampled_from(list(FORMS)),
)
def test_join_is_a_lookup(rows: list[str | None], others: list[str | None], form: str) -> None:
    """Whatever the tables, each row gets the value of its key, in its place."""
    known = [*others, "z"]
    right: dict[str, list[Any]] = {"k": known, "value": [float(i) for i in range(len(known))]}

    with tempfile.TemporaryDirectory() as folder:
        given_right = as_form(form, right, Path(folder))
        found = values(Table(left(k=rows)).join(given_right, on="k"), n_rows=len(rows))

    lookup = dict(zip(known, right["value"], strict=True))
    assert found == [None if key(k) is None else lookup.get(key(k)) for k in rows]


def as_form(form: str, columns: dict[str, list[Any]], folder: Path) -> Any:
    """Return *columns* in another form of table."""
    if form in ("arrow", "parquet"):
        table = pa.table(columns)
        pq.write_table(table, folder / "right.parquet")
        return table if form == "arrow" else folder / "right.parquet"
    frame = pl.DataFrame(columns)
    if form == "csv":
        frame.write_csv(folder / "right.csv")
        return folder / "right.csv"
    if form == "pandas":
        return frame.to_pandas()
    return frame if form == "polars" else columns


@settings(max_examples=40)
@given(
    rows=st.lists(st.tuples(KEYS, INSTANTS), min_size=2, max_size=12),
    others=st.lists(st.tuples(KEYS, INSTANTS), max_size=12),
    delay=st.sampled_from([0.0, 0.5, 1.25]),
    max_age=st.sampled_from([None, 0.5, 2.0]),
)
def test_join_asof_is_a_loop_over_the_past(
    rows: list[tuple[str | None, float | None]],
    others: list[tuple[str | None, float | None]],
    delay: float,
    max_age: float | None,
) -> None:
    """Each row gets the newest value strictly before its time, known by then and not too old."""
    others = [*others, ("z", 0.0)]
    right = pl.DataFrame(
        {
            "k": [k for k, _ in others],
            "at": [moment(t) for _, t in others],
            "value": [float(i) for i in range(len(others))],
        },
        schema_overrides={"at": pl.Datetime("us", "UTC"), "k": pl.String},
    )
    table = Table(left(k=[k for k, _ in rows], at=[moment(t) for _, t in rows]))

    found = values(
        table.join_asof(right, on="k", time="at", delay_seconds=delay, max_age_seconds=max_age),
        n_rows=len(rows),
    )

    assert found == [_newest(row, others, delay, max_age) for row in rows]


def _newest(
    row: tuple[str | None, float | None],
    others: list[tuple[str | None, float | None]],
    delay: float,
    max_age: float | None,
) -> float | None:
    best, found = None, None
    for i, (other, at) in enumerate(others):
        if None in (key(row[0]), row[1], at) or key(other) != key(row[0]):
            continue
        assert row[1] is not None
        assert at is not None
        if at + delay < row[1] and (best is None or at >= best):
            best, found = at, float(i)
    if best is not None and max_age is not None and row[1] is not None and row[1] - best > max_age:
        return None
    return found


@pytest.mark.parametrize("form", ["arrow", "polars", "parquet"])
@pytest.mark.parametrize("right_zone", [None, "America/New_York"])
def test_join_asof_understands_mixed_zones(
    tmp_path: Path, form: str, right_zone: str | None
) -> None:
    """Times without a zone are in the one of the cleaning; others are what they say."""
    berlin = [
        "2024-07-01 12:00:00",
        "2024-07-01T10:00:00.000001Z",
        "2024-01-01 00:00",
        "1931-05-01",
    ]
    moments = [dt.datetime(2024, 7, 1, 12), dt.datetime(1931, 4, 30, 23)]  # noqa: DTZ001  given below
    naive = pl.DataFrame({"at": moments, "value": [1.0, 2.0]})
    right: Any = naive.with_columns(pl.col("at").dt.replace_time_zone("Europe/Berlin"))
    right = (
        right.with_columns(pl.col("at").dt.convert_time_zone(right_zone)) if right_zone else naive
    )
    if form != "polars":
        right = right.to_arrow()
    if form == "parquet":
        pq.write_table(right, tmp_path / "t.parquet")
        right = tmp_path / "t.parquet"

    joined = Table(left(at=berlin)).join_asof(right, on=(), time="at")

    # Noon itself is not before noon; a microsecond later is.
    assert values(joined, Cleaning(timezone="Europe/Berlin")) == [2.0, 1.0, 2.0, 2.0]


@pytest.mark.parametrize("other", [1_717_236_000_000, 20_240_601])
@pytest.mark.parametrize("kind", [int, float, str])
def test_join_asof_matches_no_other_unit(kind: Any, other: int) -> None:
    """A row whose time is no seconds since 1970 knows nothing and is known to no row."""
    right = {"at": [kind(1_717_000_000)], "value": [1.0]}
    joined = Table(left(at=[kind(other), kind(1_717_236_000)])).join_asof(right, on=(), time="at")
    early = {"at": [kind(other if other < 1e9 else -other)], "value": [1.0]}
    unknown = Table(left(at=[kind(1_717_236_000)] * 2)).join_asof(early, on=(), time="at")

    assert values(joined) == [None, 1.0]
    assert values(unknown) == [None, None]


def test_join_asof_takes_seconds_and_dates() -> None:
    """Seconds since 1970 and dates are times as well; names may differ."""
    right = {"moment": [86_399.0, 86_400.0], "value": [1.0, 2.0]}
    days = pl.DataFrame({**left(day=[dt.date(1970, 1, 2), dt.date(1970, 1, 3)])})

    assert values(Table(days).join_asof(right, on=(), time=("day", "moment"))) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ([7, 8], ["7", " 08"]),
        ([7.0, None], [7, 8]),
        (["7", "8.0"], [7, 9]),
        (np.array([2**53 + 1, 1]), ["9007199254740993", "2"]),
        ([True, None], ["true", "x"]),
    ],
)
def test_join_compares_keys_as_they_are_written(own: Any, other: list[Any]) -> None:
    """A key means the same whatever type it has, to its last digit."""
    right = {"k": other, "value": [1.0, 2.0]}

    assert values(
        Table(left(k=list(own) if isinstance(own, list) else own)).join(right, on="k")
    ) == [
        1.0,
        None,
    ]


def test_join_takes_several_keys_with_other_names() -> None:
    """Keys are a mapping from the left names to the right; the right ones are not added."""
    right = {"shop": ["x", "y"], "id": [1, 1], "value": [1.0, 2.0], "row": [8.0, 9.0]}
    table = Table(left(shop=["y", "x"], customer=[1, 2]))

    with pytest.raises(DataError, match=r"both have 'row': join with prefix='...'"):
        values(table.join(right, on={"shop": "shop", "customer": "id"}))
    joined = table.join(right, on={"shop": "shop", "customer": "id"}, prefix="b_")
    with opened(joined, Cleaning()) as source:
        assert source.headers == ("row", "shop", "customer", "paid", "b_value", "b_row")
    assert values_of(joined, "b_value") == "[2.0, nan]"


def values_of(data: Any, name: str) -> str:
    """Return the cells of column *name*."""
    columns = (Column(name=name, kind="number", nullable=True),)
    return str(read_table(data, columns, label=LABEL).columns[name].tolist())


def test_join_refuses_a_key_that_stands_twice(tmp_path: Path) -> None:
    """Keys of the right table are unique; how many are not is told, and none is shown."""
    write(tmp_path / "r.csv", "k,value\ns3cret,1\n s3cret,2\nb,3\nNA,4\nNA,5\nz,6\nz,7\nz,8\n")

    with pytest.raises(DataError, match=r"r\.csv: 2 keys \('k'\) stand in 5 rows") as raised:
        values(Table(left(k=["b"])).join(tmp_path / "r.csv", on="k"))

    assert "s3cret" not in str(raised.value)


def test_join_counts_what_joins_nothing(tmp_path: Path) -> None:
    """Rows without a key or a time are counted on both sides, as are broken rows on the right."""
    write(
        tmp_path / "r.csv",
        "k,at,value\na,2024-01-01,1\na\n,2024-01-01,2\na,soon,3\nb,2024-01-01,4\n",
    )
    table = left(k=["a", None, "b", "c", "a"], at=["2024-01-02"] * 4 + ["infinity"])

    with opened(
        Table(table).join_asof(tmp_path / "r.csv", on="k", time="at"), Cleaning()
    ) as source:
        (count,) = source.joins

    assert (count.n_rows, count.n_matched, count.n_without_key) == (5, 2, 2)
    assert (count.n_right, count.n_right_unusable) == (5, 3)
    assert count.title.endswith("r.csv")


def test_join_renames_the_joined_table() -> None:
    """Cleaning.rename names columns of the result; joins use the headers as they are."""
    table = Table(left(k=["a", "b"])).join({"k": ["b"], "worth": [5]}, on="k")

    assert values(table, Cleaning(rename={"worth": "value"})) == [None, 5.0]


def test_join_chains_and_nests() -> None:
    """A joined table is joined again, and may stand on the right."""
    cities = Table({"city": ["x", "y"], "value": [1.0, 2.0]})
    people = Table({"k": ["a", "b"], "city": ["y", "z"]}).join(cities, on="city")
    chained = Table(left(k=["a", "b", "c"])).join({"k": ["a", "b"], "city": ["y", "z"]}, on="k")

    assert values(Table(left(k=["a", "b", "c"])).join(people, on="k")) == [2.0, None, None]
    assert values(chained.join(cities, on="city")) == [2.0, None, None]


def test_join_keeps_broken_rows_of_the_left_table(tmp_path: Path) -> None:
    """A ragged row of the left table is set aside with its number, joined or not."""
    path = write(tmp_path / "l.csv", "row,k,paid\n0,a,yes\n1\n2,b,no\n")
    joined = Table(path).join({"k": ["b"], "value": [5.0]}, on="k")

    table = read_table(joined, COLUMNS, label=LABEL, rejects=tmp_path / "rejects.csv")

    assert str(table.columns["value"].tolist()) == "[nan, 5.0]"
    assert table.reasons == {"has too few fields": 1}
    assert (tmp_path / "rejects.csv").read_text().splitlines() == [
        "row,reason,row,k,paid,value",
        "2,has too few fields,1,,,",
    ]


@pytest.mark.parametrize(
    ("right", "on", "message"),
    [
        (
            {"k": ["a"], "value": [1]},
            "key",
            "the mapping of columns has no column 'key' to join by",
        ),
        ({"key": ["a"], "value": [1]}, "k", "has no column 'k' to join by; it has 'key', 'value'"),
        (
            pl.DataFrame({"k": [dt.date(2024, 1, 1)]}),
            "k",
            "key 'k' holds VARCHAR in .* and DATE in",
        ),
        (pa.table({"k": [[1]], "value": [1]}), "row", "has no column 'row'"),
    ],
)
def test_join_refuses_keys_that_do_not_fit(right: Any, on: str, message: str) -> None:
    """A column that is not there, or holds another kind, is named."""
    with pytest.raises(DataError, match=message):
        values(Table(left(k=["a", "b"])).join(right, on=on))


def test_join_asof_refuses_what_is_no_time() -> None:
    """A time column of another kind is named."""
    with pytest.raises(DataError, match="time 'at' holds BOOLEAN, expected times, or seconds"):
        values(Table(left(at=[1, 2])).join_asof({"at": np.array([True])}, on=(), time="at"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"time": ""}, "expected a column's name"),
        ({"time": ("a", "b", "c")}, "expected a column's name"),
        ({"time": "at", "delay_seconds": -1}, "0 or more seconds"),
        ({"time": "at", "delay_seconds": float("nan")}, "0 or more seconds"),
        ({"time": "at", "max_age_seconds": 0}, "more than 0 seconds"),
        ({"time": "at", "on": (1,)}, "expected names of columns"),
    ],
)
def test_join_asof_refuses_a_bad_declaration(arguments: dict[str, Any], message: str) -> None:
    """What cannot be meant is refused before a file is opened."""
    with pytest.raises(DeclarationError, match=message):
        Table("nowhere.csv").join_asof("nowhere.csv", **{"on": "k", **arguments})
    with pytest.raises(DeclarationError, match="at least one key"):
        Table("nowhere.csv").join("nowhere.csv", on=())


def test_join_tells_that_the_right_file_is_damaged(tmp_path: Path) -> None:
    """A page that cannot be read is told with the names of both tables."""
    pq.write_table(
        pa.table({"k": list(range(9000)), "value": [0.5] * 9000}), tmp_path / "r.parquet"
    )
    data = (tmp_path / "r.parquet").read_bytes()
    (tmp_path / "r.parquet").write_bytes(data[:60] + b"\xff" * 200 + data[260:])

    with pytest.raises(
        DataError, match=r"r\.parquet cannot be joined .*: one of them may have been"
    ):
        values(Table(left(k=[1, 2])).join(tmp_path / "r.parquet", on="k"))


def test_join_takes_parts_files_and_queries_at_once(tmp_path: Path) -> None:
    """Parts of Parquet, a CSV file and a query are one table, as an example shows it."""
    pytest.importorskip("adbc_driver_sqlite", reason="no ADBC for SQLite")
    for part in range(2):
        rows = {"row": [2 * part, 2 * part + 1], "customer": [7, 8], "paid": ["yes", "no"]}
        at = [moment(1000.0 * (part + 1))] * 2
        pq.write_table(pa.table({**rows, "at": at}), tmp_path / f"part-{part}.parquet")
    write(tmp_path / "customers.csv", "customer,city\n7,Bonn\n9,Kiel\n")
    with contextlib.closing(sqlite3.connect(tmp_path / "t.db")) as database:
        database.execute("CREATE TABLE balances (customer INTEGER, at REAL, value REAL)")
        balances = [(8, 900.0, 1.0), (7, 500.0, 2.0), (7, 950.0, 3.0), (7, 1100.0, 4.0)]
        database.executemany("INSERT INTO balances VALUES (?, ?, ?)", balances)
        database.commit()
    query = Query(f"sqlite:///{tmp_path}/t.db", "SELECT * FROM balances WHERE value > ?", [0])

    joined = (
        Table(tmp_path / "part-*.parquet")
        .join(Table(tmp_path / "customers.csv"), on="customer")
        .join_asof(query, on="customer", time="at", delay_seconds=100, max_age_seconds=900)
    )
    columns = (*COLUMNS, Column(name="city", kind="category", nullable=True))
    table = read_table(joined, columns, label=LABEL)

    assert table.columns["row"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert table.columns["city"].tolist() == ["Bonn", None, "Bonn", None]
    assert str(table.columns["value"].tolist()) == "[2.0, nan, 4.0, nan]"
    assert [count.n_matched for count in table.joins] == [2, 2]
