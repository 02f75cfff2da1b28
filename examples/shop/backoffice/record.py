"""What the model is told about one customer; shared by trainer and site.

Neither name nor address is in it: what a model is not told, no log can hold.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

import mlembed
from mlembed.features import difference, log1p, ratio

Orders = Annotated[int, Field(ge=0, description="orders")]
Euros = Annotated[float, Field(ge=0, description="EUR")]
Days = Annotated[float, Field(ge=0, description="days")]


class History(mlembed.Record):
    """A customer who has ordered before, as the shop knows him at one moment."""

    segment: Literal["home", "office", "cafe"]
    town: str
    newsletter: bool
    days_as_customer: Days
    days_since_order: Days
    usual_gap_days: Days | None  # between two orders; none after the first
    orders_90d: Orders
    orders_365d: Orders
    spent_90d: Euros
    spent_365d: Euros
    returned_365d: Orders


TRANSFORMS = {
    "times_usual": ratio("days_since_order", "usual_gap_days"),
    "overdue_days": difference("days_since_order", "usual_gap_days"),
    "recent_share": ratio("orders_90d", "orders_365d"),
    "recent_spent_share": ratio("spent_90d", "spent_365d"),
    "returned_share": ratio("returned_365d", "orders_365d"),
    "log_spent": log1p("spent_365d"),
}
