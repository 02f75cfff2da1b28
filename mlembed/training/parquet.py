"""Let DuckDB read Parquet files where they are, as one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from mlembed.errors import DataError
from mlembed.training import rules

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAGIC = b"PAR1"


def stage(connection: duckdb.DuckDBPyConnection, name: str, paths: Sequence[Path]) -> list[str]:
    """Make the view *name* of the files at *paths*, one after the other.

    Rows are read when they are asked for, and only the columns that are: a damaged page is found
    then.

    Returns:
        The headers.

    Raises:
        DataError: If one cannot be read, or their columns differ.
    """
    headers: list[str] = []
    parts: list[str] = []
    n_rows = 0
    for path in paths:
        try:
            own, n_own = _described(connection, path)
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            raise unreadable(str(path), error) from error
        if parts and own != headers:
            raise differing(path)
        headers = own
        names = [f"c{place}" for place in range(len(headers))]
        row = {"n": f"file_row_number + {n_rows + 1}", "problem": "CAST(NULL AS VARCHAR)"}
        file = f"read_parquet({rules.literal(str(path))}, hive_partitioning = false)"
        aliased = f"{file} AS t({', '.join(names)})"
        parts.append(rules.query(row | {column: column for column in names}, aliased))
        n_rows += n_own
    connection.execute(f"CREATE VIEW {name} AS {' UNION ALL '.join(parts)}").fetchall()
    return headers


def unreadable(title: str, error: Exception) -> DataError:
    """Return the error for a file that *error* met."""
    return DataError(
        f"{title} is no Parquet file that can be read ({type(error).__name__}): it may have "
        "been cut short; write it again"
    )


def differing(path: Path) -> DataError:
    """Return the error for a part with other columns than those before it."""
    return DataError(
        f"{path} has other columns than the parts before it, or another order of them: write the "
        "parts of one table alike, or name fewer of them"
    )


def _described(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[list[str], int]:
    schema = connection.execute("SELECT name, num_children FROM parquet_schema(?)", [str(path)])
    headers = _top_level(schema.fetchall())
    metadata = "SELECT num_rows FROM parquet_file_metadata(?)"
    ((n_rows,),) = connection.execute(metadata, [str(path)]).fetchall()
    return headers, int(n_rows)


def _top_level(schema: Sequence[tuple[str, int | None]]) -> list[str]:
    """Return the table's own columns; *schema* lists every node, a parent before its children."""
    headers, owed = [], [schema[0][1] or 0]
    for name, n_children in schema[1:]:
        if len(owed) == 1:
            headers.append(name)
        owed[-1] -= 1
        owed.append(n_children or 0)
        while owed and not owed[-1]:
            owed.pop()
    return headers
