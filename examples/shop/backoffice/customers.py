"""Customers with what they did until a moment: the one place where their history is counted.

The trainer asks for moments of the past, the site for now, both by this query.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from django.db.models import (
    Count,
    DateTimeField,
    F,
    FilteredRelation,
    Max,
    Min,
    Q,
    QuerySet,
    Sum,
    Value,
)
from django.db.models.functions import Coalesce
from django.db.models.manager import Manager
from django.utils import timezone

if TYPE_CHECKING:
    from backoffice.models import Customer  # noqa: F401  named in quotes
    from backoffice.risk import Risk

QUARTER, YEAR = dt.timedelta(days=90), dt.timedelta(days=365)
CLOSED_AFTER = dt.timedelta(days=105)  # without an order an account is closed


class CustomerQuerySet(QuerySet["Customer"]):
    """Customers, and questions about them."""

    def with_history(self, as_of: dt.datetime | None = None) -> CustomerQuerySet:
        """Add what each customer ordered before *as_of*; before now, where it is not given."""
        moment = timezone.now() if as_of is None else as_of
        quarter = Q(known__placed__gte=moment - QUARTER)
        year = Q(known__placed__gte=moment - YEAR)
        return self.annotate(
            known=FilteredRelation("orders", condition=Q(orders__placed__lt=moment)),
            as_of=Value(moment, output_field=DateTimeField()),
            first_order=Min("known__placed"),
            last_order=Max("known__placed"),
            n_orders=Count("known"),
            orders_90d=Count("known", filter=quarter),
            orders_365d=Count("known", filter=year),
            returned_365d=Count("known", filter=year & Q(known__returned=True)),
            spent_90d=Coalesce(Sum("known__total_cents", filter=quarter), 0) / 100.0,
            spent_365d=Coalesce(Sum("known__total_cents", filter=year), 0) / 100.0,
        )

    def with_stake(self) -> CustomerQuerySet:
        """Add what the shop may lose with each customer: a year's sales, times the risk.

        The history is there already.
        """
        return self.annotate(at_stake=Coalesce(F("churn"), 0.0) * F("spent_365d"))

    def open(self) -> CustomerQuerySet:
        """Leave out the customers whose accounts are closed."""
        return self.filter(closed=None)

    def of_risk(self, risk: Risk) -> CustomerQuerySet:
        """Leave out all but the open customers of that *risk*."""
        return self.open().filter(churn__gte=risk.low, churn__lt=risk.high)


class Customers(Manager["Customer"]):
    """All customers."""

    def get_queryset(self) -> CustomerQuerySet:
        """Return them."""
        return CustomerQuerySet(self.model, using=self._db)

    def with_history(self, as_of: dt.datetime | None = None) -> CustomerQuerySet:
        """Return them with what they ordered; as `CustomerQuerySet.with_history`."""
        return self.get_queryset().with_history(as_of)

    def open(self) -> CustomerQuerySet:
        """Return those whose accounts are open."""
        return self.get_queryset().open()


class OpenCustomers(Customers):
    """The open customers who have ordered, with their history: those who are scored."""

    def get_queryset(self) -> CustomerQuerySet:
        """Return them."""
        return super().get_queryset().open().with_history().filter(last_order__isnull=False)

    def with_stake(self) -> CustomerQuerySet:
        """Return them with what is at stake; as `CustomerQuerySet.with_stake`."""
        return self.get_queryset().with_stake()
