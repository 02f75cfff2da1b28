"""Fill a table of text in DuckDB, chunk by chunk.

Every cell stays the text it was, so that files of text, whatever their form, are then read by the
same rules.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import duckdb
import numpy as np

from mlembed.training.staged import lent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Row = tuple[str | None, Sequence[str | None]]

CHUNK = 20_000


class TextRows:
    """A table `n`, `problem`, `c0`, `c1`, ... that rows are appended to.

    Args:
        connection: Where it is made.
        name: Its name.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, name: str) -> None:
        self._connection, self._name = connection, name
        self._width = 0
        self.n_rows = 0
        self._run(f"CREATE TABLE {name} (n BIGINT, problem VARCHAR)")

    def widen(self, width: int) -> None:
        """Give the table *width* columns; the rows it has hold nothing in the new ones."""
        for position in range(self._width, width):
            self._run(f"ALTER TABLE {self._name} ADD COLUMN c{position} VARCHAR")
        self._width = max(width, self._width)

    def extend(self, rows: Iterable[Row]) -> None:
        """Append *rows*, each with what is wrong with it and a cell a column.

        Raises:
            UnicodeError: If a cell is no Unicode text.
        """
        rest = iter(rows)
        while chunk := list(itertools.islice(rest, CHUNK)):
            cells = [cell for _, row in chunk for cell in row]
            self.append(cells, [problem for problem, _ in chunk])

    def append(
        self, cells: list[str | None] | list[str], problems: list[str | None] | None = None
    ) -> None:
        """Append at most `CHUNK` rows.

        Args:
            cells: The cells of the first row, a column each, those of the second, and so on.
            problems: What is wrong with each row; None where nothing is with any.

        Raises:
            UnicodeError: If a cell is no Unicode text.
        """
        n = len(cells) // self._width if problems is None else len(problems)
        if not n:
            return
        columns = np.ascontiguousarray(np.array(cells, dtype=object).reshape(n, self._width).T)
        given = {
            "n": np.arange(self.n_rows + 1, self.n_rows + 1 + n),
            "problem": np.array(problems or [None] * n, dtype=object),
            **{f"c{i}": column for i, column in enumerate(columns)},
        }
        try:
            with lent(self._connection, "chunk", given):
                self._run(f"INSERT INTO {self._name} FROM chunk")
        except duckdb.InvalidInputException as error:
            raise UnicodeError from error
        self.n_rows += n

    def _run(self, statement: str) -> None:
        self._connection.execute(statement).fetchall()
