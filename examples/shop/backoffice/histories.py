"""What was known of each customer at moments of the past, and whether an order followed.

Rows are read through the very mapping that the site predicts by. A moment is left out until the 60
days after it have passed: nobody knows yet what became of those customers.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from django.db.models import Exists, OuterRef

from backoffice.customers import CLOSED_AFTER
from backoffice.ml import customer as as_record
from backoffice.models import Customer, Order

if TYPE_CHECKING:
    from collections.abc import Iterator

HORIZON = dt.timedelta(days=60)
STEP = dt.timedelta(days=30)


def histories(now: dt.datetime, months: int) -> Iterator[dict[str, Any]]:
    """Yield a row a customer and moment, the oldest moment first.

    Args:
        now: What is later is not looked at.
        months: Number of moments, 30 days apart.
    """
    for number in reversed(range(months)):
        yield from _at(now - HORIZON - number * STEP)


def _at(moment: dt.datetime) -> Iterator[dict[str, Any]]:
    later = Order.objects.filter(
        customer=OuterRef("pk"), placed__gte=moment, placed__lt=moment + HORIZON
    )
    known = (
        Customer.objects.with_history(moment)
        .filter(last_order__gt=moment - CLOSED_AFTER)  # whose account was open then
        .annotate(returns=Exists(later))
        .order_by("pk")
    )
    for row in known.iterator():
        yield {
            "customer": row.pk,
            "at": moment.isoformat(),
            **as_record(row),
            "left": not row.returns,
        }
