"""Declare what a model is told about one entity.

A `Record` is a pydantic model; `columns_of` reads its fields once, offline, and the bundle
carries the result, so hosts need neither the class nor pydantic to be served.
"""

from __future__ import annotations

import datetime as dt
import enum
import types
import typing
from typing import TYPE_CHECKING, Any, Literal, Union

import pydantic

from mlembed.columns import Category, Column, Kind
from mlembed.errors import DeclarationError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

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
    kind, vocabulary = _kind(name, annotation)
    rule = next((item for item in field.metadata if isinstance(item, Category)), None)
    if rule is not None and kind != "category":
        raise DeclarationError(f"'{name}' is a {kind}, so Category(...) does not apply")
    low, low_open = _bound(field, "ge", "gt")
    high, high_open = _bound(field, "le", "lt")
    return Column(
        name=name,
        kind=kind,
        nullable=nullable,
        minimum=low,
        maximum=high,
        exclusive_minimum=low_open,
        exclusive_maximum=high_open,
        unit=field.description or "",
        vocabulary=vocabulary,
        declared=bool(vocabulary),
        rule=rule or Category(),
    )


def _strip_none(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    arguments = typing.get_args(annotation)
    rest = [argument for argument in arguments if argument is not type(None)]
    return (rest[0] if len(rest) == 1 else annotation), len(rest) < len(arguments)


def _kind(name: str, annotation: Any) -> tuple[Kind, tuple[str, ...]]:
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) is Literal:
        values = typing.get_args(annotation)
    elif isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        values = tuple(member.value for member in annotation)
    elif annotation in _KINDS:
        return _KINDS[annotation], ()
    else:
        raise DeclarationError(f"'{name}' has a type that is not one number")
    if not all(isinstance(value, str) for value in values):
        raise DeclarationError(f"'{name}' has a vocabulary that is not all strings")
    return "category", tuple(values)


def _bound(field: FieldInfo, closed: str, opened: str) -> tuple[float | None, bool]:
    for item in field.metadata:
        for attribute in (closed, opened):
            value = getattr(item, attribute, None)
            if isinstance(value, dt.datetime):
                value = value.timestamp()
            if value is not None:
                return float(value), attribute == opened
    return None, False
