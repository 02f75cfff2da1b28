"""What the model is told about a customer, and what it has said, in words for people."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from backoffice.ml import customer as as_record
from backoffice.record import History
from mlembed.record import columns_of
from mlembed_django.models import Prediction

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from backoffice.models import Customer

_LABELS = {
    "days_as_customer": "Customer for",
    "days_since_order": "Since the last order",
    "usual_gap_days": "Usually between two orders",
    "orders_90d": "Orders in 90 days",
    "orders_365d": "Orders in a year",
    "spent_90d": "Spent in 90 days",
    "spent_365d": "Spent in a year",
    "returned_365d": "Sent back in a year",
}
_SHOWN = 6
_EXACT = 10.0


@dataclasses.dataclass(frozen=True)
class Fact:
    """One field of the record.

    Attributes:
        name: In the record.
        label: For people.
        value: As people write it, with its unit.
    """

    name: str
    label: str
    value: str


def facts(customer: Customer) -> list[Fact]:
    """Return what the model would be told of *customer* now, by the record's own units."""
    record = as_record(customer)
    return [
        Fact(
            column.name,
            _LABELS.get(column.name, column.name.replace("_", " ").capitalize()),
            _written(record[column.name], column.unit),
        )
        for column in columns_of(History)
    ]


def said(customer: Customer) -> QuerySet[Prediction]:
    """Return the latest predictions on *customer* that were kept."""
    return Prediction.objects.filter(model="churn", key=str(customer.pk))[:_SHOWN]


def _written(value: Any, unit: str) -> str:
    if value is None:
        return "none yet"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if unit == "EUR":
        return f"€{value:,.2f}"
    number = f"{value:,.{1 if value < _EXACT else 0}f}" if isinstance(value, float) else str(value)
    return f"{number} {unit}" if unit == "days" else number
