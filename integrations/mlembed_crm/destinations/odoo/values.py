"""Write values as Odoo's fields take them, and read them back.

Odoo's times are UTC without saying so, and what is empty is False. A value of the wrong type is an
error inside Odoo, so it is found here, by the field's definition.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from mlembed_crm.destinations import Field, values
from mlembed_crm.errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlembed_crm.upsert import Kind

    Definition = Mapping[str, Any]

ATTRIBUTES = ["type", "readonly", "size", "selection"]

_KINDS: Mapping[str, Kind] = {
    "char": "text",
    "text": "text",
    "html": "text",
    "selection": "text",
    "float": "number",
    "monetary": "number",
    "integer": "integer",
    "boolean": "boolean",
    "date": "date",
    "datetime": "datetime",
}
_TEXTS = {"char", "text", "selection"}
_TIME = "%Y-%m-%d %H:%M:%S"
_BITS = 31


def field_of(name: str, definition: Definition) -> Field:
    """Return what a definition of Odoo's says of a field."""
    size, selection = definition.get("size"), definition.get("selection")
    choices = selection if isinstance(selection, list) else []
    kind = _KINDS.get(str(definition.get("type")))
    return Field(
        kind=kind,
        writable=name != "id" and not definition.get("readonly"),
        max_length=size if isinstance(size, int) and size > 0 else None,
        choices=tuple(str(choice[0]) for choice in choices if choice),
        unique=name == "id",
        strict=kind == "text",
    )


def written(value: Any, definition: Definition) -> Any:
    """Return *value* as the field takes it.

    Raises:
        PayloadError: If the field cannot hold it; does not show it.
    """
    kind = str(definition.get("type"))
    if kind not in _MAKERS:
        raise PayloadError(f"is of Odoo's type '{kind[:40]}', which an action cannot give")
    if value is None:
        return False
    made = _MAKERS[kind](value)
    if made is None:
        raise PayloadError(f"takes {kind}, not {type(value).__name__}")
    return made


def written_key(key: str, definition: Definition) -> str | int:
    """Return *key* as the field that identifies a record holds it.

    Raises:
        PayloadError: If the field holds no such keys; does not show the key.
    """
    kind = str(definition.get("type"))
    if kind in _TEXTS:
        return key
    if kind != "integer":
        raise PayloadError("identifies no record; name a field that holds texts or integers")
    return values.integer_key(key, _BITS)


def plain(value: Any, definition: Definition) -> Any:
    """Return what Odoo answered for a field: None where it is empty, the id of a related record."""
    if value is False and definition.get("type") != "boolean":
        return None
    if isinstance(value, list) and definition.get("type") == "many2one":
        return value[0] if value else None
    return value


def time_text(time: dt.datetime) -> str:
    """Return a time with a zone as Odoo writes it: UTC, to the second."""
    return time.astimezone(dt.UTC).strftime(_TIME)


def read_time(text: Any) -> dt.datetime:
    """Return a time that Odoo wrote.

    Raises:
        ValueError: If it is none.
    """
    return dt.datetime.strptime(str(text), _TIME).replace(tzinfo=dt.UTC)


def _date(value: Any) -> str | None:
    date = values.date(value)
    return date.isoformat() if date else None


def _datetime(value: Any) -> str | None:
    time = values.moment(value)
    return time_text(time) if time else None


_MAKERS: Mapping[str, Callable[[Any], Any]] = {
    "char": values.text,
    "text": values.text,
    "html": values.text,
    "selection": values.text,
    "integer": values.integer,
    "many2one": values.integer,
    "float": values.number,
    "monetary": values.number,
    "boolean": values.boolean,
    "date": _date,
    "datetime": _datetime,
}
