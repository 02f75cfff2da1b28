"""Put a delimited text file into DuckDB as text, every row of it.

DuckDB's own reader drops good rows beside ragged ones when told to ignore errors, and cells when
told to pad. Here a row that does not fit its header is kept, and marked with what is wrong.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import zlib
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from mlembed.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

    import duckdb

    Row = tuple[str | None, Sequence[str | None]]

SEPARATORS = (",", ";", "\t", "|")
TOO_FEW, TOO_MANY, BROKEN = "has too few fields", "has too many fields", "has a broken quote"
_CHUNK = 20_000
_GZIP = b"\x1f\x8b"


def stage(connection: duckdb.DuckDBPyConnection, path: Path, *, trim: bool) -> list[str]:
    """Copy the rows of *path* into the table `raw`; blank lines are no rows.

    Args:
        connection: Where `raw` is made.
        path: The file; the separator is one of comma, semicolon, tab and bar.
        trim: Whether a quote may follow a separator and a space.

    Returns:
        The headers.

    Raises:
        DataError: If the file is not UTF-8 text, has no header, or cannot be read to its end.
    """
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    try:
        with (gzip.open if packed else open)(path, "rt", encoding="utf-8-sig", newline="") as text:
            return _stage(connection, path, text, trim=trim)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: convert it, such as with 'iconv -f WINDOWS-1252 -t UTF-8'"
        ) from error
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path} cannot be read to its end: copy or pack it again") from error


def _stage(
    connection: duckdb.DuckDBPyConnection, path: Path, text: TextIO, *, trim: bool
) -> list[str]:
    first = next((line for line in text if line.strip()), "")
    if not first or "\0" in first:
        raise DataError(f"{path} has no header line; expected text with headers: write it again")
    separator = max(SEPARATORS, key=lambda item: len(next(csv.reader([first], delimiter=item))))
    lines = _Lines(first, text)
    rows = _records(lines, separator, trim=trim)
    _, headers = next(rows)
    width = len(headers)
    names = ", ".join(f"c{position} VARCHAR" for position in range(width))
    connection.execute(f"CREATE TABLE raw (n BIGINT, problem VARCHAR, {names})")
    start = 1
    while chunk := [
        row if len(row[1]) == width else _fit(row, width, separator)
        for row in itertools.islice(rows, _CHUNK)
    ]:
        columns: dict[str, np.ndarray[tuple[int], np.dtype[np.generic]]] = {
            f"c{position}": np.array(cells, dtype=object)
            for position, cells in enumerate(zip(*(cells for _, cells in chunk), strict=True))
        }
        numbers = np.arange(start, start + len(chunk))
        problems = np.array([problem for problem, _ in chunk], dtype=object)
        connection.register("chunk", {"n": numbers, "problem": problems, **columns})
        connection.execute("INSERT INTO raw FROM chunk").fetchall()
        connection.unregister("chunk")
        start += len(chunk)
    return [header or "" for header in headers]


class _Lines:
    """The lines of a file, some of which can be given back."""

    def __init__(self, first: str, text: TextIO) -> None:
        self._text = text
        self._waiting = deque([first])
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else next(self._text)
        self.taken.append(line)
        return line

    def give_back(self) -> str:
        """Keep the first line taken, return it, and give back those after it."""
        first, *others = self.taken
        self._waiting.extendleft(reversed(others))
        return first


def _records(lines: _Lines, separator: str, *, trim: bool) -> Iterator[Row]:
    """Yield each record; where a quote is broken, its first line alone, so none is swallowed."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=trim, strict=True)
    while True:
        lines.taken.clear()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield BROKEN, [lines.give_back().rstrip("\r\n")]
            continue
        if row:
            yield None, row


def _fit(row: Row, width: int, separator: str) -> Row:
    """Return *row* with *width* cells; the last one holds those that are too many."""
    problem, cells = row
    if len(cells) < width:
        return problem or TOO_FEW, [*cells, *[None] * (width - len(cells))]
    rest = separator.join(cell or "" for cell in cells[width - 1 :])
    return problem or TOO_MANY, [*cells[: width - 1], rest]
