"""Which version of which model serves where, and the way to the page of each model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin import display
from django.urls import path
from django.utils import timezone

from mlembed_django.admin import shown
from mlembed_django.admin.filters import ModelFilter
from mlembed_django.admin.page import page
from mlembed_django.admin.readonly import ReadOnlyAdmin
from mlembed_django.models import ModelVersion, Service

if TYPE_CHECKING:
    import datetime as dt

    from django.http import HttpRequest
    from django.urls import URLPattern

SILENT_SECONDS = 900.0  # a host that is asked writes each minute


@admin.register(Service)
class ServiceAdmin(ReadOnlyAdmin):
    """One row a model and host."""

    list_display = ("model_page", "host", "version", "state_shown", "since_shown", "seen_shown")
    list_display_links = ("host",)
    list_filter = (ModelFilter,)
    filtered = ("model",)
    list_select_related = ("serving",)
    empty = (
        "No host has told of a model yet. One does at its first prediction, where MLEMBED has a "
        "'DATABASE'."
    )
    fields = (
        "model_page",
        "host",
        "version",
        "bundle",
        "state_shown",
        "error",
        "since",
        "seen_shown",
    )
    readonly_fields = ("model_page", "version", "bundle", "state_shown", "seen_shown")

    def get_urls(self) -> list[URLPattern]:
        """Add the page of a model."""
        mine = path(
            "page/", self.admin_site.admin_view(self.page_view), name="mlembed_service_page"
        )
        return [mine, *super().get_urls()]

    def page_view(self, request: HttpRequest) -> Any:
        """Show the page of one model."""
        return page(self, request)

    @display(description="model")
    def model_page(self, row: Service) -> Any:
        """Return the model, leading to its page."""
        return shown.linked(shown.page_address(self.admin_site.name, row.model), row.model)

    @display(description="version")
    def version(self, row: Service) -> str:
        """Return the version in service."""
        return shown.NONE if row.serving is None else row.serving.version

    @display(description="bundle")
    def bundle(self, row: Service) -> Any:
        """Return the id of the bundle in service."""
        return shown.code("" if row.serving is None else row.serving.bundle)

    @display(description="state")
    def state_shown(self, row: Service) -> Any:
        """Return the state in its colour, with the error in its title."""
        return shown.badge(row.state, title=shown.short(row.error, 400))

    @display(description="since")
    def since_shown(self, row: Service) -> str:
        """Return since when, shortly."""
        return shown.short_moment(row.since)

    @display(description="last heard of")
    def seen_shown(self, row: Service) -> Any:
        """Return when the host wrote last; marked where that is long ago."""
        return heard(row.seen)


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    """One row a bundle that has served."""

    list_display = ("model_page", "version", "first_shown", "task", "metric", "promise", "digest")
    list_display_links = ("version",)
    list_filter = (ModelFilter,)
    filtered = ("model",)
    empty = "No version has served yet. One is noted at its first prediction."
    fields = ("model_page", "version", "bundle", "task", "metric", "promise", "first_seen")
    readonly_fields = ("model_page", "promise")

    @display(description="model")
    def model_page(self, row: ModelVersion) -> Any:
        """Return the model, leading to its page."""
        return shown.linked(shown.page_address(self.admin_site.name, row.model), row.model)

    @display(description="first seen")
    def first_shown(self, row: ModelVersion) -> str:
        """Return when it first served, shortly."""
        return shown.short_moment(row.first_seen)

    @display(description="promised")
    def promise(self, row: ModelVersion) -> str:
        """Return what it was worth on the rows that were held out."""
        return shown.number(row.promised)

    @display(description="bundle")
    def digest(self, row: ModelVersion) -> Any:
        """Return the beginning of the bundle's id."""
        return shown.code(row.bundle[:12])


def heard(seen: dt.datetime) -> Any:
    """Return how long ago *seen* is; marked where a host that serves would have written since."""
    passed = (timezone.now() - seen).total_seconds()
    if passed >= SILENT_SECONDS:
        return shown.badge("silent", f"silent for {shown.span(passed)}")
    return f"{shown.span(max(passed, 0.0))} ago"
