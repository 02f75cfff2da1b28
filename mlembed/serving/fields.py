"""Turn one field's value into one double, or say what is wrong with it.

This is the slow and complete rule; the compiled encoder is a shortcut that must agree with it.
No problem it names shows a value, because messages end in logs.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import math
import numbers
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from mlembed.columns import MISSING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlembed.columns import Column

ABSENT = object()
MAX_INTEGER = 2**53
MAX_LOGGED = 256

WANTED = {
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "category": "a string",
    "timestamp": "a datetime with a time zone",
}


class FieldProblem(Exception):  # noqa: N818  never leaves this package
    """One field does not fit its column; the message says why."""


def convert(column: Column, codes: Mapping[Any, float], value: Any) -> float:
    """Return the double of *value* in *column*.

    Args:
        column: What the bundle expects.
        codes: Code of every known value of a category.
        value: The field, or `ABSENT`.

    Raises:
        FieldProblem: If the value does not fit, or its own code raises.
    """
    try:
        return _convert(column, codes, value)
    except FieldProblem:
        raise
    except Exception as error:
        raise FieldProblem(f"cannot be read: it raised {type(error).__name__}") from error


def _convert(column: Column, codes: Mapping[Any, float], value: Any) -> float:
    if value is ABSENT or value is None or _is_missing(value):
        if column.nullable:
            return MISSING
        raise FieldProblem("is missing")
    if isinstance(value, enum.Enum):
        value = value.value
    if column.kind == "category":
        return _code(column, codes, value)
    number = {"boolean": _boolean, "timestamp": _timestamp}.get(column.kind, _number)(column, value)
    if not math.isfinite(number):
        raise FieldProblem("is not finite")
    if not column.allows(number):
        raise FieldProblem(f"is outside {column.range_text}{_unit(column)}")
    return number


def _code(column: Column, codes: Mapping[Any, float], value: Any) -> float:
    code = codes.get(value) if isinstance(value, Hashable) else None
    if code is not None:
        return code
    if not isinstance(value, str):
        raise _mistyped(column, value)
    unknown = column.unknown_code
    if unknown is None:
        raise FieldProblem(f"is none of its {len(column.vocabulary)} categories")
    return unknown


def loggable(text: str) -> str:
    """Return an unknown category as the log keeps it, at most 256 characters of it."""
    return str.__getitem__(text, slice(MAX_LOGGED))


def _number(column: Column, value: Any) -> float:
    if not isinstance(value, (numbers.Real, decimal.Decimal)) and not _is_numpy_bool(value):
        raise _mistyped(column, value)
    try:
        number = float(value)
    except (OverflowError, ValueError) as error:
        raise FieldProblem("is not finite") from error
    if column.kind == "integer" and math.isfinite(number):
        # A double cannot tell 2**53 + 1 from 2**53, so the whole number itself is compared.
        whole = int(value)
        if whole != value:
            raise FieldProblem(f"has a fraction, expected a whole number{_unit(column)}")
        if abs(whole) > MAX_INTEGER:
            raise FieldProblem("is beyond 2**53, where a double loses digits")
    return number


def _boolean(column: Column, value: Any) -> float:
    if isinstance(value, bool) or _is_numpy_bool(value):
        return float(value)
    if isinstance(value, numbers.Real) and value in (0, 1):
        return float(value)
    raise _mistyped(column, value)


def _timestamp(column: Column, value: Any) -> float:
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError as error:
            raise FieldProblem("is no ISO 8601 time") from error
    if isinstance(value, dt.datetime):
        if value.utcoffset() is None:
            raise FieldProblem("has no time zone; expected one, such as datetime.now(UTC)")
        return value.timestamp()
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    raise _mistyped(column, value)


def _mistyped(column: Column, value: Any) -> FieldProblem:
    wanted = WANTED[column.kind]
    return FieldProblem(f"is {type(value).__name__}, expected {wanted}{_unit(column)}")


def _unit(column: Column) -> str:
    return f" ({column.unit})" if column.unit else ""


def _is_missing(value: Any) -> bool:
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas' own missing values
        return True
    try:
        return isinstance(value, (numbers.Real, decimal.Decimal)) and math.isnan(value)
    except OverflowError:
        return False
    except ValueError:  # a signalling NaN
        return True


def _is_numpy_bool(value: Any) -> bool:
    return type(value).__name__ in ("bool", "bool_") and type(value).__module__ == "numpy"
