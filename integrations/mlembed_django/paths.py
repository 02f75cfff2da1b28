"""Follow a path such as `address__town__name` over the fields of the site's models.

Only relations to one row can be followed: of several, none is the value.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.exceptions import FieldDoesNotExist

from mlembed_django.declaration import nearest
from mlembed_django.sources import SEPARATOR

if TYPE_CHECKING:
    from django.db.models import Field, Model


class End(NamedTuple):
    """Where a path ends.

    Attributes:
        field: The field there; None where it is a property, or cannot be told.
        relations: The relations that it goes through, as far as a query can join them.
        columns: The whole path as `QuerySet.only` takes it; empty where it ends at no column.
        problem: Why it leads nowhere; empty where it does.
    """

    field: Field[Any, Any] | None = None
    relations: str = ""
    columns: str = ""
    problem: str = ""


def follow(model: type[Model], path: str) -> End:
    """Follow *path* from *model*; nothing is queried."""
    steps = path.split(SEPARATOR)
    through: list[str] = []
    for number, step in enumerate(steps):
        is_last = number == len(steps) - 1
        relations = SEPARATOR.join(through)
        field = _field(model, step)
        if field is None:
            return _attribute(model, step, relations, is_last=is_last)
        if field.one_to_many or field.many_to_many:
            return End(relations=relations, problem=_many(model, step))
        if is_last:
            return _last(field, step, relations, through)
        if not field.is_relation or step != field.name:
            why = f"'{step}' of {model._meta.label} is no relation"
            return End(relations=relations, problem=why)
        if field.related_model is None:  # a generic relation: what follows is known row by row
            return End(relations=relations)
        through.append(step)
        model = field.related_model
    raise AssertionError


def _field(model: type[Model], step: str) -> Any:
    if step == "pk":
        return model._meta.pk
    try:
        return model._meta.get_field(step)
    except FieldDoesNotExist:
        return None


def _last(field: Any, step: str, relations: str, through: list[str]) -> End:
    if field.is_relation and step not in ("pk", getattr(field, "attname", "")):
        why = f"it ends at the relation '{step}'; name a field of it, such as {step}__pk"
        return End(relations=relations, problem=why)
    columns = SEPARATOR.join((*through, field.name))
    while field.is_relation and field.related_model is not None:  # town_id holds what it points to
        field = field.target_field
    return End(field, relations, columns)


def _attribute(model: type[Model], step: str, relations: str, *, is_last: bool) -> End:
    """Return the end of a path at what is no field, but may be another attribute of the class."""
    try:
        found = inspect.getattr_static(model, step)
    except AttributeError:
        known = (field.name for field in model._meta.get_fields() if not field.auto_created)
        why = f"{model._meta.label} has no field '{step}'. {nearest(step, known)}"
        return End(relations=relations, problem=why)
    if hasattr(found, "rel"):
        return End(relations=relations, problem=_many(model, step))
    if inspect.isroutine(found) or isinstance(found, (classmethod, staticmethod)):
        why = f"'{step}' of {model._meta.label} is a method; give a function that calls it"
        return End(relations=relations, problem=why)
    if not is_last and not hasattr(found, "__get__"):
        return End(relations=relations, problem=f"'{step}' of {model._meta.label} is no relation")
    return End(relations=relations)


def _many(model: type[Model], step: str) -> str:
    return (
        f"'{step}' of {model._meta.label} is a relation to many rows; annotate the queryset and name "
        "the annotation in annotations=(...)"
    )
