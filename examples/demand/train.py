"""How many bikes will be rented in the next hour?

    BIKES=bike_sharing.csv mlembed train examples/demand/train.py \
        --registry file://$PWD/.registry --alias champion --report demand.html

The table holds hourly rentals in Washington: https://archive.ics.uci.edu/dataset/275
"""

from __future__ import annotations

import os

from record import TRANSFORMS, Hour
from sklearn.ensemble import HistGradientBoostingRegressor

from mlembed.training import Gates, Interval, Regression, Table, TimeSplit, Trainer

HOUR_SECONDS, DAY_SECONDS = 3_600, 86_400
hours = os.environ.get("BIKES", "bike_sharing.csv")


def ago(seconds: int) -> dict[str, float]:
    """Return how a row is joined to the hour that many *seconds* before it."""
    # A row counts for what is strictly later than its delay: one second less is that very hour.
    return {"delay_seconds": seconds - 1, "max_age_seconds": seconds}


trainer = Trainer(
    name="demand",
    record=Hour,
    transforms=TRANSFORMS,
    label=Regression("users", unit="rentals an hour"),
    data=Table(hours)
    .join_asof(Table(hours), on=(), time="date_time", prefix="hour_ago_", **ago(HOUR_SECONDS))
    .join_asof(Table(hours), on=(), time="date_time", prefix="day_ago_", **ago(DAY_SECONDS))
    .join_asof(Table(hours), on=(), time="date_time", prefix="week_ago_", **ago(7 * DAY_SECONDS)),
    candidates=[
        HistGradientBoostingRegressor(
            loss="poisson", categorical_features="from_dtype", learning_rate=0.08, max_iter=300
        )
    ],
    split=TimeSplit("date_time", since="2012-11-01", gap_seconds=DAY_SECONDS),
    metric="wape",
    baseline="week_ago_users",  # what everybody would guess
    interval=Interval(level=0.9, method="signed"),  # errors above are larger than those below
    slices=("weather", "workingday", "hour"),
    gates=Gates(floor=0.2),
)
