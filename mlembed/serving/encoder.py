"""Turn a host's record into the row of doubles that the graph reads.

Column order comes from the bundle, never from the record: a host that reorders its fields must
not silently change a score. One function is compiled a bundle for records that are as declared;
anything unusual takes the slow path, which gives the same row or names every bad field.
"""

from __future__ import annotations

import datetime as dt
import enum
import math
import operator
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.columns import MISSING, Column
from mlembed.errors import SchemaError
from mlembed.serving.fields import ABSENT, MAX_INTEGER, FieldProblem, convert, loggable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Fast = Callable[[Any, memoryview], bool]
    Unknown = dict[str, str]

_MAX = 1.7976931348623157e308
_NUMBERS = frozenset({float, int, bool, np.float64})
_MAX_EXTRA, _MAX_NAME = 10, 64


class Encoder:
    """Encodes records for one bundle.

    Args:
        title: The bundle as people name it, for errors.
        columns: Columns of the row, in order.
    """

    def __init__(self, title: str, columns: Sequence[Column]) -> None:
        self.title = title
        self.columns = tuple(columns)
        self.names = tuple(column.name for column in columns)
        self.codes = tuple(codes_of(column) for column in columns)
        self._pack = struct.Struct(f"={len(self.columns)}d").pack_into
        self._from_mapping = self._compile(mapping=True)
        self._from_object = self._compile(mapping=False)

    def encode(self, record: Any, cells: memoryview) -> Unknown | None:
        """Write *record* into *cells*.

        Args:
            record: A mapping of exactly the columns, or an object with those attributes.
            cells: Room for `n_columns` native doubles.

        Returns:
            The values of categories outside their vocabulary by column, or None if there are none.

        Raises:
            SchemaError: Listing every field that does not fit.
        """
        if type(record) is dict:
            fast = self._from_mapping
        elif _is_mapping(record):
            record, fast = self._copy(record), self._from_mapping
        else:
            fast = self._from_object
        try:
            if fast(record, cells):
                return None
        except Exception:  # noqa: BLE001, S110  the slow path says what is wrong, and where
            pass
        return self._encode_slowly(record, cells)

    def _copy(self, record: Any) -> dict[Any, Any]:
        """Return what *record* holds, without what it would make up for a missing key."""
        try:
            return {name: record[name] for name in record.keys()}  # noqa: SIM118  no iterator owed
        except Exception as error:
            problem = f"the record cannot be read: it raised {type(error).__name__}"
            raise SchemaError(self.title, (problem,)) from error

    def _encode_slowly(self, record: Any, cells: memoryview) -> Unknown | None:
        values, unknown, problems = [], {}, []
        for column, codes in zip(self.columns, self.codes, strict=True):
            try:
                value = _field(record, column.name)
                values.append(convert(column, codes, value))
                if isinstance(value, enum.Enum):
                    value = value.value
                if column.kind == "category" and isinstance(value, str) and value not in codes:
                    unknown[column.name] = loggable(value)
            except FieldProblem as problem:
                problems.append(f"'{column.name}' {problem}")
        if type(record) is dict:
            problems += _extra(record, self.names)
        if problems:
            raise SchemaError(self.title, tuple(problems))
        self._pack(cells, 0, *values)
        return unknown or None

    def _compile(self, *, mapping: bool) -> Fast:
        """Build the fast path; its source holds positions only, never a name or value of data."""
        n = len(self.columns)
        variables = [f"v{i}" for i in range(n)]
        env: dict[str, Any] = {
            "pack": self._pack,
            "nan": MISSING,
            "datetime": dt.datetime,
            "numbers": _NUMBERS,
        }
        cells, checks = [], []
        for i, (column, codes) in enumerate(zip(self.columns, self.codes, strict=True)):
            env[f"n{i}"], env[f"t{i}"] = column.name, codes
            env[f"lo{i}"], env[f"hi{i}"] = _limits(column)
            cell, check = _expressions(column, i)
            cells.append(cell)
            checks += check
        if mapping:
            read = [f"    if len(record) != {n}: return False"]
            read += [f"    v{i} = record[n{i}]" for i in range(n)]
        else:
            env["get"] = operator.attrgetter(*self.names)
            read = [f"    {', '.join(variables)}{',' if n == 1 else ''} = get(record)"]
            if n == 1:
                read = ["    v0 = get(record)"]
        lines = [
            "def encode(record, cells):",
            *read,
            f"    pack(cells, 0, {', '.join(cells)})",
            f"    return {' and '.join(checks) or 'True'}",
        ]
        exec(compile("\n".join(lines), "<mlembed encoder>", "exec"), env)  # noqa: S102
        function: Fast = env["encode"]
        return function


def codes_of(column: Column) -> dict[Any, float]:
    """Return the code of every known value of a category; empty for other kinds."""
    return {value: float(code) for code, value in enumerate(column.vocabulary)}


def _expressions(column: Column, i: int) -> tuple[str, list[str]]:
    """Return the source of one cell and of the checks that keep it on the fast path."""
    v = f"v{i}"
    if column.kind == "category":
        cell, check = f"t{i}[{v}]", ""
    elif column.kind == "boolean":
        cell, check = v, f"({v} is True or {v} is False)"
    elif column.kind == "integer":
        cell, check = v, f"(type({v}) is int and lo{i} <= {v} <= hi{i})"
    elif column.kind == "timestamp":
        cell = f"{v}.timestamp()"
        check = (
            f"(isinstance({v}, datetime) and {v}.tzinfo is not None"
            f" and lo{i} <= {v}.timestamp() <= hi{i})"
        )
    else:
        # The type is looked at: a float32 or an array would compare by rules of its own.
        known = f"(type({v}) is float or type({v}) in numbers)"
        cell, check = v, f"({known} and lo{i} <= {v} <= hi{i})"
    if not column.nullable:
        return cell, [check] if check else []
    return f"(nan if {v} is None else {cell})", [f"({v} is None or {check})"] if check else []


def _limits(column: Column) -> tuple[float, float]:
    """Return the least and greatest double allowed, both inclusive."""
    widest = MAX_INTEGER if column.kind == "integer" else _MAX
    low = -widest if column.minimum is None else column.minimum
    high = widest if column.maximum is None else column.maximum
    if column.exclusive_minimum:
        low = math.nextafter(low, math.inf)
    if column.exclusive_maximum:
        high = math.nextafter(high, -math.inf)
    return max(low, -widest), min(high, widest)


def _is_mapping(record: Any) -> bool:
    """Tell whether fields are keys: in a mapping, and in rows such as sqlite's and pandas'."""
    if isinstance(record, Mapping):
        return True
    kind = type(record)
    return hasattr(kind, "keys") and hasattr(kind, "__getitem__")


def _field(record: Any, name: str) -> Any:
    if type(record) is dict:
        return record.get(name, ABSENT)
    try:
        return getattr(record, name)
    except AttributeError:
        return ABSENT
    except Exception as error:  # a host's property may raise anything
        raise FieldProblem(f"cannot be read: it raised {type(error).__name__}") from error


def _extra(record: dict[Any, Any], names: tuple[str, ...]) -> list[str]:
    """Name the first fields that are no columns, and count the others."""
    extra = [name for name in record if name not in names]
    shown = sorted(
        name[:_MAX_NAME] if isinstance(name, str) else f"of type {type(name).__name__}"
        for name in extra[:_MAX_EXTRA]
    )
    problems = [f"'{name}' is no column" for name in shown]
    if len(extra) > len(shown):
        problems.append(f"{len(extra) - len(shown)} more fields are no columns")
    return problems
