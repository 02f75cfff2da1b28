"""Compile the short way from a record to its row, for one bundle.

The compiled function holds for records that are as declared, and for words outside a vocabulary
that may be; whatever else comes, it hands on to the slow and complete rule, so both ways give the
same row or the same error.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.columns import MISSING
from mlembed.serving.fields import MAX_INTEGER, loggable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlembed.columns import Column

    Encode = Callable[[Any, bytearray], dict[str, str] | None]

_MAX = 1.7976931348623157e308
_NUMBERS = frozenset({float, int, bool, np.float64})
_UNKNOWN = """\
    except KeyError:
        if fits:
            try:
                unknown = {}
                pack(cells, 0, %s)
                return unknown
            except Exception:
                pass
"""


def compile_encoder(
    columns: Sequence[Column],
    codes: Sequence[Mapping[Any, float]],
    pack: Callable[..., None],
    getter: Callable[..., Any],
    slowly: Encode,
) -> Encode:
    """Return the function that writes a record into a row.

    Its source holds positions only, never a name or value of data.

    Args:
        columns: Columns of the row, in order.
        codes: Code of every known value of each category.
        pack: Writes the doubles of a row into a buffer, from an offset.
        getter: `operator.itemgetter` for dictionaries, `operator.attrgetter` for objects.
        slowly: The complete rule.
    """
    n = len(columns)
    env: dict[str, Any] = {
        "pack": pack,
        "get": getter(*(column.name for column in columns)),
        "nan": MISSING,
        "seconds": _seconds,
        "float64": np.float64,
        "numbers": _NUMBERS,
        "slowly": slowly,
    }
    cells, checks, summed = [], [], []
    for i, column in enumerate(columns):
        env[f"lo{i}"], env[f"hi{i}"] = _limits(column)
        env[f"t{i}"] = {**codes[i], None: MISSING} if column.nullable else codes[i]
        cell, check = _expressions(column, i)
        cells.append(cell)
        checks += check
        if column.kind == "number":
            summed.append(f"(0.0 if v{i} is None else v{i})" if column.nullable else f"v{i}")
    read = "get(record)" if n > 1 else "(get(record),)"
    untouched = all(cell == f"v{i}" for i, cell in enumerate(cells))
    lines = [f"values = {read}"]
    if checks or not untouched or 0 < len(summed) < n:
        lines.append(f"{''.join(f'v{i}, ' for i in range(n))} = values")
    for i, column in enumerate(columns):
        if column.kind == "timestamp":
            missing = f"nan if v{i} is None else " if column.nullable else ""
            lines.append(f"s{i} = {missing}seconds(v{i})")
    if summed:
        # The sum is a finite float only if every number is one; what is not a number at all, or
        # adds by rules of its own, makes it something else.
        lines.append(f"numeric = {'values' if len(summed) == n and untouched else _tuple(summed)}")
        lines.append("total = sum(numeric, 0.0)")
        checks = [
            "(type(total) is float or type(total) is float64 and {*map(type, numeric)} <= numbers)",
            "total - total == 0.0",
            *checks,
        ]
    if getter.__name__ == "itemgetter":
        checks.insert(0, f"len(record) == {n}")
    written = "*values" if untouched else ", ".join(cells)
    source = [
        "def encode(record, cells):",
        "    fits = False",
        "    try:",
        *(f"        {line}" for line in lines),
        f"        if {' and '.join(checks) or 'True'}:",
        "            fits = True",
        f"            pack(cells, 0, {written})",
        "            return None",
        *_unknown_words(columns, cells, env),
        "    except Exception:",
        "        pass",
        "    return slowly(record, cells)",
    ]
    exec(compile("\n".join(source), "<mlembed encoder>", "exec"), env)  # noqa: S102
    function: Encode = env["encode"]
    return function


def _expressions(column: Column, i: int) -> tuple[str, list[str]]:
    """Return the source of one cell, and of the checks that keep it on the short way."""
    v = f"v{i}"
    within = f"lo{i} <= {v} <= hi{i}"
    limited = column.minimum is not None or column.maximum is not None
    if column.kind == "category":
        return f"t{i}[{v}]", []
    if column.kind == "number":
        cell, check = v, within if limited else ""
    elif column.kind == "boolean":
        cell, check = v, f"({v} is True or {v} is False)"
    elif column.kind == "integer":
        cell, check = v, f"(type({v}) is int and {within})"
    else:
        none = f"{v} is None or " if column.nullable else ""
        return f"s{i}", [f"({none}lo{i} <= s{i} <= hi{i})"]
    if not column.nullable:
        return cell, [check] if check else []
    return f"(nan if {v} is None else {cell})", [f"({v} is None or {check})"] if check else []


def _unknown_words(
    columns: Sequence[Column], cells: Sequence[str], env: dict[str, Any]
) -> list[str]:
    """Return the source for a record with words outside their vocabularies, if there may be any."""
    met = list(cells)
    for i, column in enumerate(columns):
        if column.kind == "category" and column.unknown_code is not None:
            env[f"u{i}"] = column.name, column.unknown_code
            met[i] = f"({cells[i]} if v{i} in t{i} else meet(v{i}, u{i}, unknown))"
    env["meet"] = _meet
    return [] if met == list(cells) else (_UNKNOWN % ", ".join(met)).splitlines()


def _meet(value: Any, column: tuple[str, float], unknown: dict[str, str]) -> float:
    """Return the code of a word outside its vocabulary, noted in *unknown*.

    Args:
        value: The word.
        column: Name of its column, and the code.
        unknown: Words met so far, by column.

    Raises:
        TypeError: If it is no plain text.
    """
    if type(value) is not str:
        raise TypeError
    name, code = column
    unknown[name] = loggable(value)
    return code


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


def _seconds(value: Any) -> float:
    """Return the Unix time of a timestamp in any of its forms.

    Raises:
        TypeError: If it is none, or has no time zone.
    """
    if type(value) is float or type(value) is int:
        return float(value)
    if type(value) is str:
        value = dt.datetime.fromisoformat(value)
    if not isinstance(value, dt.datetime) or value.utcoffset() is None:
        raise TypeError
    return value.timestamp()


def _tuple(items: Sequence[str]) -> str:
    return f"({', '.join(items)},)"
