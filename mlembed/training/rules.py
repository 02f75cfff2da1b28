"""The rules of a table in SQL: how a cell is read and what breaks a rule.

Every expression is made of positions (`c3`, `x3`, `v3`), quoted literals and numbers: no header
and no value of the table is ever part of a statement.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, Literal

from mlembed.serving.fields import MAX_INTEGER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlembed.columns import Column
    from mlembed.training.cleaning import Cleaning

Family = Literal["text", "integer", "real", "boolean", "time", "other"]

# What str.strip() drops.
WHITESPACE = (
    string.whitespace
    + "\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
    + "".join(map(chr, range(0x2000, 0x200B)))
)
FITS: dict[str, tuple[Family, ...]] = {
    "number": ("text", "integer", "real", "boolean"),
    "integer": ("text", "integer", "real", "boolean"),
    "boolean": ("text", "integer", "real", "boolean"),
    "category": ("text", "integer", "boolean"),
    "timestamp": ("text", "integer", "real", "time"),
}
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(?i:inf|infinity|nan)"
# Nine to eleven digits are seconds since 1970, from 1973 to 5138; 20240101 and milliseconds
# would be read as other times without a word.
_EPOCH = r"-?\d{9,11}(\.\d+)?"
DATES = 19_000_101, 21_001_231  # as whole numbers; in seconds, two weeks of 1970
TOO_MANY_SECONDS = 100_000_000_000
_DATE = r"\d{4}-\d{1,2}-\d{1,2}.*"
_TRUE, _FALSE = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")
_FAMILIES: dict[Family, str] = {
    "text": r"VARCHAR|ENUM\(.*\)",
    "integer": r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)",
    "real": r"FLOAT|DOUBLE|DECIMAL\(\d+,\d+\)",
    "boolean": r"BOOLEAN",
    "time": r"DATE|TIMESTAMP[A-Z_ ]*",
}


def family(duckdb_type: str) -> Family:
    """Return what kind of values a column of *duckdb_type* holds."""
    for name, pattern in _FAMILIES.items():
        if re.fullmatch(pattern, duckdb_type):
            return name
    return "other"


def literal(text: str) -> str:
    """Return *text* as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def query(select: Mapping[str, str], source: str, *, rest: str = "") -> str:
    """Return the query of the expressions in *select*, by name, and *rest*, from *source*."""
    listed = [f"{expression} AS {name}" for name, expression in select.items()]
    return f"SELECT {', '.join([*listed, *filter(None, [rest])])} FROM {source}"  # noqa: S608  names and literals are made in this package


def cell(name: str, duckdb_type: str, cleaning: Cleaning) -> str:
    """Return the cell of column *name*, NULL where it is missing; times as seconds since 1970."""
    kind = family(duckdb_type)
    if kind == "text":
        text = f"CAST({name} AS VARCHAR)"
        if cleaning.trim:
            text = _trimmed(f"trim({text})")
        words = ", ".join(map(literal, cleaning.missing))
        return f"CASE WHEN {text} NOT IN ({words}) THEN {text} END" if words else text
    if kind == "real":
        return f"CASE WHEN NOT isnan(CAST({name} AS DOUBLE)) THEN CAST({name} AS DOUBLE) END"
    if kind == "time":
        zoned = duckdb_type.endswith("WITH TIME ZONE")
        return _seconds(name if zoned else f"CAST({name} AS TIMESTAMP)")
    if kind == "other":
        return f"CAST({name} AS VARCHAR)"
    return name


def _trimmed(text: str) -> str:
    """Return *text* without white space around it; the slow function runs on few cells only."""
    edge = f"[{WHITESPACE}]"
    return (
        f"CASE WHEN regexp_matches({text}, {literal(f'^{edge}|{edge}$')}) "
        f"THEN trim({text}, {literal(WHITESPACE)}) ELSE {text} END"
    )


def _seconds(time: str) -> str:
    instant = f"CAST({time} AS TIMESTAMP WITH TIME ZONE)"
    return f"CASE WHEN isfinite({instant}) THEN epoch_us({instant}) / 1e6 END"


def number(x: str, kind: Family) -> str:
    """Return cell *x* as a double, NULL where it is none."""
    if kind == "text":
        return (
            f"CASE WHEN regexp_full_match({x}, {literal(_NUMBER)}) THEN TRY_CAST({x} AS DOUBLE) END"
        )
    return f"CAST({x} AS DOUBLE)"


def time(x: str, kind: Family) -> str:
    """Return cell *x* as seconds since 1970, NULL where it is no time."""
    if kind == "time":
        return f"CAST({x} AS DOUBLE)"
    if kind != "text":
        return _seconds_of(f"CAST({x} AS DOUBLE)")
    instant = _seconds(f"TRY_CAST({x} AS TIMESTAMP WITH TIME ZONE)")
    return (
        f"CASE WHEN regexp_full_match({x}, {literal(_EPOCH)}) THEN CAST({x} AS DOUBLE) "
        f"WHEN regexp_full_match({x}, {literal(_DATE)}) THEN {instant} END"
    )


def microseconds(name: str, duckdb_type: str, cleaning: Cleaning) -> str:
    """Return the time in column *name* as whole microseconds since 1970, NULL where it is none."""
    kind = family(duckdb_type)
    if kind == "time":
        zoned = duckdb_type.endswith("WITH TIME ZONE")
        return _exact(name if zoned else f"CAST({name} AS TIMESTAMP)")
    x = cell(name, duckdb_type, cleaning)
    if kind != "text":
        return f"TRY_CAST(round({_seconds_of(f'CAST({x} AS DOUBLE)')} * 1e6) AS BIGINT)"
    return (
        f"CASE WHEN regexp_full_match({x}, {literal(_EPOCH)}) "
        f"THEN CAST(round(CAST({x} AS DOUBLE) * 1e6) AS BIGINT) "
        f"WHEN regexp_full_match({x}, {literal(_DATE)}) "
        f"THEN {_exact(f'TRY_CAST({x} AS TIMESTAMP WITH TIME ZONE)')} END"
    )


def _seconds_of(number: str) -> str:
    """Return *number* as seconds since 1970; NULL for what is milliseconds, or 20240101."""
    month, day = f"floor({number} / 100) % 100", f"{number} % 100"
    written = (
        f"{number} = floor({number}) AND {number} BETWEEN {DATES[0]} AND {DATES[1]} "
        f"AND {month} BETWEEN 1 AND 12 AND {day} BETWEEN 1 AND 31"
    )
    beyond = f"isfinite({number}) AND abs({number}) >= {TOO_MANY_SECONDS}"
    return f"CASE WHEN NOT ({beyond} OR {written}) THEN {number} END"


def _exact(time: str) -> str:
    instant = f"CAST({time} AS TIMESTAMP WITH TIME ZONE)"
    return f"CASE WHEN isfinite({instant}) THEN epoch_us({instant}) END"


def value(column: Column, x: str, kind: Family) -> str:
    """Return cell *x* as *column* holds it: text for a category, a double for the others."""
    if column.kind == "category":
        return f"CAST({x} AS VARCHAR)"
    if column.kind == "timestamp":
        return time(x, kind)
    if column.kind == "boolean" and kind == "text":
        return (
            f"CASE WHEN lower({x}) IN ({', '.join(map(literal, _TRUE))}) THEN 1.0::DOUBLE "
            f"WHEN lower({x}) IN ({', '.join(map(literal, _FALSE))}) THEN 0.0::DOUBLE END"
        )
    return number(x, kind)


def problems(column: Column, x: str, v: str) -> Iterator[tuple[str, str]]:
    """Yield each rule of *column*: when cell *x*, read as *v*, breaks it, and how that is called."""
    if not column.nullable:
        yield f"{x} IS NULL", "is missing"
    if column.kind == "category":
        if column.declared:
            known = ", ".join(map(literal, column.vocabulary))
            yield f"{v} NOT IN ({known})", f"is none of its {len(column.vocabulary)} values"
        return
    unreadable = {"boolean": "is not true or false", "timestamp": "is not a time"}
    yield f"{x} IS NOT NULL AND {v} IS NULL", unreadable.get(column.kind, "is not a number")
    if column.kind == "boolean":
        yield f"{v} NOT IN (0, 1)", unreadable["boolean"]
        return
    yield f"NOT isfinite({v})", "is not finite"
    if column.kind == "integer":
        yield f"isfinite({v}) AND {v} <> floor({v})", "has a fraction"
        yield f"isfinite({v}) AND abs({v}) > {MAX_INTEGER}", "is beyond 2**53"
    outside = _outside(column, v)
    if outside:
        yield f"isfinite({v}) AND ({outside})", f"is outside {column.range_text}"


def _outside(column: Column, v: str) -> str:
    ends = []
    if column.minimum is not None:
        ends.append((column.minimum, "<=" if column.exclusive_minimum else "<"))
    if column.maximum is not None:
        ends.append((column.maximum, ">=" if column.exclusive_maximum else ">"))
    return " OR ".join(f"{v} {sign} {literal(repr(end))}::DOUBLE" for end, sign in ends)
