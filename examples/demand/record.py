"""What the model is told about one hour; shared by trainer and host."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import Field

import mlembed
from mlembed.features import cyclic, ratio

Rentals = Annotated[float, Field(ge=0, description="rentals in that hour")] | None
Share = Annotated[float, Field(ge=0, le=100, description="%")]


class Hour(mlembed.Record):
    """One hour of a city's bike rentals, with the weather that is forecast for it."""

    date_time: dt.datetime
    holiday: bool
    workingday: bool
    weather: str
    temp: Annotated[float, Field(ge=-50, le=60, description="degrees Celsius")]
    atemp: Annotated[float, Field(ge=-60, le=70, description="degrees Celsius, as it feels")]
    hum: Share
    windspeed: Annotated[float, Field(ge=0, description="km/h")]
    month: Annotated[int, Field(ge=1, le=12)]
    hour: Annotated[int, Field(ge=0, le=23)]
    weekday: Annotated[int, Field(ge=0, le=6)]
    hour_ago_users: Rentals
    day_ago_users: Rentals
    week_ago_users: Rentals


TRANSFORMS = {
    "of_day": cyclic("hour", 24),
    "of_year": cyclic("month", 12),
    "trend": ratio("day_ago_users", "week_ago_users"),
    "now": ratio("hour_ago_users", "day_ago_users"),
}
