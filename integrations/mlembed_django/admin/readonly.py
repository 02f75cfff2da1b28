"""A page of the admin that shows a table and changes nothing, not even for superusers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin import ModelAdmin, ShowFacets

from mlembed_django.admin.guarded import guarded
from mlembed_django.admin.paging import MOST_ROWS, BoundedPaginator
from mlembed_django.admin.permitted import complaint, log_database, sight_of

if TYPE_CHECKING:
    from typing import ClassVar

    from django.db.models import Model, QuerySet
    from django.http import HttpRequest, HttpResponse

    Shown = ModelAdmin[Any]
else:
    Shown = ModelAdmin  # Django's own takes no argument when it runs


class ReadOnlyAdmin(Shown):
    """Shows the rows of the models that the user may see, and leaves their changes to the app.

    Attributes:
        named_by: What a row's `model` is: `names`, the site's own, or `refs`, the registry's.
        empty: What to do where there is no row, for people.
        finding: Parts of the address of a list that find few rows by an index of their own.
        filtered: Names of the fields that the address of a list may filter by.
    """

    named_by = "names"
    empty = ""
    finding: tuple[str, ...] = ("q",)
    filtered: tuple[str, ...] = ()
    actions_on_top = True  # without, Django writes a style into the page, which a CSP refuses
    list_per_page = 50
    list_max_show_all = 0
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    sortable_by: ClassVar[tuple[str, ...]] = ()

    class Media:
        """Colours and shapes; no script."""

        css = {"all": ("mlembed/admin.css",)}  # noqa: RUF012  as Django reads it

    def using(self) -> str:
        """Return the alias of the database that holds the rows."""
        return log_database()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        """Return the rows that the request's user may see."""
        rows = self.model._default_manager.using(self.using())  # noqa: SLF001  Django's own name
        order = self.get_ordering(request)
        found = any(request.GET.get(name) for name in self.finding)
        sight = sight_of(request.user).limit(self.named_by, found=found)
        seen: QuerySet[Model] = rows.filter(sight)
        return seen.order_by(*order)

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Return the order in which the table is indexed."""
        del request
        return tuple(str(field) for field in self.opts.ordering or ())

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Refuse conditions that no filter offers: one without an index reads the whole table."""
        del value, request
        return lookup.partition("__")[0] in self.filtered

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find rows by what they are exactly, which an index answers."""
        del request
        term = search_term.strip()
        return (self.found(queryset, term) if term else queryset), False

    def found(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Return those of *rows* that *term* names."""
        del term
        return rows

    def notes(self) -> tuple[str, ...]:
        """Return sentences about the whole table, to stand above it."""
        return ()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody add."""
        del request, obj
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody change."""
        del request, obj
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody delete: `manage.py mlembed_prune` does."""
        del request, obj
        return False

    @guarded
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list."""
        told = {
            "complaint": complaint(),
            "empty": self.empty,
            "most_rows": MOST_ROWS,
            "title": self._title(),
            "notes": self.notes(),
        }
        return super().changelist_view(request, {**told, **(extra_context or {})})

    @guarded
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one row, and what belongs to it."""
        row = None if object_id is None else self.get_object(request, object_id)
        beside = {} if row is None else self.beside(request, row)
        told = {"complaint": complaint(), **beside, **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, told)

    @guarded
    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show who did what with one row."""
        return super().history_view(request, object_id, extra_context)

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return what the template shows beside the fields of *row*."""
        del request, row
        return {}

    def _title(self) -> str:
        name = str(self.opts.verbose_name_plural)
        return name[:1].upper() + name[1:]
