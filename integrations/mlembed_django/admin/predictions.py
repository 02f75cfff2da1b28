"""Predictions and outcomes, as people look them up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin import DateFieldListFilter, display
from django.db.models import Q

from mlembed_django.admin import shown
from mlembed_django.admin.filters import ModelFilter, ReasonFilter
from mlembed_django.admin.ids import as_key, by_id
from mlembed_django.admin.permitted import may
from mlembed_django.admin.readonly import ReadOnlyAdmin
from mlembed_django.admin.tables import deliveries_of, outcomes_of
from mlembed_django.models import Outcome, Prediction

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

_BY = "The id of a prediction (also id/row, of a batch), or the whole key of an entity"


class _Keyed(ReadOnlyAdmin):
    """A table that is found by the id of a prediction and by key."""

    search_fields = ("key",)
    search_help_text = f"{_BY}."

    def found(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Return the rows of a prediction or of a key; one key may look like an id."""
        which = Q(key=as_key(term))
        named = by_id(term)
        if named is not None:
            event, row = named
            which |= Q(uuid=event) if row is None else Q(uuid=event, row=row)
        return rows.filter(which)

    @display(description="key", empty_value=shown.NONE)
    def key_shown(self, row: Any) -> Any:
        """Return the key, cut where it is long."""
        return shown.shortened(row.key, 32)

    @display(description="created", ordering="created")
    def created_shown(self, row: Any) -> str:
        """Return when, shortly."""
        return shown.short_moment(row.created)

    @display(description="prediction")
    def short_id(self, row: Any) -> Any:
        """Return the end of the prediction's id."""
        if row.uuid is None:
            return shown.NONE
        whole = f"{row.uuid}/{row.row}" if row.row else str(row.uuid)
        return shown.shortened_end(whole)


@admin.register(Prediction)
class PredictionAdmin(_Keyed):
    """Every prediction that was kept."""

    list_display = (
        *("created_shown", "model", "version", "key_shown", "score_shown", "label", "reason_shown"),
    )
    list_filter = (ModelFilter, ReasonFilter, ("created", DateFieldListFilter))
    finding = ("q", "reason")
    filtered = ("model", "reason", "created")
    sortable_by = ("created_shown",)
    empty = (
        "Nothing was kept, or nothing fits. Predictions are kept where MLEMBED has a 'DATABASE', and "
        'for its KEEP_DAYS; write "DATABASE": {} into it to begin.'
    )
    fieldsets = (
        (None, {"fields": ("uuid", "row", "model", "version", "key", "created")}),
        (
            "Answer",
            {"fields": ("score_shown", "label", "reason_shown", "error", "latency_shown")},
        ),
        ("Who asked", {"fields": ("request", "user", "trace")}),
    )
    readonly_fields = ("score_shown", "reason_shown", "latency_shown")

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Show its outcomes and its deliveries."""
        site = self.admin_site.name
        tables = [*outcomes_of(request, row, site), *deliveries_of(request, row, site)]
        return {"tables": tables, "model_page": shown.page_address(site, row.model)}

    @display(description="score")
    def score_shown(self, row: Prediction) -> str:
        """Return the score in four digits."""
        return shown.number(row.score)

    @display(description="reason")
    def reason_shown(self, row: Prediction) -> Any:
        """Return the reason in its colour."""
        return shown.badge(row.reason)

    @display(description="latency")
    def latency_shown(self, row: Prediction) -> str:
        """Return how long the call took."""
        return shown.NONE if row.latency is None else shown.latency(row.latency * 1e-6)


@admin.register(Outcome)
class OutcomeAdmin(_Keyed):
    """Every outcome that was reported."""

    list_display = ("created_shown", "model", "key_shown", "value_shown", "revision", "short_id")
    list_filter = (ModelFilter, ("created", DateFieldListFilter))
    filtered = ("model", "created")
    sortable_by = ("created_shown",)
    empty = (
        "No outcome was reported, or none fits. Report one with model.outcome(prediction.id, value), "
        "or by its key."
    )
    fields = ("uuid", "row", "model", "key", "value_shown", "observed", "revision", "created")
    readonly_fields = ("value_shown",)

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Lead to the prediction, and to the model's page."""
        site = self.admin_site.name
        context = {"model_page": shown.page_address(site, row.model)}
        if row.uuid and may(request, "view_prediction"):
            context["prediction"] = shown.list_address(
                site, "prediction", q=f"{row.uuid}/{row.row}"
            )
        return context

    @display(description="value")
    def value_shown(self, row: Outcome) -> Any:
        """Return the value as it was reported."""
        return shown.shortened(str(row.value))
