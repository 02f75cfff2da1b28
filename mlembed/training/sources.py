"""Put a table, whatever its form, into DuckDB exactly as it came.

The connection reaches the table's own files alone: no network, no extensions, no other files, and
nothing is spilled to disk, because tables hold personal data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from mlembed.errors import DataError, DeclarationError
from mlembed.training import databases, files, frames, joining, objects, parquet
from mlembed.training.files import Files
from mlembed.training.staged import described, is_interruption
from mlembed.training.tables import Joined, Query, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlembed.training.cleaning import Cleaning
    from mlembed.training.staged import JoinCount, Staged

THREADS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A table in DuckDB, named `raw`: `n` (row number, from 1), `problem`, `c0`, `c1`, ...

    Attributes:
        connection: Where it is.
        title: The table as people name it.
        headers: Header of each column, trimmed.
        types: DuckDB's type of each column.
        n_rows: Number of rows.
        joins: What came of the joins that made it.
    """

    connection: duckdb.DuckDBPyConnection
    title: str
    headers: tuple[str, ...]
    types: tuple[str, ...]
    n_rows: int
    joins: tuple[JoinCount, ...] = ()

    def find(
        self, wanted: Sequence[str], rename: Mapping[str, str], named_by: Mapping[str, str]
    ) -> dict[str, int]:
        """Return the position of every column in *wanted*.

        Args:
            wanted: Names after renaming.
            rename: New name by header.
            named_by: Who asks for a column that is no field of the record, by name.

        Raises:
            DataError: Listing every column that is missing or there twice.
        """
        names = [rename.get(header, header) for header in self.headers]
        lacking = [name for name in dict.fromkeys(wanted) if name not in names]
        if lacking:
            nothing_found = not set(wanted) & set(names)
            raise DataError(self._lacking(lacking, wanted, named_by, nothing_found=nothing_found))
        twice = [name for name, count in Counter(names).items() if name and count > 1]
        if twice:
            raise DataError(
                f"{self.title} has more than one column {_quoted(twice)}: give each column a name "
                "of its own, and look at Cleaning(rename=...)"
            )
        return {name: names.index(name) for name in wanted}

    def _lacking(
        self,
        lacking: list[str],
        wanted: Sequence[str],
        named_by: Mapping[str, str],
        *,
        nothing_found: bool,
    ) -> str:
        near = {name: _nearest(name, self.headers) for name in lacking}
        listed = ", ".join(
            f"'{name}'"
            + (f", which {named_by[name]} names" if name in named_by else "")
            + (f" (nearest header: '{near[name]}')" if near[name] else "")
            for name in lacking
        )
        # A header that is a column already is not to be renamed away for a slip in another name.
        free = {name: header for name, header in near.items() if header and header not in wanted}
        pairs = ", ".join(f"'{header}': '{name}'" for name, header in free.items())
        remedy = f"Cleaning(rename={{{pairs or repr('header') + ': ' + repr(lacking[0])}}})"
        hint = " Does its first row hold the headers?" if nothing_found else ""
        others = " correct the name," if set(lacking) & set(named_by) else ""
        return (
            f"{self.title} lacks {len(lacking)} column{'s'[: len(lacking) > 1]}: {listed}.{hint} "
            f"Add what is missing,{others} or map headers to columns with {remedy}"
        )


@contextlib.contextmanager
def opened(data: Any, cleaning: Cleaning) -> Iterator[Source]:
    """Hold *data* in DuckDB.

    Args:
        data: Path or URL of a CSV, JSON or Parquet file or a pattern of its parts, a frame or
            mapping of columns, a Table, a Query, or what was joined of them.
        cleaning: Says the zone of times that carry none, and whether text is trimmed.

    Raises:
        DataError: If it cannot be read, has no rows, or its files change meanwhile.
    """
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(_opened(_found(data, stack), cleaning))


@contextlib.contextmanager
def _opened(found: Any, cleaning: Cleaning) -> Iterator[Source]:
    own = list(_files(found))
    prints = [item.prints() for item in own]
    title = own[0].title if own else "the table"
    paths = [path for item in own for path in item.paths]
    with (
        contextlib.closing(_connect(paths, cleaning.timezone)) as connection,
        _interruptible(connection),
    ):
        try:
            staged = _stage(connection, "t0", found, cleaning)
            yield _source(connection, staged)
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            raise DataError("the table does not fit into memory: train on fewer rows") from error
        except duckdb.Error as error:
            # A view meets a damaged page only when its rows are read.
            titled = parquet.unreadable if own else frames.unreadable
            raise titled(title, error) from error
        if prints != [item.prints() for item in own]:
            raise DataError(f"{title} was written while it was read: read it again")


@contextlib.contextmanager
def _interruptible(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let Ctrl-C end the block as such, whatever was made of it on the way."""
    try:
        yield
    except Exception as error:
        if is_interruption(error):
            with contextlib.suppress(duckdb.Error):  # it may be closed by now
                connection.interrupt()  # else its threads finish the query, and closing waits
            raise KeyboardInterrupt from None
        raise


def _found(data: Any, stack: contextlib.ExitStack) -> Any:
    """Return *data* with every file found, before DuckDB is shut off from all others."""
    if isinstance(data, Joined):
        left, right = _found(data.left, stack), _found(data.right, stack)
        return dataclasses.replace(data, left=left, right=right)
    if isinstance(data, Table):
        return _found(data.data, stack)
    if not isinstance(data, (str, os.PathLike)):
        return data
    text = os.fspath(data)
    if objects.is_remote(text):
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mlembed-"))
        return objects.fetch(text, Path(folder))
    return files.find(text)


def _files(found: Any) -> Iterator[Files]:
    if isinstance(found, Joined):
        yield from _files(found.left)
        yield from _files(found.right)
    if isinstance(found, Files):
        yield found


def _source(connection: duckdb.DuckDBPyConnection, staged: Staged) -> Source:
    connection.execute(f"CREATE VIEW raw AS FROM {staged.name}").fetchall()
    return Source(
        connection=connection,
        title=staged.title,
        headers=staged.headers,
        types=staged.types,
        n_rows=staged.n_rows,
        joins=staged.joins,
    )


def _stage(
    connection: duckdb.DuckDBPyConnection, name: str, found: Any, cleaning: Cleaning
) -> Staged:
    if isinstance(found, Files):
        return files.stage(connection, name, found, cleaning)
    if isinstance(found, Joined):
        left = _stage(connection, f"{name}l", found.left, cleaning)
        right = _stage(connection, f"{name}r", found.right, cleaning)
        return joining.join(connection, name, found, left, right, cleaning)
    if isinstance(found, Query):
        headers = databases.stage(connection, name, found)
        return described(connection, name, found.title, headers)
    return described(connection, name, *frames.stage(connection, name, found))


def _connect(paths: Sequence[Path], timezone: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            "threads": THREADS,
            "temp_directory": "",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
        }
    )
    with _interruptible(connection):
        # It would write into the host's output.
        connection.execute("SET enable_progress_bar = false")
        try:
            connection.execute("SET TimeZone = ?", [timezone])
        except duckdb.Error as error:
            connection.close()
            raise DeclarationError(
                f"Cleaning(timezone={timezone!r}): no such zone; expected a name such as "
                "'Europe/Berlin'"
            ) from error
        connection.execute("SET allowed_paths = ?", [[str(path) for path in paths]])
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    return connection


def _nearest(name: str, headers: Sequence[str]) -> str | None:
    plain = {_plain(header): header for header in headers}
    found = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.75)
    return plain[found[0]] if found else None


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_").replace(" ", "_").replace(".", "_")


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
