"""`manage.py seed`: make up customers and orders until now."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from backoffice.calls import past_calls
from backoffice.models import CallListEntry, Customer, Order

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

_BATCH = 2_000


class Command(BaseCommand):
    """Fill an empty shop."""

    help = "Make up customers, orders and calls of the past; the same day gives the same shop."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take how many, until when, and the seed."""
        parser.add_argument("--customers", type=int, default=2_000, help="who ever joined")
        parser.add_argument("--until", type=dt.date.fromisoformat, help="the last day; today")
        parser.add_argument("--seed", type=int, default=1, help="of everything random")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Fill it.

        Raises:
            CommandError: If there are customers already.
        """
        from backoffice.seeding import Simulation

        if options["customers"] < 1:
            raise CommandError("--customers is a number, 1 or more")
        if Customer.objects.exists():
            raise CommandError("the shop has customers already; start with run.py --fresh")
        day = options["until"] or timezone.now().date()
        today = dt.datetime.combine(day, dt.time(), dt.UTC)
        customers, orders = [], []
        for customer, his in Simulation(options["customers"], today, options["seed"]).customers():
            customers.append(customer)
            orders += his
        orders.sort(key=lambda order: order.placed)
        with transaction.atomic():
            Customer.objects.bulk_create(customers, batch_size=_BATCH)
            for order in orders:
                order.customer_id = order.customer.pk
            Order.objects.bulk_create(orders, batch_size=_BATCH)
            CallListEntry.objects.bulk_create(past_calls(customers, today))
        self.stdout.write(f"{len(customers):,} customers, {len(orders):,} orders")
