"""Decide how much of each column the log may say: raw, hashed, bucketed or nothing.

What is not logged raw never leaves the process in any other way: the local log and the host's
OpenTelemetry get the same redacted rows.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.columns import LOG_MODES
from mlembed.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column, LogMode

_HASH_BYTES = 8
_MAX_CACHED = 100_000


class Redaction:
    """The logged form of a row.

    Args:
        columns: Columns of the encoded row.
        modes: How a column is logged, by its name; as the column itself says by default.
        key: Secret of the hashes.
        edges: Inner edges of the buckets of a number, by column.

    Attributes:
        columns: The columns that are logged, each with its mode, in order.
        raw: Names of those that are logged as they are.
        is_raw: Whether the whole row is.
        problems: What the host should know: a column that is left out as its mode lacks what it
            needs, a mode for a column that is hardly meant.

    Raises:
        SettingsError: If a mode is unknown.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        modes: Mapping[str, str] | None = None,
        key: str = "",
        edges: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        chosen: dict[str, Any] = {column.name: column.log for column in columns}
        chosen.update({name: mode for name, mode in (modes or {}).items() if name in chosen})
        _check_modes(chosen)
        self.problems = tuple(_problems(columns, chosen, modes or {}, key, edges or {}))
        self._places = [i for i, column in enumerate(columns) if chosen[column.name] != "drop"]
        self.columns: tuple[tuple[Column, LogMode], ...] = tuple(
            (columns[i], chosen[columns[i].name]) for i in self._places
        )
        self.raw = frozenset(column.name for column, mode in self.columns if mode == "raw")
        self.is_raw = len(self.raw) == len(columns)
        self._key = key.encode()
        self._edges = edges or {}
        self._hashes: dict[tuple[int, Any], int] = {}

    def apply(self, matrix: NDArray[np.float64], unknown: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the rows as they are logged.

        Args:
            matrix: Encoded rows, `(n_records, n_columns)`.
            unknown: Values outside the vocabulary, by column (and row, for several).

        Returns:
            `(n_records, n_logged)`; a hash fills the eight bytes of its cell.
        """
        if self.is_raw:
            return matrix
        logged = np.array(matrix[:, self._places], dtype=np.float64)
        for i, (column, mode) in enumerate(self.columns):
            if mode == "bucket":
                logged[:, i] = self._buckets(column, logged[:, i])
            elif mode == "hash":
                given = unknown.get(column.name, {})
                texts = given if isinstance(given, dict) else {0: given}
                cells = [
                    self._hash(i, column, cell, texts.get(row))
                    for row, cell in enumerate(logged[:, i].tolist())
                ]
                logged[:, i] = np.array(cells, dtype=np.uint64).view(np.float64)
        return logged

    def _buckets(self, column: Column, values: NDArray[np.float64]) -> NDArray[np.float64]:
        places = np.searchsorted(self._edges[column.name], values, side="right")
        return np.where(np.isnan(values), np.nan, places.astype(np.float64))

    def _hash(self, place: int, column: Column, cell: float, text: str | None) -> int:
        """Return 64 bits of HMAC-SHA256 of a value (its text or its double); 0 where it is missing."""
        if text is None and cell != cell:  # noqa: PLR0124  NaN
            return 0
        known = self._hashes.get((place, cell if text is None else text))
        if known is not None:
            return known
        if text is None and column.kind == "category" and 0 <= cell < len(column.vocabulary):
            text = column.vocabulary[int(cell)]
        value = struct.pack("<d", cell) if text is None else text.encode("utf-8", "surrogatepass")
        message = column.name.encode() + b"\0" + value
        digest = hmac.digest(self._key, message, hashlib.sha256)
        hashed = int.from_bytes(digest[:_HASH_BYTES], "little")
        if len(self._hashes) >= _MAX_CACHED:
            self._hashes.clear()
        self._hashes[place, cell if text is None else text] = hashed
        return hashed


def _check_modes(modes: Mapping[str, str]) -> None:
    unknown = [
        f"'{name}' is logged {mode!r}" for name, mode in modes.items() if mode not in LOG_MODES
    ]
    if unknown:
        raise SettingsError(f"the log's columns: {'; '.join(unknown)}; expected one of {LOG_MODES}")


def _problems(
    columns: Sequence[Column],
    chosen: dict[str, Any],
    given: Mapping[str, str],
    key: str,
    edges: Mapping[str, Sequence[float]],
) -> Iterator[str]:
    """Yield what the host should know, and leave out what cannot be logged as it says."""
    for column in columns:
        name, mode = column.name, chosen[column.name]
        if mode == "hash" and not key:
            yield f"'{name}' is to be hashed, and MLEMBED_LOG_KEY is not set: it is left out"
        elif mode == "bucket" and name not in edges:
            yield f"'{name}' has no buckets in the bundle's reference: it is left out"
        else:
            continue
        chosen[name] = "drop"
    for name in given.keys() - chosen.keys():
        import difflib  # a mistake is worth its time, and rare

        if near := difflib.get_close_matches(name, chosen, 1):
            yield f"MLEMBED_LOG_COLUMNS names '{name}', and there is '{near[0]}' alone"
