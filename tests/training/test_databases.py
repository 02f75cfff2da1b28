"""Rows of a query are read whole or not at all, and no message shows a secret."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from mlembed.columns import Column
from mlembed.errors import DataError, DeclarationError, MissingExtraError
from mlembed.training.tables import Query, Table
from training.postgres import (
    SLOW,
    ask,
    count_connections,
    cut_after,
    url,
    wait,
    wait_for_rows,
)
from training.tables import AGE, read_table

if TYPE_CHECKING:
    from pathlib import Path

ANY = (Column(name="age", kind="number", nullable=True),)
NUMBER = Column(name="age", kind="number")
MIXED = (
    "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 30000) "
    "SELECT i AS age, CASE WHEN i < 29000 THEN i ELSE 's3cret' END AS mixed FROM c"
)


def series(cells: str, n_rows: str) -> str:
    """Return the query of *cells* and a label in so many rows, numbered `i`."""
    paid = "CASE WHEN i % 2 = 0 THEN 'yes' ELSE 'no' END AS paid"
    return f"SELECT {cells}, {paid} FROM generate_series(1, {n_rows}) AS i"  # noqa: S608  made here


@pytest.fixture(scope="module")
def postgres() -> str:
    """Return the URL of a server."""
    return url()


@pytest.fixture
def lite(tmp_path: Path) -> str:
    """Return the URL of a SQLite database."""
    path = tmp_path / "it's 50% #1.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE t (age INTEGER, paid TEXT, mixed, at TIMESTAMP)")
        rows = [(i, "yes" if i % 2 else "no", i or "s3cret", None) for i in range(3, -1, -1)]
        database.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
        database.commit()
    return f"sqlite:///{path}"


def test_query_reads_sqlite(lite: str) -> None:
    """Rows come in the order of the query, with parameters or without; a table may wrap it."""
    for query in (
        Query(lite, "SELECT age, paid FROM t ORDER BY age"),
        Query(lite, "SELECT age, paid FROM t WHERE age < ? ORDER BY age", [9]),
    ):
        assert read_table(query, AGE).columns["age"].tolist() == [0, 1, 2, 3]
        assert read_table(Table(query), AGE).y.tolist() == [0, 1, 0, 1]


def test_query_reads_many_batches(postgres: str) -> None:
    """Batches are one table in the order of the query, with parameters or without."""
    for query in (
        Query(postgres, series("i AS age", "120000")),
        Query(postgres, series("i AS age", "$1::int"), [120_000]),
        Query(postgres, series("i AS age", "$1::int"), [100_000]),
    ):
        ages = read_table(query, (NUMBER,)).columns["age"].tolist()

        assert ages == [float(i) for i in range(1, len(ages) + 1)]
        assert len(ages) in (100_000, 120_000)


TYPES: dict[str, tuple[str, Any]] = {
    "bigint": ("9007199254740992::bigint", 2.0**53),
    "numeric": ("12.50::numeric(8, 2)", 12.5),
    "smallint": ("7::smallint", 7.0),
    "double": ("0.1::double precision", 0.1),
    "boolean": ("true", 1.0),
    "null": ("NULL", None),
    "nan": ("'NaN'::numeric", None),
    "text": ("' 3 '::text", 3.0),
}


@pytest.mark.parametrize("kind", TYPES)
def test_query_reads_the_numbers_of_postgresql(postgres: str, kind: str) -> None:
    """Whatever type a number has in the server, its value is read."""
    sql, wanted = TYPES[kind]
    query = Query(postgres, series(f"{sql} AS age", "2"))

    (value, _) = read_table(query, ANY).columns["age"].tolist()

    assert value == wanted or (wanted is None and value != value)  # noqa: PLR0124  NaN


@pytest.mark.parametrize("sql", ["9223372036854775808::numeric", "9223372036854775807::bigint"])
def test_query_sets_huge_integers_aside(postgres: str, sql: str) -> None:
    """An integer that no double holds is told, never rounded."""
    sql = series(f"CASE WHEN i > 2 THEN {sql} ELSE i END AS visits", "3")

    table = read_table(Query(postgres, sql), (Column(name="visits", kind="integer"),))

    assert table.columns["visits"].tolist() == [1.0, 2.0]
    assert table.reasons == {"'visits' is beyond 2**53": 1}


def test_query_reads_uuids_as_text(postgres: str) -> None:
    """A UUID is a category like others."""
    uuid = "00000000-0000-4000-8000-000000000001"
    sql = series(f"'{uuid}'::uuid AS job", "2")

    table = read_table(Query(postgres, sql), (Column(name="job", kind="category"),))

    assert table.columns["job"].tolist() == [uuid, uuid]


@pytest.mark.parametrize(
    "sql", ["ARRAY[1, 2]", "'\\x01'::bytea", "interval '1 day'", "'{}'::jsonb"]
)
def test_query_refuses_cells_that_are_no_cells(postgres: str, sql: str) -> None:
    """Arrays, bytes, intervals and documents are refused by column, if the column is wanted."""
    query = Query(postgres, series(f"1 AS age, {sql} AS job", "2"))

    assert len(read_table(query, AGE)) == 2
    with pytest.raises(DataError, match=r"'job' holds .*, expected text or integer or boolean"):
        read_table(query, (*AGE, Column(name="job", kind="category")))


def test_query_takes_infinite_times_for_missing(postgres: str) -> None:
    """Infinity is no time, though the driver tells a year before Christ for it."""
    columns = tuple(Column(name=f"at{i}", kind="timestamp", nullable=True) for i in range(6))
    kinds = ("timestamp", "timestamptz", "date")
    cells = [f"'{sign}infinity'::{kind}" for sign in ("", "-") for kind in kinds]
    listed = ", ".join(f"{cell} AS at{i}" for i, cell in enumerate(cells))
    old = "'1931-01-01 00:00:00+00'::timestamptz AS at9"
    query = Query(postgres, series(f"{listed}, {old}", "2"))

    table = read_table(query, (*columns, Column(name="at9", kind="timestamp")))

    assert table.columns["at9"].tolist() == [-1230768000.0] * 2
    for column in columns:
        assert str(table.columns[column.name].tolist()) == "[nan, nan]"


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT age FROM no_such_table", 'relation "no_such_table" does not exist'),
        ("DELETE FROM pg_class", "cannot execute DELETE in a read-only transaction"),
        ("SELECT 1; SELECT 2", "cannot insert multiple commands"),
        ("SELECT 's3cret'::int AS age", "SQLSTATE 22P02"),
        ("SELECT ('s3' || 'cret' || i)::int AS age FROM generate_series(1, 9) i", "may quote"),
        ("SELECT set_config('x.y', 's3cret', false)::int", "may quote"),
        ("SET x.y = 's3cret'", "returns no columns"),
    ],
)
def test_query_tells_why_postgresql_refuses_it(postgres: str, sql: str, told: str) -> None:
    """The first line of the server is told, unless it may quote a cell; nothing is written."""
    with pytest.raises(DataError) as raised:
        read_table(Query(postgres, sql), AGE)

    assert told in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_query_hides_a_cell_that_breaks_it_late(postgres: str) -> None:
    """An error after many rows tells how many, and not the value that the server quotes."""
    sql = (
        "SELECT i AS age, repeat('x', 500) AS a, "
        "CASE WHEN i = 90000 THEN ('no such s3cret' || i)::int ELSE 1 END AS paid "
        "FROM generate_series(1, 90000) AS i"
    )

    with pytest.raises(
        DataError, match=r"ended after [\d,]+ rows had been read \(its message"
    ) as raised:
        read_table(Query(postgres, sql), AGE)

    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELEC 1", 'near "SELEC": syntax error'),
        ("SELECT age FROM nope", "no such table: nope"),
        ("DELETE FROM t RETURNING age, paid", "attempt to write a readonly database"),
        ("DELETE FROM t", "attempt to write a readonly database"),
        (
            MIXED,
            "column 'mixed' holds values of several types; expected one: CAST(mixed AS TEXT)",
        ),
        ("SELECT age, paid FROM t WHERE age > ?", "parameter count mismatch"),
    ],
)
def test_query_tells_why_sqlite_refuses_it(lite: str, sql: str, told: str) -> None:
    """What SQLite says is told; the database is not written."""
    with pytest.raises(DataError) as raised:
        read_table(Query(lite, sql, () if "?" not in sql else (1, 2)), AGE)

    assert told in str(raised.value)
    assert "s3cret" not in str(raised.value)
    assert len(read_table(Query(lite, "SELECT age, paid FROM t"), AGE)) == 4


def test_query_refuses_a_database_that_is_not_there(tmp_path: Path) -> None:
    """No empty database is made; a file that is none is told."""
    with pytest.raises(DataError, match=r"gone\.db does not exist"):
        read_table(Query(f"sqlite:///{tmp_path}/gone.db", "SELECT 1"), AGE)
    assert not list(tmp_path.iterdir())

    (tmp_path / "t.db").write_text("hello" * 1000)
    with pytest.raises(DataError, match="file is not a database"):
        read_table(Query(f"sqlite:///{tmp_path}/t.db", "SELECT * FROM t"), AGE)


@pytest.mark.parametrize(
    "server",
    [
        "postgresql://someone:s3cret@127.0.0.1:1/db?sslpassword=s3cret",
        "postgresql://someone:s3cret%@127.0.0.1:1/db",
        "postgresql://someone:s3cret@127.0.0.1:s3cret/db",
        "postgresql://127.0.0.1:1/db?password=s3cret&s3cret=1",
    ],
)
def test_query_hides_what_opens_the_database(server: str) -> None:
    """User, password and options are shown by no message and no repr."""
    pytest.importorskip("adbc_driver_postgresql")
    query = Query(server, "SELECT 's3cret'", ("s3cret",))

    with pytest.raises(DataError, match="gave no rows") as raised:
        read_table(query, AGE)

    shown = f"{raised.value} {query!r} {query.title} {raised.value.__cause__}"
    assert "someone" not in shown
    assert "s3cret" not in shown.replace(":s3cret/db", "")


def test_query_refuses_other_databases() -> None:
    """A URL that no driver serves is refused before anything runs."""
    with pytest.raises(DeclarationError, match="expected postgresql://host/database or sqlite"):
        Query("mysql://host/db", "SELECT 1")
    with pytest.raises(DeclarationError, match="expected a sequence of values"):
        Query("sqlite:///x", "SELECT 1", "abc")


def test_query_without_rows_is_no_table(lite: str) -> None:
    """An empty answer is told as such."""
    with pytest.raises(DataError, match=r"the query on sqlite://.* has no rows"):
        read_table(Query(lite, "SELECT age, paid FROM t WHERE age > 9"), AGE)


def test_query_names_the_extra(lite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the driver is not installed, the extra is named."""
    monkeypatch.setitem(sys.modules, "adbc_driver_sqlite", None)
    monkeypatch.delitem(sys.modules, "adbc_driver_sqlite.dbapi", raising=False)

    with pytest.raises(MissingExtraError, match=r"mlembed\[sql\]"):
        read_table(Query(lite, "SELECT 1"), AGE)


def test_query_tells_that_the_server_went_away(postgres: str) -> None:
    """A backend that is ended while rows stream leaves an error with their number, and no table."""
    name = f"mlembed-away-{os.getpid()}"

    def end() -> None:
        wait_for_rows(name)
        ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1"
        assert ask(ended, name) == 1

    thread = threading.Thread(target=end)
    thread.start()
    with pytest.raises(DataError) as raised:
        read_table(Query(f"{postgres}?application_name={name}", SLOW), AGE)
    thread.join()

    told = r"ended after [\d,]{5,} rows .* \((server closed|terminating) .*\); none is kept"
    assert re.search(told, str(raised.value))
    assert count_connections(name) == 0


@pytest.mark.parametrize("parameters", [(), (10,)])
def test_query_tells_that_the_wire_was_cut(postgres: str, parameters: tuple[int, ...]) -> None:
    """A connection that breaks in the middle of the rows is no end of the table."""
    sql = "SELECT i AS age, repeat('x', 1000) AS paid FROM generate_series(1, 200000) AS i"
    sql += " WHERE i > $1" if parameters else ""

    with cut_after(100_000_000) as address:
        broken = f"postgresql://postgres@{address}/{postgres.rpartition('/')[2]}"
        with pytest.raises(DataError, match=r"ended after [\d,]{5,} rows had been read"):
            read_table(Query(broken, sql, parameters), AGE)


def test_query_leaves_nothing_when_it_is_interrupted(postgres: str, tmp_path: Path) -> None:
    """Ctrl-C while rows stream ends the run, the connection and leaves no file."""
    name = f"mlembed-stop-{os.getpid()}"
    script = (
        "import sys\n"
        "from mlembed.columns import Column\n"
        "from mlembed.training.cleaning import Cleaning\n"
        "from mlembed.training.dataset import read\n"
        "from mlembed.training.labels import Binary\n"
        "from mlembed.training.tables import Query\n"
        "columns = (Column(name='age', kind='number'),)\n"
        "read(Query(*sys.argv[1:]), columns, Binary('paid', positive='x'), Cleaning())\n"
    )
    command = [sys.executable, "-c", script, f"{postgres}?application_name={name}", SLOW]

    with subprocess.Popen(
        command, env=os.environ | {"TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for_rows(name)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)

    assert told.splitlines()[-1].startswith("KeyboardInterrupt")
    wait(lambda: count_connections(name) == 0, seconds=5)
    assert not list(tmp_path.iterdir())
