"""Declare what a model is told about one entity.

A `Record` is a pydantic model; `columns_of` reads its fields once, offline, and the bundle
carries the result, so hosts need neither the class nor pydantic to be served.
"""

from __future__ import annotations

import datetime as dt
import enum
import math
import types
import typing
from typing import Any, Literal, Union

import pydantic
from pydantic.fields import FieldInfo

from mlembed.columns import Category, Column, Kind, Log
from mlembed.errors import DeclarationError

_KINDS: dict[type, Kind] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "category",
    dt.datetime: "timestamp",
}


class Record(pydantic.BaseModel):
    """What a model is told about one entity: subclass it, one field a column.

    Fields are `float`, `int`, `bool`, `str` (a category whose vocabulary is learnt), `Literal` or a
    string `Enum` (a declared vocabulary) and `datetime` (with a time zone); `| None` where the value
    may be missing. Ranges and units come from `pydantic.Field(ge=..., le=..., description=...)`.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


def columns_of(record: type[Record]) -> tuple[Column, ...]:
    """Read the columns a record class declares, in the order of its fields.

    Raises:
        DeclarationError: If a field's type cannot become one number; lists all such fields.
    """
    columns, problems = [], []
    for name, field in record.model_fields.items():
        try:
            columns.append(_column(name, field))
        except DeclarationError as error:
            problems.append(str(error))
    if problems or not columns:
        raise DeclarationError(
            f"{record.__name__} cannot be a model's input: "
            f"{'; '.join(problems) or 'it has no fields'}. "
            "Fields are float, int, bool, str, Literal, a string Enum or datetime, each or None"
        )
    return tuple(columns)


def _column(name: str, field: FieldInfo) -> Column:
    annotation, nullable = _strip_none(field.annotation)
    # `Annotated[float, Field(ge=0)] | None` keeps its range inside the union.
    inner = FieldInfo.from_annotation(annotation)
    metadata = [*field.metadata, *inner.metadata]
    kind, vocabulary = _kind(name, inner.annotation)
    rule = next((item for item in metadata if isinstance(item, Category)), None)
    log = next((item for item in metadata if isinstance(item, Log)), Log("raw"))
    if rule is not None and kind != "category":
        raise DeclarationError(f"'{name}' is a {kind}, so Category(...) does not apply")
    return Column(
        name=name,
        kind=kind,
        nullable=nullable,
        unit=field.description or inner.description or "",
        vocabulary=vocabulary,
        declared=bool(vocabulary),
        rule=rule or Category(),
        log=log.mode,
        **_range(name, kind, metadata),
    )


def _strip_none(annotation: Any) -> tuple[Any, bool]:
    """Return *annotation* without its None, and whether it had one."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is Literal and None in arguments:
        rest = tuple(argument for argument in arguments if argument is not None)
        return Literal[rest], True
    if typing.get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    rest = tuple(argument for argument in arguments if argument is not type(None))
    return (rest[0] if len(rest) == 1 else annotation), len(rest) < len(arguments)


def _kind(name: str, annotation: Any) -> tuple[Kind, tuple[str, ...]]:
    if typing.get_origin(annotation) is Literal:
        values = typing.get_args(annotation)
    elif isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        values = tuple(member.value for member in annotation)
    elif isinstance(annotation, type) and annotation in _KINDS:
        return _KINDS[annotation], ()
    else:
        raise DeclarationError(f"'{name}' has a type that is not one number")
    if not values or not all(isinstance(value, str) for value in values):
        raise DeclarationError(f"'{name}' has a vocabulary that is empty or not all strings")
    return "category", tuple(values)


def _range(name: str, kind: Kind, metadata: list[Any]) -> dict[str, Any]:
    """Return the arguments of `Column` that say the range in *metadata*."""
    low_end, low_open = _bound(metadata, "ge", "gt")
    high_end, high_open = _bound(metadata, "le", "lt")
    if kind in ("category", "boolean") and (low_end, high_end) != (None, None):
        raise DeclarationError(f"'{name}' is a {kind}, so a range does not apply")
    low, high = _end(name, low_end), _end(name, high_end)
    column: dict[str, Any] = {"minimum": low, "maximum": high}
    column |= {"exclusive_minimum": low_open, "exclusive_maximum": high_open}
    if low is not None and high is not None:
        closed = not (low_open or high_open)
        if not (low < high or (low == high and closed)):
            raise DeclarationError(f"'{name}' has an empty range")
    return column


def _bound(metadata: list[Any], closed: str, opened: str) -> tuple[Any, bool]:
    for item in metadata:
        for attribute in (closed, opened):
            value = getattr(item, attribute, None)
            if value is not None:
                return value, attribute == opened
    return None, False


def _end(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise DeclarationError(f"'{name}' has a range without a time zone")
        value = value.timestamp()
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DeclarationError(f"'{name}' has a range that is not of finite numbers or datetimes")
    return number
