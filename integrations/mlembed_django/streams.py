"""Stream the rows of a queryset: as bare values where nobody need see an instance, else as instances.

Making an instance takes longer than reading and scoring it. Where all that a record is read from is
columns, only those are read, and an instance is made for whoever looks at it.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import Manager, Model, QuerySet
from django.db.models.query import ModelIterable
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init

from mlembed_django.paths import follow
from mlembed_django.sources import SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlembed_django.instances import InstanceMapping


class Stream(NamedTuple):
    """Rows, and how they are to be read.

    Attributes:
        rows: Instances, rows of `values()`, or tuples of values.
        places: Where in a tuple each path stands; None where the rows are no such tuples.
        instance: Makes the instance of a tuple.
    """

    rows: Iterable[Any]
    places: dict[str, int] | None = None
    instance: Callable[[Any], Any] | None = None


def streamed(
    queryset: QuerySet[Any] | Iterable[Any], mapping: InstanceMapping[Any] | None, chunk_size: int
) -> Stream:
    """Return the rows of *queryset* as a stream, with what *mapping* reads joined and loaded."""
    if isinstance(queryset, Manager):
        queryset = queryset.all()
    if not isinstance(queryset, QuerySet) or queryset._result_cache is not None:  # noqa: SLF001  evaluated
        return Stream(queryset)
    if mapping is None or queryset.query.combinator or not _gives(queryset, mapping):
        return Stream(queryset.iterator(chunk_size))
    if _is_plain(queryset):
        paths = _columns(queryset, mapping)
        if paths is not None:
            return _bare(queryset, paths, chunk_size)
    return Stream(joined(queryset, mapping).iterator(chunk_size))


def joined(queryset: QuerySet[Any], mapping: InstanceMapping[Any]) -> QuerySet[Any]:
    """Return *queryset* with the relations joined and the fields loaded that *mapping* reads."""
    names, leaves_out = queryset.query.deferred_loading
    if names:
        loaded = queryset.defer(None)
        if leaves_out:
            queryset = loaded.defer(*({*names} - {*mapping.needed}))
        else:
            queryset = loaded.only(*names, *mapping.needed)
    query = queryset.query
    # A lock would be asked for on the joined rows, too, which PostgreSQL refuses where there may be none.
    if mapping.select_related and query.select_related is not True and not query.select_for_update:
        queryset = queryset.select_related(*mapping.select_related)
    return queryset


def _gives(queryset: QuerySet[Any], mapping: InstanceMapping[Any]) -> bool:
    """Tell whether the rows of *queryset* are instances that *mapping* is made for."""
    rows = queryset._iterable_class  # noqa: SLF001  whether they are instances
    try:
        return issubclass(rows, ModelIterable) and issubclass(queryset.model, mapping.model)
    except LookupError:  # no app has the model: system checks tell, and each row that is read
        return False


def _is_plain(queryset: QuerySet[Any]) -> bool:
    """Tell whether an instance of *queryset* holds nothing but its own columns and annotations."""
    query = queryset.query
    return (
        queryset._iterable_class is ModelIterable  # noqa: SLF001  Django tells it nowhere else
        and not queryset._prefetch_related_lookups  # type: ignore[attr-defined]  # noqa: SLF001  idem
        and not queryset._known_related_objects  # type: ignore[attr-defined]  # noqa: SLF001  idem
        and not query.select_related
        and not query.deferred_loading[0]
        and not query.extra_select
        and not query.select_for_update
        and getattr(queryset, "_fetch_mode", None) == getattr(QuerySet(), "_fetch_mode", None)
        and _is_as_stored(queryset.model)
    )


def _is_as_stored(model: type[Model]) -> bool:
    """Tell whether an instance of *model* shows each of its columns as the database gives it."""
    made_by = (model.__init__, inspect.getattr_static(model, "from_db"))
    return (
        made_by == (Model.__init__, inspect.getattr_static(Model, "from_db"))
        and not post_init.has_listeners(model)
        and not pre_init.has_listeners(model)
        and all(
            isinstance(inspect.getattr_static(model, field.attname), DeferredAttribute)
            for field in model._meta.concrete_fields
        )
    )


def _columns(queryset: QuerySet[Any], mapping: InstanceMapping[Any]) -> list[str] | None:
    """Return the paths that *mapping* reads; None where one of them ends at no column."""
    paths = []
    for source in (*mapping.sources.values(), mapping.key):
        if not isinstance(source, str):
            return None
        annotated = source in mapping.annotations and source in queryset.query.annotation_select
        if not annotated and (source in mapping.annotations or not _is_column(mapping, source)):
            return None
        paths.append(source)
    return paths


def _is_column(mapping: InstanceMapping[Any], path: str) -> bool:
    """Tell whether *path* ends at a column, and every row on its way is as it is stored."""
    end = follow(mapping.model, path)
    model: Any = mapping.model
    for step in filter(None, end.relations.split(SEPARATOR)):
        model = model._meta.get_field(step).related_model
        if not _is_as_stored(model):
            return False
    return bool(end.columns)


def _bare(queryset: QuerySet[Any], paths: Iterable[str], chunk_size: int) -> Stream:
    """Return the values of the rows: the model's own columns, the annotations, and *paths*."""
    model, using = queryset.model, queryset.db
    own = [field.attname for field in model._meta.concrete_fields]
    annotations = [*queryset.query.annotation_select]
    whole = [*own, *annotations]
    more = [path for path in dict.fromkeys(paths) if path not in whole]
    n_own, n_whole = len(own), len(whole)

    def instance(row: Any) -> Any:
        made = model.from_db(using, own, row[:n_own])
        if annotations:
            for name, value in zip(annotations, row[n_own:n_whole], strict=True):
                setattr(made, name, value)
        return made

    names = [*whole, *more]
    rows = queryset.values_list(*names).iterator(chunk_size)
    return Stream(rows, {name: place for place, name in enumerate(names)}, instance)
