"""Filters whose choices are known without reading the table that they filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin import SimpleListFilter
from django.db.models.lookups import Exact

from mlembed_django.admin.permitted import (
    declaration,
    declared_models,
    log_database,
    sight_of,
)
from mlembed_django.admin.shown import said
from mlembed_django.admin.unindexed import Unindexed
from mlembed_django.models import NAME_LENGTH, ModelVersion
from mlembed_django.queued import STATES
from mlembed_django.rows import fitted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet
    from django.http import HttpRequest

_REASONS = ("ok", "fallback", "abstain")


class _Exact(SimpleListFilter):
    """Keeps the rows whose field has the chosen value, whether it is among the choices or not."""

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value, field = self.value(), str(self.parameter_name)
        if value is None:
            return queryset
        if request.GET.get("q"):  # a search has an index of its own, which SQLite would not choose
            return queryset.filter(Exact(Unindexed(field), fitted(value)))
        return queryset.filter(**{field: fitted(value)})


class ModelFilter(_Exact):
    """By what the site calls the model: those declared, and those that once served."""

    title = "model"
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the models that the user sees."""
        del model_admin
        sight = sight_of(request.user)
        served = ModelVersion.objects.using(log_database()).order_by("model")
        declared = {fitted(name, NAME_LENGTH) for name in declared_models()}
        names = {*declared, *served.values_list("model", flat=True).distinct()}
        return [(name, name) for name in sorted(names) if sight.shows(name)]


class RefFilter(_Exact):
    """By what the registry calls the model, as deliveries do."""

    title = "model"
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the models that the user sees."""
        del model_admin
        refs = sight_of(request.user).refs
        known = {model.ref.name for model in declared_models().values()}
        return [(name, name) for name in sorted(known if refs is None else refs)]


class ReasonFilter(_Exact):
    """By why a prediction is what it is."""

    title = "reason"
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return every reason."""
        del request, model_admin
        return [(reason, reason) for reason in _REASONS]


class StateFilter(_Exact):
    """By how a delivery stands."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return every state."""
        del request, model_admin
        return [(state, said(state)) for state in STATES]


class DestinationFilter(_Exact):
    """By where an action goes."""

    title = "destination"
    parameter_name = "destination"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the destinations that the site declares."""
        del request, model_admin
        found = declaration()
        return [] if found is None else [(name, name) for name in sorted(found.destinations)]


class ReportFilter(_Exact):
    """By what a report says."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return every state."""
        del request, model_admin
        return [(state, said(state)) for state in ("ok", "alert", "insufficient")]
