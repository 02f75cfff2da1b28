"""Read the rows of doubles that a prediction log holds.

What a column of a row means stands in the log itself, so neither the bundle nor the host is asked.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlembed.telemetry.source import LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


class Cells(NamedTuple):
    """The logged rows of one event.

    Attributes:
        first: Place of its first row among all rows.
        n_rows: How many there are.
        data: The rows, the score behind each.
        unknown: Values outside their vocabulary, by column and row.
    """

    first: int
    n_rows: int
    data: bytes
    unknown: dict[str, dict[str, str]]


class Layout:
    """What the cells of a row mean.

    Args:
        described: The description that the log holds.

    Attributes:
        columns: Name, kind, mode and vocabulary of each column.
        dtype: The doubles, in the byte order of the machine that wrote them.
        has_features: Whether a column is more than the label.

    Raises:
        KeyError, TypeError, AttributeError: If it is not what mlembed writes.
    """

    def __init__(self, described: dict[str, Any]) -> None:
        self.dtype = np.dtype("<f8" if described["byteorder"] == "little" else ">f8")
        self.columns = [
            (str(c["name"]), str(c["kind"]), str(c.get("log", "raw")), c.get("vocabulary", []))
            for c in described["columns"]
        ]
        self.has_features = any(column[0] != LABEL for column in self.columns)

    def values(self, events: Iterable[Cells]) -> tuple[NDArray[np.intp], dict[str, NDArray[Any]]]:
        """Return the place of each row of *events*, and the values of every raw column.

        Numbers and timestamps are floats with NaN missing, the others objects with None missing.
        """
        events = list(events)
        rows = np.frombuffer(b"".join([event.data for event in events]), self.dtype)
        rows = rows.reshape(-1, len(self.columns) + 1).astype(np.float64)
        counts = [event.n_rows for event in events]
        starts = np.cumsum([0, *counts])[:-1]
        first = np.repeat([event.first for event in events], counts)
        within = np.arange(len(rows)) - np.repeat(starts, counts)
        columns = {
            name: _named(rows[:, i], kind, vocabulary)
            for i, (name, kind, mode, vocabulary) in enumerate(self.columns)
            if mode == "raw"
        }
        for event, start in zip(events, starts.tolist(), strict=True):
            for name, cells in event.unknown.items():
                for row, value in cells.items():
                    columns[name][start + int(row)] = sys.intern(value)
        return first + within, columns


def _named(cells: NDArray[np.float64], kind: str, vocabulary: list[str]) -> NDArray[Any]:
    """Return what the host gave for each cell."""
    if kind not in ("category", "boolean"):
        return cells
    values: list[Any] = [False, True] if kind == "boolean" else list(vocabulary)
    last = len(values)
    names = np.empty(last + 1, dtype=object)  # the last stands for missing and for unknown codes
    names[:last] = values
    codes = np.clip(np.nan_to_num(cells, nan=last, posinf=last, neginf=last), 0, last)
    return names[codes.astype(np.intp)]
