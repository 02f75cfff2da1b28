"""A table that DuckDB can read, as it came: before it is cleaned, perhaps before it is joined."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from typing import TYPE_CHECKING, Any

from mlembed.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    import duckdb


_INTERRUPTED = re.compile(r"(Query interrupted|\bKeyboardInterrupt:?)\s*$")


def is_interruption(error: Exception) -> bool:
    """Tell whether *error* is what a database makes of Ctrl-C, or comes of that.

    DuckDB names it as the cause, or but in the text, where its own code ran Python's.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, KeyboardInterrupt) or _INTERRUPTED.search(str(found)):
            return True
        found = found.__cause__ or found.__context__
    return False


@contextlib.contextmanager
def lent(connection: duckdb.DuckDBPyConnection, name: str, table: Any) -> Iterator[None]:
    """Lend *table* to the queries of the block, as *name*.

    A query that Ctrl-C has cut short may still hold it: what ended the block is what is raised.
    """
    connection.register(name, table)
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            connection.unregister(name)
        raise
    connection.unregister(name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class JoinCount:
    """What came of a join; the rows of its left table stay as they were.

    Attributes:
        title: The right table, as people name it.
        n_rows: Rows of the left table.
        n_matched: Rows that found a row of the right table.
        n_without_key: Rows that join nothing, for their key or time is missing or no time.
        n_right: Rows of the right table.
        n_right_unusable: Rows of the right table that join nothing, for their key or time is
            missing or no time, or they do not fit their header.
    """

    title: str
    n_rows: int
    n_matched: int
    n_without_key: int
    n_right: int
    n_right_unusable: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Staged:
    """A table or view in DuckDB: `n` (row number, from 1), `problem`, `c0`, `c1`, ...

    Attributes:
        name: Its name in DuckDB.
        title: The table as people name it; no secret is part of it.
        headers: Header of each column, trimmed.
        types: DuckDB's type of each column, or words for one that has none.
        n_rows: Number of rows.
        joins: What came of the joins that made it.
    """

    name: str
    title: str
    headers: tuple[str, ...]
    types: tuple[str, ...]
    n_rows: int
    joins: tuple[JoinCount, ...] = ()


def described(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    title: str,
    headers: Sequence[str],
    nested: AbstractSet[str] = frozenset(),
) -> Staged:
    """Return *name* with the types and the number of rows that DuckDB tells.

    Args:
        connection: Where it is.
        name: Its name in DuckDB.
        title: The table as people name it.
        headers: Header of each column.
        nested: Headers whose cells are objects, kept as text.

    Raises:
        DataError: If it has no rows.
    """
    columns = connection.execute(f"DESCRIBE {name}").fetchall()[2:]
    ((n_rows,),) = connection.execute(f"SELECT count(*) FROM {name}").fetchall()  # noqa: S608  names are made in this package
    if not n_rows:
        raise DataError(f"{title} has no rows, only headers: it needs rows to train on")
    types = (
        "nested JSON (flatten it into columns of its own)" if header in nested else str(column[1])
        for header, column in zip(headers, columns, strict=True)
    )
    return Staged(
        name=name,
        title=title,
        headers=tuple(header.strip() for header in headers),
        types=tuple(types),
        n_rows=n_rows,
    )
