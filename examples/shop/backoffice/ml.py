"""How a customer of the shop becomes what the model is told.

The trainer reads its table through this mapping too, at moments of the past, so what the model
learns from and what it is asked about cannot differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backoffice.record import History
from mlembed_django.instances import from_instance

if TYPE_CHECKING:
    from backoffice.models import Customer
    from mlembed_django.instances import InstanceMapping

# All that is counted comes from `Customer.objects.with_history()`; segment, town and newsletter
# are fields of the customer and map themselves, as the model's three properties do.
customer: InstanceMapping[Customer] = from_instance(
    "backoffice.Customer",
    History,
    annotations=(
        *("orders_90d", "orders_365d", "returned_365d", "spent_90d", "spent_365d"),
        *("first_order", "last_order", "n_orders", "as_of"),
    ),
)
