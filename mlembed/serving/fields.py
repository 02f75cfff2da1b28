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
from typing import TYPE_CHECKING, Any

from mlembed.columns import MISSING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlembed.columns import Column

ABSENT = object()
MAX_INTEGER = 2**53

_WANTED = {
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
        FieldProblem: If the value does not fit.
    """
    if value is ABSENT or value is None or _is_nan(value):
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
    if not isinstance(value, str):
        raise _mistyped(column, value)
    code = codes.get(value)
    if code is not None:
        return code
    unknown = column.unknown_code
    if unknown is None:
        raise FieldProblem(f"is none of its {len(column.vocabulary)} categories")
    return unknown


def _number(column: Column, value: Any) -> float:
    if not isinstance(value, (numbers.Real, decimal.Decimal)) and not _is_numpy_bool(value):
        raise _mistyped(column, value)
    try:
        number = float(value)
    except (OverflowError, ValueError) as error:
        raise FieldProblem("is not finite") from error
    if column.kind == "integer" and math.isfinite(number):
        if not number.is_integer():
            raise FieldProblem(f"has a fraction, expected a whole number{_unit(column)}")
        if abs(number) > MAX_INTEGER:
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
        if value.tzinfo is None:
            raise FieldProblem("has no time zone; expected one, such as datetime.now(UTC)")
        return value.timestamp()
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    raise _mistyped(column, value)


def _mistyped(column: Column, value: Any) -> FieldProblem:
    wanted = _WANTED[column.kind]
    return FieldProblem(f"is {type(value).__name__}, expected {wanted}{_unit(column)}")


def _unit(column: Column) -> str:
    return f" ({column.unit})" if column.unit else ""


def _is_nan(value: Any) -> bool:
    try:
        return isinstance(value, (float, decimal.Decimal)) and math.isnan(value)
    except ValueError:
        return True


def _is_numpy_bool(value: Any) -> bool:
    return type(value).__name__ in ("bool", "bool_") and type(value).__module__ == "numpy"
