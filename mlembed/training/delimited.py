"""Put a delimited text file into DuckDB as text, every row of it.

DuckDB's own reader drops good rows beside ragged ones when told to ignore errors, and cells when
told to pad. Here a row that does not fit its header is kept, and marked with what is wrong.
"""

from __future__ import annotations

import csv
import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

from mlembed.errors import DataError
from mlembed.training.parquet import differing
from mlembed.training.textrows import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

    from mlembed.training.textrows import Row, TextRows

SEPARATORS = (",", ";", "\t", "|")
TOO_FEW, TOO_MANY, BROKEN = "has too few fields", "has too many fields", "has a broken quote"


def stage(rows: TextRows, path: Path, text: TextIO, headers: list[str], *, trim: bool) -> None:
    """Append the rows of *text* to *rows*; blank lines are no rows.

    Args:
        rows: The table.
        path: The file, for messages.
        text: Its text; the separator is one of comma, semicolon, tab and bar.
        headers: Headers of the parts before; those of the file, where it is the first.
        trim: Whether a quote may follow a separator and a space.

    Raises:
        DataError: If the text has no header, or another one than the parts before.
    """
    first = next((line for line in text if line.strip()), "")
    if not first or "\0" in first:
        raise DataError(f"{path} has no header line; expected text with headers: write it again")
    separator = max(SEPARATORS, key=lambda item: len(next(csv.reader([first], delimiter=item))))
    lines = _Lines(first, text)
    own = [header or "" for header in next(_records(lines, separator, trim=trim))[1]]
    if headers and own != headers:
        raise differing(path)
    headers[:] = own
    width = len(headers)
    rows.widen(width)
    while chunk := lines.take(CHUNK):
        cells = _cells(chunk, width, separator, trim=trim)
        if cells is not None:
            rows.append(cells)
            continue
        lines.give_back(chunk)
        records = itertools.islice(_records(lines, separator, trim=trim), CHUNK)
        rows.extend(row if len(row[1]) == width else _fit(row, width, separator) for row in records)


def _cells(lines: list[str], width: int, separator: str, *, trim: bool) -> list[str] | None:
    """Return the cells of all *lines*, row by row, in one list; None where a row does not fit.

    It is then read record by record: it may be ragged, its quote may be broken, or end in a line
    that is not among them. One list, and not one a row, gives the garbage collector nothing to do.
    """
    cells: list[str] = []
    try:
        for row in csv.reader(lines, **_format(separator, trim=trim)):
            if len(row) == width:
                cells += row
            elif row:
                return None
    except csv.Error:
        return None
    return cells


def _format(separator: str, *, trim: bool) -> dict[str, Any]:
    return {"delimiter": separator, "skipinitialspace": trim, "strict": True}


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

    def take(self, n: int) -> list[str]:
        """Return the next *n* lines; fewer where no more are left."""
        waiting = [self._waiting.popleft() for _ in range(min(n, len(self._waiting)))]
        return [*waiting, *itertools.islice(self._text, n - len(waiting))]

    def give_back(self, lines: Sequence[str]) -> None:
        """Let *lines*, the last ones taken, be taken again."""
        self._waiting.extendleft(reversed(lines))


def _records(lines: _Lines, separator: str, *, trim: bool) -> Iterator[Row]:
    """Yield each record; where a quote is broken, its first line alone, so none is swallowed."""
    reader = csv.reader(lines, **_format(separator, trim=trim))
    while True:
        lines.taken.clear()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            first, *others = lines.taken
            lines.give_back(others)
            yield BROKEN, [first.rstrip("\r\n")]
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
