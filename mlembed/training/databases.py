"""Run a query on a SQL database and put its rows into DuckDB, batch by batch.

All rows come or none: a server that goes away in the middle leaves no half of a table. Messages
name the database, never a credential, a parameter or a cell.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from mlembed.errors import DataError, MissingExtraError
from mlembed.training import rules
from mlembed.training.staged import lent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.training.tables import Query

_CURSOR = "mlembed_rows"
_FETCHED = 50_000
_SQLITE_BATCH = 20_000
# How the driver tells infinite times and days, which DuckDB takes for a year before Christ.
_INFINITE_TIMES = (-9222425352054775809, -9222425352054775808)
_INFINITE_DAYS = (-2147472692, -2147472691)
# What servers say of a query, a login or their own state; other messages may quote a cell.
_TOLD_STATES = re.compile(r"0A|25|28|3D|42|53|54|57")
_TOLD = re.compile(
    r"connection to server|server closed the connection|terminating connection|could not translate|"
    r"no such|near \"|attempt to write a readonly|file is not a database|database disk image|"
    r"database is locked|parameter count mismatch|incomplete input|ambiguous column|out of memory"
)
_PREFACE = re.compile(
    r"^(?:[A-Z_]+: )?(?:\[\w+\] )?(?:(?:Failed to [a-z ]+|PQ\w+\(\) failed): )?"
    r"(?:(?!connection to server).*?(?:ERROR|FATAL): +)?"
)
_MIXED = re.compile(r"Type mismatch in column (\d+)")


def stage(connection: duckdb.DuckDBPyConnection, name: str, query: Query) -> list[str]:
    """Make the table *name* of the rows that *query* gives.

    Returns:
        The headers.

    Raises:
        DataError: If there is no such database, it refuses the query, or does not give all rows.
        MissingExtraError: If the driver is not installed.
    """
    n_rows = 0
    headers: list[str] = []
    try:
        with _answered(query) as batches:
            for batch in batches:
                if not headers:
                    headers = _create(connection, name, batch)
                _append(connection, name, batch, n_rows)
                n_rows += batch.num_rows
    except (DataError, ImportError, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:
        raise DataError(
            f"{query.title}: its rows cannot be read ({type(error).__name__}): CAST columns that "
            "are no numbers, texts, booleans or times to text in the query"
        ) from None
    except Exception as error:  # noqa: BLE001  drivers raise what they like
        raise DataError(_failure(query, error, headers, n_rows)) from None
    return headers


@contextlib.contextmanager
def _answered(query: Query) -> Iterator[Iterator[Any]]:
    """Yield the batches of rows, at least one; the connection ends with the block."""
    if query.url.startswith("sqlite"):
        driver, url = _driver("sqlite"), _sqlite_file(query)
        read = _read_sqlite
    else:
        driver, url = _driver("postgresql"), query.url
        read = _read_postgresql
    with contextlib.closing(driver.connect(url)) as database, database.cursor() as cursor:
        yield read(cursor, query)


def _driver(kind: str) -> Any:
    try:
        importlib.import_module("pyarrow")
        return importlib.import_module(f"adbc_driver_{kind}.dbapi")
    except ImportError as error:
        raise MissingExtraError(f"a query on {kind}", "sql") from error


def _sqlite_file(query: Query) -> str:
    path = Path(query.url.removeprefix("sqlite:///")).absolute()
    if not path.is_file():
        raise DataError(f"{path} does not exist; expected a SQLite database: check the URL")
    return f"{path.as_uri()}?mode=ro"


def _read_sqlite(cursor: Any, query: Query) -> Iterator[Any]:
    cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(_SQLITE_BATCH)})
    cursor.execute(query.sql, parameters=tuple(query.parameters) or None)
    yield from _batches(cursor)


def _read_postgresql(cursor: Any, query: Query) -> Iterator[Any]:
    cursor.execute("SET TRANSACTION READ ONLY")
    if not query.parameters:
        cursor.execute(query.sql)
        yield from _batches(cursor)
        return
    # A query with parameters comes whole into the driver's memory; a cursor's rows do not.
    declare = f"DECLARE {_CURSOR} NO SCROLL CURSOR FOR {query.sql}"
    cursor.execute(declare, parameters=tuple(query.parameters))
    cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
    while True:
        cursor.execute(f"FETCH FORWARD {_FETCHED} FROM {_CURSOR}")
        n_rows = 0
        for batch in _batches(cursor):
            n_rows += batch.num_rows
            yield batch
        if n_rows < _FETCHED:
            return


def _batches(cursor: Any) -> Iterator[Any]:
    with contextlib.closing(cursor.fetch_record_batch()) as reader:
        yield reader.schema.empty_table()
        yield from reader


def _create(connection: duckdb.DuckDBPyConnection, name: str, batch: Any) -> list[str]:
    headers = [str(header) for header in batch.schema.names]
    if not headers:
        raise DataError("the query returns no columns: write one SELECT")
    places = range(len(headers))
    with lent(connection, "batch", batch):
        described = connection.execute("DESCRIBE batch").fetchall()
        cells = {f"c{i}": _cell(f"c{i}", str(described[i][1])) for i in places}
        row = {"n": "0::BIGINT", "problem": "CAST(NULL AS VARCHAR)"} | cells
        aliased = f"batch AS t({', '.join(cells)})"
        connection.execute(f"CREATE TABLE {name} AS {rules.query(row, aliased)}").fetchall()
    return headers


def _append(connection: duckdb.DuckDBPyConnection, name: str, batch: Any, n_rows: int) -> None:
    with lent(connection, "batch", batch):
        described = connection.execute("DESCRIBE batch").fetchall()
        cells = {f"c{i}": _cell(f"c{i}", str(row[1])) for i, row in enumerate(described)}
        row = {"n": f"row_number() OVER () + {n_rows}", "problem": "NULL"} | cells
        query = rules.query(row, f"batch AS t({', '.join(cells)})")
        connection.execute(f"INSERT INTO {name} {query}").fetchall()


def _cell(name: str, duckdb_type: str) -> str:
    """Return cell *name* as the rules can read it."""
    if duckdb_type == "UUID":
        return f"CAST({name} AS VARCHAR)"
    if duckdb_type == "DATE":
        infinite = ", ".join(map(str, _INFINITE_DAYS))
        return f"CASE WHEN {name} - DATE '1970-01-01' NOT IN ({infinite}) THEN {name} END"
    if duckdb_type in ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"):
        infinite = ", ".join(map(str, _INFINITE_TIMES))
        return f"CASE WHEN epoch_us({name}) NOT IN ({infinite}) THEN {name} END"
    return name


def _failure(query: Query, error: Exception, headers: list[str], n_rows: int) -> str:
    """Return what to tell of *error*."""
    text = str(error)
    if mixed := _MIXED.search(text):
        column = headers[int(mixed[1])] if int(mixed[1]) < len(headers) else mixed[1]
        return (
            f"{query.title}: column '{column}' holds values of several types; expected one: "
            f"CAST({column} AS TEXT) in the query"
        )
    what = _told(query, error, text)
    if n_rows:
        return (
            f"{query.title} ended after {n_rows:,} rows had been read ({what}); none is kept: "
            "see to the server and read again"
        )
    return f"{query.title} gave no rows ({what}): check the URL, the server and the query"


def _told(query: Query, error: Exception, text: str) -> str:
    """Return the first line of the server's message where it holds no value, else its kind."""
    state = getattr(error, "sqlstate", None) or ""
    first = text.partition("\n")[0]
    line = _PREFACE.sub("", first, count=1).strip()
    if not (_TOLD_STATES.match(state) or _TOLD.match(line)):
        return (f"SQLSTATE {state}, " if state else "") + "its message may quote a cell"
    user = urllib.parse.urlsplit(query.url).username
    return line.replace(f'"{user}"', "the user") if user else line
