"""Join the columns of one table to the rows of another, by key or by time.

The rows of the left table stay as they are, each once and in its place: a join adds what was known
of a row, and never a row, nor anything that happened at its time or later.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import duckdb

from mlembed.errors import DataError
from mlembed.serving.fields import MAX_INTEGER
from mlembed.training import rules
from mlembed.training.staged import JoinCount, Staged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.cleaning import Cleaning
    from mlembed.training.tables import Joined

_MICROSECONDS = 1_000_000
_WRITTEN = ("text", "integer", "real")  # families whose values are compared as they are written


def join(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    declared: Joined,
    left: Staged,
    right: Staged,
    cleaning: Cleaning,
) -> Staged:
    """Make the table *name* of *left* with columns of *right*; drop both.

    Args:
        connection: Where they are.
        name: Name of the new table.
        declared: The join.
        left: The table whose rows stay.
        right: The table whose columns are added, but for its keys and its time.
        cleaning: How keys and times are read.

    Raises:
        DataError: If a key column is missing or holds other values than its partner, a name is
            there twice, or a key of *right* is.
    """
    step = _Step(connection, name, declared, left, right, cleaning)
    added = step.added()
    try:
        step.write_keys()
        step.pair()
        return step.write(added)
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise DataError(
            f"{left.title} and {right.title} cannot be joined ({type(error).__name__}): one of "
            "them may have been cut short; write it again"
        ) from error


@dataclasses.dataclass(frozen=True)
class _Step:
    connection: duckdb.DuckDBPyConnection
    name: str
    declared: Joined
    left: Staged
    right: Staged
    cleaning: Cleaning

    def places(self) -> list[tuple[int, int]]:
        """Return where the key columns are, in both tables."""
        keys = self.declared.keys
        return [(_place(self.left, left), _place(self.right, right)) for left, right in keys]

    def added(self) -> list[int]:
        """Return the places of the columns of the right table to add.

        Raises:
            DataError: If the left table has one of their names.
        """
        used = {self.right.headers[right] for _, right in self.places()}
        used |= {self.declared.time[1]} if self.declared.time else set()
        headers = self.right.headers
        added = [i for i, header in enumerate(headers) if header and header not in used]
        named = [self.declared.prefix + headers[i] for i in added]
        clash = [header for header in dict.fromkeys(named) if header in self.left.headers]
        if clash:
            raise DataError(
                f"{self.left.title} and {self.right.title} both have {_quoted(clash)}: join with "
                "prefix='...', which is put before the names of the second"
            )
        return added

    def write_keys(self) -> None:
        """Make `..._left` and `..._right`: `n`, keys `k0`, ... and time `t`, where all are there."""
        keys = [self._key(left, right) for left, right in self.places()]
        times: tuple[str, ...] = ()
        if self.declared.time:
            sides = zip((self.left, self.right), self.declared.time, strict=True)
            times = tuple(self._time(table, header) for table, header in sides)
        for side, table in enumerate((self.left, self.right)):
            cells = {f"k{i}": key[side] for i, key in enumerate(keys)}
            cells |= {"t": times[side]} if times else {}
            read = rules.query({"n": "n", "problem": "problem"} | cells, table.name)
            whole = " AND ".join(["problem IS NULL", *(f"{cell} IS NOT NULL" for cell in cells)])
            self._run(
                f"CREATE TABLE {self._side(side)} AS "
                + rules.query({"n": "n"} | {c: c for c in cells}, f"({read}) WHERE {whole}")
            )

    def pair(self) -> None:
        """Make `..._pairs`: `l` and `r`, the rows that belong together; each `l` once."""
        keys = [f"k{i}" for i in range(len(self.declared.keys))]
        same = " AND ".join(f"a.{key} = b.{key}" for key in keys)
        if self.declared.time is None:
            self._require_unique(keys)
            source = f"{self._side(0)} a JOIN {self._side(1)} b ON {same}"
        else:
            # Of rows with the same key and time the last one counts.
            last = {key: key for key in (*keys, "t")} | {"n": "max(n)"}
            group = ", ".join((*keys, "t"))
            right = f"({rules.query(last, f'{self._side(1)} GROUP BY {group}')})"
            delay = round(self.declared.delay_seconds * _MICROSECONDS)
            known = rules.query({"known": f"t + {delay}"}, right, rest="*")
            on = " AND ".join(filter(None, [same, "a.t > b.known"]))
            source = f"{self._side(0)} a ASOF JOIN ({known}) b ON {on}"
            if self.declared.max_age_seconds is not None:
                longest = round(self.declared.max_age_seconds * _MICROSECONDS)
                source += f" WHERE a.t - b.t <= {longest}"
        self._run(
            f"CREATE TABLE {self.name}_pairs AS {rules.query({'l': 'a.n', 'r': 'b.n'}, source)}"
        )

    def write(self, added: Sequence[int]) -> Staged:
        """Make the joined table."""
        n_left = len(self.left.headers)
        cells = {f"c{i}": f"a.c{i}" for i in range(n_left)}
        cells |= {f"c{n_left + k}": f"b.c{i}" for k, i in enumerate(added)}
        source = (
            f"{self.left.name} a LEFT JOIN {self.name}_pairs p ON p.l = a.n "
            f"LEFT JOIN {self.right.name} b ON b.n = p.r"
        )
        row = {"n": "a.n", "problem": "a.problem"}
        self._run(f"CREATE TABLE {self.name} AS {rules.query(row | cells, source)}")
        counts = self._counts()
        for table in (self._side(0), self._side(1), f"{self.name}_pairs"):
            self._run(f"DROP TABLE {table}")
        for staged in (self.left, self.right):
            self._drop(staged.name)
        prefixed = tuple(self.declared.prefix + self.right.headers[i] for i in added)
        return Staged(
            name=self.name,
            title=f"{self.left.title} joined to {self.right.title}",
            headers=self.left.headers + prefixed,
            types=self.left.types + tuple(self.right.types[i] for i in added),
            n_rows=self.left.n_rows,
            joins=(*self.left.joins, *self.right.joins, counts),
        )

    def _counts(self) -> JoinCount:
        return JoinCount(
            title=self.right.title,
            n_rows=self.left.n_rows,
            n_matched=self._count(f"{self.name}_pairs"),
            n_without_key=self.left.n_rows - self._count(self._side(0)),
            n_right=self.right.n_rows,
            n_right_unusable=self.right.n_rows - self._count(self._side(1)),
        )

    def _key(self, left: int, right: int) -> tuple[str, str]:
        """Return how a key is read on both sides, so that equal keys are equal."""
        kinds = [rules.family(self.left.types[left]), rules.family(self.right.types[right])]
        if kinds == ["integer", "integer"]:
            return f"c{left}", f"c{right}"
        is_comparable = (
            kinds[0] == kinds[1]
            or all(kind in _WRITTEN for kind in kinds)
            or ("text" in kinds and "time" not in kinds)
        )
        if not is_comparable and self._holds(self.left, left) and self._holds(self.right, right):
            raise DataError(
                f"key '{self.left.headers[left]}' holds {self.left.types[left]} in "
                f"{self.left.title} and {self.right.types[right]} in {self.right.title}: give both "
                "one type"
            )
        return (
            _written(f"c{left}", self.left.types[left], self.cleaning),
            _written(f"c{right}", self.right.types[right], self.cleaning),
        )

    def _holds(self, table: Staged, place: int) -> bool:
        return self._count(f"{table.name} WHERE c{place} IS NOT NULL") > 0

    def _time(self, table: Staged, header: str) -> str:
        place = _place(table, header)
        if rules.family(table.types[place]) not in rules.FITS["timestamp"]:
            if not self._holds(table, place):
                return "CAST(NULL AS BIGINT)"
            raise DataError(
                f"{table.title}: time '{header}' holds {table.types[place]}, expected times, or "
                "seconds since 1970"
            )
        return rules.microseconds(f"c{place}", table.types[place], self.cleaning)

    def _require_unique(self, keys: Sequence[str]) -> None:
        listed = ", ".join(keys)
        twice = rules.query({"found": "count(*)"}, self._side(1))
        grouped = f"({twice} GROUP BY {listed} HAVING count(*) > 1)"
        counted = rules.query({"n_keys": "count(*)", "n": "coalesce(sum(found), 0)"}, grouped)
        ((n_keys, n_rows),) = self.connection.execute(counted).fetchall()
        if n_keys:
            names = _quoted([right for _, right in self.declared.keys])
            raise DataError(
                f"{self.right.title}: {n_keys:,} keys ({names}) stand in {n_rows:,} rows, expected "
                "one row each: keep one row a key, or join by time with join_asof"
            )

    def _side(self, side: int) -> str:
        return f"{self.name}_{('left', 'right')[side]}"

    def _count(self, table: str) -> int:
        ((n_rows,),) = self.connection.execute(rules.query({"n": "count(*)"}, table)).fetchall()
        return int(n_rows)

    def _drop(self, name: str) -> None:
        kind = "SELECT 1 FROM duckdb_tables() WHERE table_name = ?"
        is_table = self.connection.execute(kind, [name]).fetchone()
        self._run(f"DROP {'TABLE' if is_table else 'VIEW'} {name}")

    def _run(self, statement: str) -> None:
        self.connection.execute(statement).fetchall()


def _written(name: str, duckdb_type: str, cleaning: Cleaning) -> str:
    """Return key *name* as text; 7, 7.0 and '7' are the same."""
    x = rules.cell(name, duckdb_type, cleaning)
    if rules.family(duckdb_type) not in ("real", "time"):
        return f"CAST({x} AS VARCHAR)"
    if duckdb_type.endswith(",0)"):
        return f"CAST({name} AS VARCHAR)"
    whole = f"abs({x}) <= {MAX_INTEGER} AND {x} = floor({x})"
    return (
        f"CASE WHEN {whole} THEN CAST(CAST({x} AS BIGINT) AS VARCHAR) ELSE CAST({x} AS VARCHAR) END"
    )


def _place(table: Staged, header: str) -> int:
    """Return where the column *header* is.

    Raises:
        DataError: If it is missing or there twice.
    """
    places = [i for i, own in enumerate(table.headers) if own == header]
    if len(places) == 1:
        return places[0]
    if places:
        raise DataError(
            f"{table.title} has more than one column '{header}': give each a name of its own"
        )
    listed = _quoted([own for own in table.headers if own][:20])
    raise DataError(
        f"{table.title} has no column '{header}' to join by; it has {listed}: name one of them, or "
        "a mapping from the left name to the right"
    )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
