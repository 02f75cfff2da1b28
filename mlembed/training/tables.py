"""Declare where rows come from and what is joined to them.

A declaration reads nothing: files are opened, and queries run, when a trainer reads the table. It
shows no secret, wherever it is printed.
"""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from mlembed.errors import DeclarationError

STARTS = ("postgresql://", "postgres://", "sqlite:///")
Names = str | Sequence[str] | Mapping[str, str]


class _Joinable:
    """What other tables can be joined to, one after the other."""

    def join(self, right: Any, *, on: Names, prefix: str = "") -> Joined:
        """Add the columns of *right* to each row, by key.

        Rows of this table stay as they are, in their order; those that find no partner have
        missing values. Keys are compared as they are written, so 7 is '7' and not '007'.

        Args:
            right: A table, in any form that a trainer takes; a key stands in it once at most.
            on: Key column, or several, or a mapping from this table's names to those of *right*.
            prefix: Put before the names of the columns added.

        Raises:
            DeclarationError: If no key is named.
        """
        keys = _pairs("on", on)
        if not keys:
            raise DeclarationError("join(on=...): expected the name of at least one key column")
        return Joined(self, right, keys=keys, prefix=prefix)

    def join_asof(
        self,
        right: Any,
        *,
        on: Names,
        time: str | tuple[str, str],
        delay_seconds: float = 0.0,
        max_age_seconds: float | None = None,
        prefix: str = "",
    ) -> Joined:
        """Add to each row what *right* last told of its key before the row's time.

        A row of *right* counts only for rows strictly later than its time plus the delay, so that
        nothing is known before it could be. Of rows with the same key and time the last counts.

        Args:
            right: A table, in any form that a trainer takes, in any order.
            on: Key column, or several, or a mapping from this table's names to those of *right*;
                `()` where the time alone tells.
            time: The column that holds the time of a row; a pair where it has another name in
                *right*.
            delay_seconds: How long after its time a row of *right* is known.
            max_age_seconds: The longest time from a row of *right* to the row; None for no limit.
            prefix: Put before the names of the columns added.

        Raises:
            DeclarationError: If no time is named, or a duration is negative.
        """
        pair = (time, time) if isinstance(time, str) else tuple(time)
        if len(pair) != 2 or not all(pair):  # noqa: PLR2004  a pair
            raise DeclarationError("join_asof(time=...): expected a column's name, or two of them")
        if not delay_seconds >= 0:
            raise DeclarationError("join_asof(delay_seconds=...): expected 0 or more seconds")
        if max_age_seconds is not None and not max_age_seconds > 0:
            raise DeclarationError("join_asof(max_age_seconds=...): expected more than 0 seconds")
        return Joined(
            self,
            right,
            keys=_pairs("on", on),
            prefix=prefix,
            time=(pair[0], pair[1]),
            delay_seconds=delay_seconds,
            max_age_seconds=max_age_seconds,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Table(_Joinable):
    """Rows in a file, in an object store or in memory.

    Attributes:
        data: Path, pattern of parts, or URL (s3://, gs://, az://, https:// or file://) of CSV,
            JSON or Parquet; a pandas or polars DataFrame, an Arrow Table, or a mapping of columns.
    """

    data: Any = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, eq=False)
class Query(_Joinable):
    """Rows that a SQL database gives.

    Attributes:
        url: `postgresql://host/database`, or `sqlite:///relative/path` and `sqlite:////path`.
        sql: One statement that returns rows; it is run in a transaction that may only read.
        parameters: Values of its placeholders: `$1`, `$2`, ... in PostgreSQL, `?` in SQLite.

    Raises:
        DeclarationError: If the URL names no such database.
    """

    url: str = dataclasses.field(repr=False)
    sql: str = dataclasses.field(repr=False)
    parameters: Sequence[Any] = dataclasses.field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(STARTS):
            raise DeclarationError(
                "Query(url=...): expected postgresql://host/database or sqlite:///path"
            )
        if isinstance(self.parameters, (str, bytes, Mapping)):
            raise DeclarationError("Query(parameters=...): expected a sequence of values")

    @property
    def title(self) -> str:
        """The database as people name it, without user, password and options."""
        if self.url.startswith("sqlite"):
            return f"the query on {self.url}"
        return f"the query on {shown(self.url)}"


@dataclasses.dataclass(frozen=True, eq=False)
class Joined(_Joinable):
    """A table with columns of another; made by `join` and `join_asof`."""

    left: Any
    right: Any
    _: dataclasses.KW_ONLY
    keys: tuple[tuple[str, str], ...]
    prefix: str = ""
    time: tuple[str, str] | None = None
    delay_seconds: float = 0.0
    max_age_seconds: float | None = None


def shown(url: str) -> str:
    """Return *url* as people may see it: without user, password, query and fragment.

    Of one whose password holds an unescaped `#`, `?` or `/`, so that nobody can tell where it ends, the
    scheme alone.
    """
    parts = urllib.parse.urlsplit(url)
    _, _, host = parts.netloc.rpartition("@")
    is_open = "@" in parts.path and ":" in host
    if is_open or "@" in parts.query or "@" in parts.fragment:
        return f"{parts.scheme}://..."
    return f"{parts.scheme}://{host}{parts.path}"


def _pairs(argument: str, names: Names) -> tuple[tuple[str, str], ...]:
    if isinstance(names, str):
        return ((names, names),)
    if isinstance(names, Mapping):
        return tuple(names.items())
    pairs = tuple((name, name) for name in names)
    if not all(isinstance(name, str) for name, _ in pairs):
        raise DeclarationError(f"{argument}: expected names of columns")
    return pairs
