"""Customers, orders and calls in Django's admin, with the risk beside the customer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from backoffice.models import CallListEntry, Customer, Order

if TYPE_CHECKING:
    from typing import TypeAlias

    CustomerAdminBase: TypeAlias = admin.ModelAdmin[Customer]
    OrderAdminBase: TypeAlias = admin.ModelAdmin[Order]
    CallAdminBase: TypeAlias = admin.ModelAdmin[CallListEntry]
else:
    CustomerAdminBase = OrderAdminBase = CallAdminBase = admin.ModelAdmin


@admin.register(Customer)
class CustomerAdmin(CustomerAdminBase):
    """Customers, the most likely to leave first."""

    list_display = ("name", "segment", "town", "churn_shown", "churn_version", "churn_time")
    list_filter = ("segment", "town", "newsletter", ("closed", admin.EmptyFieldListFilter))
    search_fields = ("name", "email")
    ordering = ("-churn",)
    readonly_fields = ("churn_shown", "churn_version", "churn_time")
    show_full_result_count = False

    @admin.display(description="churn", ordering="churn")
    def churn_shown(self, customer: Customer) -> str:
        """Return the score as a share."""
        return "-" if customer.churn is None else f"{customer.churn:.1%}"


@admin.register(Order)
class OrderAdmin(OrderAdminBase):
    """Orders."""

    list_display = ("id", "customer", "placed", "bags", "total", "returned")
    list_filter = ("returned", "placed")
    list_select_related = ("customer",)
    raw_id_fields = ("customer",)
    search_fields = ("customer__name",)
    show_full_result_count = False


@admin.register(CallListEntry)
class CallListEntryAdmin(CallAdminBase):
    """Calls."""

    list_display = ("customer", "reason", "score", "created", "done", "outcome", "called_by")
    list_filter = ("outcome", ("done", admin.EmptyFieldListFilter))
    list_select_related = ("customer", "called_by")
    raw_id_fields = ("customer", "called_by")
    readonly_fields = ("action", "prediction", "score")
