"""Put a table, whatever its form, into DuckDB exactly as it came.

The connection reaches one file at most: no network, no extensions, no other files, and nothing
is spilled to disk, because tables hold personal data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import os
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from mlembed.errors import DataError, DeclarationError
from mlembed.training import delimited, frames

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlembed.training.cleaning import Cleaning

THREADS = 2
_PARQUET = b"PAR1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A table in DuckDB, named `raw`: `n` (row number, from 1), `problem`, `c0`, `c1`, ...

    Attributes:
        connection: Where it is.
        title: The table as people name it.
        headers: Header of each column, trimmed.
        types: DuckDB's type of each column.
        n_rows: Number of rows.
    """

    connection: duckdb.DuckDBPyConnection
    title: str
    headers: tuple[str, ...]
    types: tuple[str, ...]
    n_rows: int

    def find(self, wanted: Sequence[str], rename: Mapping[str, str]) -> dict[str, int]:
        """Return the position of every column in *wanted*.

        Args:
            wanted: Names after renaming.
            rename: New name by header.

        Raises:
            DataError: Listing every column that is missing or there twice.
        """
        names = [rename.get(header, header) for header in self.headers]
        lacking = [name for name in dict.fromkeys(wanted) if name not in names]
        if lacking:
            raise DataError(self._lacking(lacking, nothing_found=not set(wanted) & set(names)))
        twice = [name for name, count in Counter(names).items() if name and count > 1]
        if twice:
            raise DataError(
                f"{self.title} has more than one column {_quoted(twice)}: give each column a name "
                "of its own, and look at Cleaning(rename=...)"
            )
        return {name: names.index(name) for name in wanted}

    def _lacking(self, lacking: list[str], *, nothing_found: bool) -> str:
        near = {name: _nearest(name, self.headers) for name in lacking}
        listed = ", ".join(
            f"'{name}'" + (f" (nearest header: '{near[name]}')" if near[name] else "")
            for name in lacking
        )
        pairs = ", ".join(f"'{header}': '{name}'" for name, header in near.items() if header)
        remedy = f"Cleaning(rename={{{pairs or repr('header') + ': ' + repr(lacking[0])}}})"
        hint = " Does its first row hold the headers?" if nothing_found else ""
        return (
            f"{self.title} lacks {len(lacking)} column{'s'[: len(lacking) > 1]}: {listed}.{hint} "
            f"Add what is missing, or map headers to columns with {remedy}"
        )


@contextlib.contextmanager
def opened(data: Any, cleaning: Cleaning) -> Iterator[Source]:
    """Hold *data* in DuckDB.

    Args:
        data: Path of a CSV or Parquet file, or a frame or mapping of columns.
        cleaning: Says the zone of times that carry none, and whether text is trimmed.

    Raises:
        DataError: If it cannot be read, or has no rows.
    """
    path = _path(data) if isinstance(data, (str, os.PathLike)) else None
    with contextlib.closing(_connect(path, cleaning.timezone)) as connection:
        try:
            yield _source(connection, data, path, trim=cleaning.trim)
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            raise DataError("the table does not fit into memory: train on fewer rows") from error


def _source(
    connection: duckdb.DuckDBPyConnection, data: Any, path: Path | None, *, trim: bool
) -> Source:
    title, headers = _stage(connection, data, path, trim=trim)
    described = connection.execute("DESCRIBE raw").fetchall()
    ((n_rows,),) = connection.execute("SELECT count(*) FROM raw").fetchall()
    if not n_rows:
        raise DataError(f"{title} has no rows, only headers: it needs rows to train on")
    return Source(
        connection=connection,
        title=title,
        headers=tuple(header.strip() for header in headers),
        types=tuple(str(row[1]) for row in described[2:]),
        n_rows=n_rows,
    )


def _stage(
    connection: duckdb.DuckDBPyConnection, data: Any, path: Path | None, *, trim: bool
) -> tuple[str, Sequence[str]]:
    if path is None:
        return frames.stage(connection, data)
    if _is_parquet(path):
        return str(path), _stage_parquet(connection, path)
    return str(path), delimited.stage(connection, path, trim=trim)


def _connect(path: Path | None, timezone: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            "threads": THREADS,
            "temp_directory": "",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
        }
    )
    try:
        connection.execute("SET TimeZone = ?", [timezone])
    except duckdb.Error as error:
        connection.close()
        raise DeclarationError(
            f"Cleaning(timezone={timezone!r}): no such zone; expected a name such as 'Europe/Berlin'"
        ) from error
    connection.execute("SET allowed_paths = ?", [[] if path is None else [str(path)]])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _path(data: str | os.PathLike[str]) -> Path:
    """Return the absolute path of the file that *data* names.

    Raises:
        DataError: If there is no such file.
    """
    text = os.fspath(data)
    url = urllib.parse.urlsplit(text)
    if "://" in text:
        if url.scheme != "file" or url.netloc not in ("", "localhost"):
            raise DataError("a table is read from a local file: download it, then name its path")
        text = urllib.request.url2pathname(url.path)
    path = Path(os.path.abspath(text))  # noqa: PTH100  resolve() would follow links
    try:
        if not path.exists():
            raise DataError(f"{path} does not exist; expected a CSV or Parquet file: check it")
        if not path.is_file():
            kind = "a directory" if path.is_dir() else "no ordinary file"
            raise DataError(f"{path} is {kind}; expected a CSV or Parquet file: name one")
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check permissions") from error
    if empty:
        raise DataError(f"{path} is empty (0 bytes); expected a header and rows: write it again")
    return path


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == _PARQUET or path.suffix.lower() in (".parquet", ".pq")


def _stage_parquet(connection: duckdb.DuckDBPyConnection, path: Path) -> list[str]:
    source = "read_parquet(?, hive_partitioning = false)"
    try:
        schema = connection.execute("SELECT name, num_children FROM parquet_schema(?)", [str(path)])
        headers = _top_level(schema.fetchall())
        connection.execute(frames.staging(source, len(headers)), [str(path)]).fetchall()
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise DataError(
            f"{path} is no Parquet file that can be read ({type(error).__name__}): it may have "
            "been cut short; write it again"
        ) from error
    return headers


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


def _nearest(name: str, headers: Sequence[str]) -> str | None:
    plain = {_plain(header): header for header in headers}
    found = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.75)
    return plain[found[0]] if found else None


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_").replace(" ", "_").replace(".", "_")


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
