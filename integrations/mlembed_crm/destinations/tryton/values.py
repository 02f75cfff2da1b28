"""Write values as Tryton's fields take them, and read them back.

JSON has no decimals, dates and times, so Tryton marks them; a value that is marked wrongly is not
refused but breaks the server. What a field cannot hold is therefore found here, by its definition.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from mlembed_crm.destinations import Field, values
from mlembed_crm.errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlembed_crm.upsert import Kind

    Definition = Mapping[str, Any]

MARK = "__class__"

_KINDS: Mapping[str, Kind] = {
    "char": "text",
    "text": "text",
    "selection": "text",
    "float": "number",
    "numeric": "number",
    "integer": "integer",
    "bigint": "integer",
    "boolean": "boolean",
    "date": "date",
    "datetime": "datetime",
    "timestamp": "datetime",
}
_TEXTS = {"char", "text", "selection"}
_INTEGERS = {"integer": 31, "bigint": 63}


def field_of(name: str, definition: Definition) -> Field:
    """Return what a definition of Tryton's says of a field."""
    size, selection = definition.get("size"), definition.get("selection")
    choices = selection if isinstance(selection, list) else []
    kind = _KINDS.get(str(definition.get("type")))
    return Field(
        kind=kind,
        writable=not definition.get("readonly"),
        max_length=size if isinstance(size, int) else None,
        choices=tuple(str(choice[0]) for choice in choices if choice and choice[0]),
        unique=name == "id",
        strict=kind == "text",
    )


def typed(value: Any, definition: Definition) -> Any:
    """Return *value* as the field takes it.

    Raises:
        PayloadError: If the field cannot hold it; does not show it.
    """
    if definition.get("readonly"):
        raise PayloadError("is read-only")
    if value is None:
        return None
    kind = str(definition.get("type"))
    if kind not in _MAKERS:
        raise PayloadError(f"is of Tryton's type '{kind[:40]}', which an action cannot give")
    made = _MAKERS[kind](value)
    if made is None:
        raise PayloadError(f"takes {kind}, not {type(value).__name__}")
    places = _decimal_places(definition)
    if places is not None and round(value, places) != value:
        raise PayloadError(f"has {places} decimal places; say field(..., digits={places})")
    return made


def typed_key(key: str, definition: Definition) -> str | int:
    """Return *key* as the field that identifies a record holds it.

    Raises:
        PayloadError: If the field holds no such keys; does not show the key.
    """
    kind = str(definition.get("type"))
    if kind in _TEXTS:
        if key != key.strip():
            raise PayloadError("holds no keys that begin or end with a blank: Tryton strips them")
        return key
    if kind not in _INTEGERS:
        raise PayloadError("identifies no record; name a field that holds texts or integers")
    return values.integer_key(key, _INTEGERS[kind])


def moment(time: dt.datetime) -> dict[str, Any]:
    """Return a time, UTC, as Tryton takes it."""
    names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
    return {MARK: "datetime", **{name: getattr(time, name) for name in names}}


def plain(value: Any) -> Any:
    """Return what Tryton answered in JSON types: decimals as numbers, dates and times as text.

    Raises:
        ValueError: If it is marked and not what it is marked as.
    """
    if not isinstance(value, dict) or MARK not in value:
        return value
    marked = {name: part for name, part in value.items() if name != MARK}
    try:
        if value[MARK] == "Decimal":
            return float(marked["decimal"])
        if value[MARK] == "date":
            return dt.date(**marked).isoformat()
        if value[MARK] == "datetime":
            return dt.datetime(**marked, tzinfo=dt.UTC).isoformat()
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(str(value[MARK])) from error
    return None


def _float(value: Any) -> float | None:
    number = values.number(value)
    return None if number is None else float(number)


def _decimal(value: Any) -> dict[str, str] | None:
    number = values.number(value)
    return None if number is None else {MARK: "Decimal", "decimal": repr(number)}


def _date(value: Any) -> dict[str, Any] | None:
    date = values.date(value)
    if date is None:
        return None
    return {MARK: "date", "year": date.year, "month": date.month, "day": date.day}


def _timestamp(value: Any) -> dict[str, Any] | None:
    time = values.moment(value)
    return moment(time.astimezone(dt.UTC)) if time else None


def _datetime(value: Any) -> dict[str, Any] | None:
    made = _timestamp(value)
    return made and {**made, "microsecond": 0}  # which its format may not have


_MAKERS: Mapping[str, Callable[[Any], Any]] = {
    "char": values.text,
    "text": values.text,
    "selection": values.text,
    "reference": values.text,
    "integer": values.integer,
    "bigint": values.integer,
    "many2one": values.integer,
    "float": _float,
    "numeric": _decimal,
    "boolean": values.boolean,
    "date": _date,
    "datetime": _datetime,
    "timestamp": _timestamp,
}


def _decimal_places(definition: Definition) -> int | None:
    """Return how many a number of the field may have; None where that depends on the record."""
    try:
        _, places = json.loads(definition["digits"])
    except (KeyError, TypeError, ValueError):
        return None
    return places if isinstance(places, int) else None
