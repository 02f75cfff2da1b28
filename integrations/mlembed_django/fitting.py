"""Whether a mapping fits the site's model and the record, told before anything is predicted.

What is told is certain to fail. Where the type of a value cannot be known - of a function, a
property, an annotation, a field of the site's own - nothing is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

from mlembed.errors import DeclarationError
from mlembed_django.declaration import nearest
from mlembed_django.paths import follow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.columns import Column, Kind
    from mlembed_django.instances import InstanceMapping

_WHOLE = (models.IntegerField, models.AutoField, models.BooleanField)
_NUMBERS = (*_WHOLE, models.FloatField, models.DecimalField)
_TEXTS = (models.CharField, models.TextField, models.GenericIPAddressField)
_MOMENTS = (models.DateField,)  # a DateTimeField is one
_NEITHER = (
    models.BinaryField,
    models.DurationField,
    models.FileField,
    models.TimeField,
    models.UUIDField,
)
_WANTED: dict[Kind, tuple[str, tuple[type[Any], ...]]] = {
    "number": ("a number", _NUMBERS),
    "integer": ("a whole number", _NUMBERS),
    "boolean": ("true or false", _NUMBERS),
    "category": ("a text", _TEXTS),
    "timestamp": ("a date or time", (*_MOMENTS, *_NUMBERS, *_TEXTS)),
}


def problems_of(mapping: InstanceMapping[Any]) -> list[str]:
    """Return a sentence for each mistake in *mapping*."""
    try:
        model = mapping.model
    except (LookupError, ValueError):
        return [f"no installed app has the model '{mapping.label}'"]
    problems = [
        f"'{name}' is no field of the record. {nearest(name, mapping.sources)}"
        for name in mapping.unknown
    ]
    try:
        columns = _columns(mapping)
    except DeclarationError as error:
        return [*problems, str(error)]
    for name, source in mapping.sources.items():
        if isinstance(source, str) and source not in mapping.annotations:
            problems += _misfits(model, name, source, columns.get(name))
    key = mapping.key
    if isinstance(key, str) and key not in mapping.annotations:
        problems += _misfits(model, "key", key, None)
    return problems


def _columns(mapping: InstanceMapping[Any]) -> dict[str, Column]:
    """Return what the record's class says of its fields; nothing where it is a list of names."""
    if not isinstance(mapping.record, type):
        return {}
    from mlembed.record import columns_of

    return {column.name: column for column in columns_of(mapping.record)}


def _misfits(
    model: type[models.Model], name: str, path: str, column: Column | None
) -> Iterator[str]:
    end = follow(model, path)
    if end.problem:
        yield f"'{name}' is read from '{path}', but {end.problem}"
    elif column is not None and end.field is not None and not _may_be(end.field, column.kind):
        wanted, _ = _WANTED[column.kind]
        kind = type(end.field).__name__
        yield f"'{name}' is {wanted}, but '{path}' of {model._meta.label} is a {kind}"


def _may_be(field: Any, kind: Kind) -> bool:
    """Tell whether a value of *field* may become one of *kind*."""
    if isinstance(field, _NEITHER):
        return False
    _, wanted = _WANTED[kind]
    known = isinstance(field, (*_NUMBERS, *_TEXTS, *_MOMENTS))
    return not known or isinstance(field, wanted)
