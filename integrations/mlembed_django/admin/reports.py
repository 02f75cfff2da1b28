"""What `mlembed_monitor` found, report by report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin import DateFieldListFilter, display

from mlembed_django.admin import shown
from mlembed_django.admin.documents import found
from mlembed_django.admin.filters import ModelFilter, ReportFilter
from mlembed_django.admin.page import told
from mlembed_django.admin.readonly import ReadOnlyAdmin
from mlembed_django.models import Report

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest


@admin.register(Report)
class ReportAdmin(ReadOnlyAdmin):
    """One row a report."""

    list_display = (
        *(
            "created_shown",
            "model_page",
            "version",
            "state_shown",
            "rows_shown",
            "realised",
            "promise",
        ),
    )
    list_filter = (ModelFilter, ReportFilter, ("created", DateFieldListFilter))
    filtered = ("model", "state", "created")
    sortable_by = ("created_shown",)
    empty = "No report yet, or none fits: run manage.py mlembed_monitor, each night if you can."
    fields = ("model_page", "version", "bundle", "created", "state_shown")
    readonly_fields = ("model_page", "state_shown")
    change_form_template = "admin/mlembed/report.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the reports that the user may see, without reading what a list does not show."""
        return super().get_queryset(request).defer("document")

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Show all that it found."""
        del request
        page = shown.page_address(self.admin_site.name, row.model)
        return {**told(row, found(row.document)), "model_page": page}

    @display(description="model")
    def model_page(self, row: Report) -> Any:
        """Return the model, leading to its page."""
        return shown.linked(shown.page_address(self.admin_site.name, row.model), row.model)

    @display(description="state")
    def state_shown(self, row: Report) -> Any:
        """Return the state in its colour."""
        return shown.badge(row.state)

    @display(description="realised")
    def realised(self, row: Report) -> str:
        """Return the realised metric."""
        if row.value is None:
            return shown.NONE
        return shown.one_line(f"{row.metric} {shown.number(row.value)}")

    @display(description="created", ordering="created")
    def created_shown(self, row: Report) -> str:
        """Return when, shortly."""
        return shown.short_moment(row.created)

    @display(description="predictions")
    def rows_shown(self, row: Report) -> str:
        """Return how many it was judged by."""
        return shown.count(row.rows)

    @display(description="promised")
    def promise(self, row: Report) -> str:
        """Return what was promised."""
        return shown.number(row.promised)
