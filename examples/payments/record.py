"""What the model is told about one card payment; shared by trainer and site."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field

import mlembed
from mlembed.features import cyclic, day_of_week, hour_of_day, log1p, ratio


class Payment(mlembed.Record):
    """One card payment, as the shop knows it before it takes the money."""

    amount: Annotated[float, Field(ge=0, le=50_000, description="EUR")]
    usual_amount: Annotated[float, Field(ge=0, le=50_000, description="EUR, the card's median")]
    merchant_category: str
    country: Annotated[str, Field(description="of the card, ISO 3166 two letters")]
    channel: Literal["chip", "online", "contactless"]
    is_new_device: bool
    account_age_days: Annotated[int, Field(ge=0, description="days")]
    minutes_since_last: Annotated[float, Field(ge=0, description="minutes")] | None
    at: dt.datetime


TRANSFORMS = {
    "log_amount": log1p("amount"),
    "times_usual": ratio("amount", "usual_amount"),
    "hour": cyclic(hour_of_day("at"), 24),
    "weekday": day_of_week("at"),
}
