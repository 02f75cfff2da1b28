"""Orders of a shop, most of what a declaration can name: times, customers, amounts, a leak."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field
from sklearn.linear_model import LogisticRegression, Ridge

import mlembed
from mlembed.features import log1p, ratio
from mlembed.testing import InMemoryRegistry
from mlembed.training import Binary, RandomSplit, Regression, TimeSplit, Trainer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mlembed.bundle.bundle import Bundle
    from mlembed.serving.model import Model
    from mlembed.settings import Settings
    from mlembed.training import Candidate

CHANNELS = np.array(["shop", "web", "phone"])
HOUR = 3600.0
START = dt.datetime(2025, 3, 1, tzinfo=dt.UTC).timestamp()
RANDOM = RandomSplit(test=0.25, reason="for the test")


class Order(mlembed.Record):
    """One order."""

    placed: dt.datetime
    total: Annotated[float, Field(ge=0)]
    days: Annotated[float, Field(ge=0)] | None
    channel: str
    member: bool


class Leaky(Order):
    """An order with what is only known in the end."""

    refund: float
    opened: float | None


def orders(n: int, seed: int = 0) -> dict[str, Any]:
    """Return columns of *n* orders, one an hour, in no order.

    `returned` is the label of two classes, `weight` a quantity with errors of deviation 1, `loss`
    what a missed return costs, `customer` one of n / 8; `refund` is 0 unless the order is returned,
    `opened` has nothing to do with it.
    """
    random = np.random.default_rng(seed)
    total, days = random.lognormal(3, 0.8, n), random.exponential(5, n)
    channel = random.choice(CHANNELS, n)
    member = random.random(n) < 0.4
    # Days count for members and against others, which no sum of columns can say.
    odds = (np.log1p(total) - 3) + 0.35 * (days - 5) * np.where(member, 1, -1)
    odds = odds + np.where(channel == "web", 0.8, -0.4)
    returned = random.random(n) < 1 / (1 + np.exp(-odds))
    return {
        "placed": START + HOUR * random.permutation(n),
        "total": total,
        "days": np.where(random.random(n) < 0.1, np.nan, days),
        "channel": channel.astype(object),
        "member": member,
        "returned": np.where(returned, "yes", "no").astype(object),
        "weight": np.log1p(total) + member + random.normal(0, 1, n),
        "loss": np.round(total * random.uniform(0.5, 1.5, n), 2),
        "customer": random.integers(0, max(n // 8, 2), n),
        "refund": np.where(returned, total, 0.0),
        "opened": random.uniform(0, 1, n),
    }


def declare(**changes: Any) -> Trainer:
    """Return the declaration of a classifier of orders, with *changes*."""
    declared: dict[str, Any] = {
        "name": "returns",
        "record": Order,
        "transforms": {"log_total": log1p("total")},
        "label": Binary("returned", positive="yes"),
        "candidates": [LogisticRegression(max_iter=1000)],
        "split": TimeSplit("placed"),
        "folds": 1,
    }
    return Trainer(**{**declared, **changes})


def declare_leaky(**changes: Any) -> Trainer:
    """Return a declaration whose record holds a leak, read by a transform too."""
    transforms = {"log_total": log1p("total"), "kept": ratio("refund", "total")}
    return declare(record=Leaky, transforms=transforms, **changes)


def declare_weight(**changes: Any) -> Trainer:
    """Return the declaration of a quantity."""
    declared: dict[str, Any] = {
        "label": Regression("weight", unit="kg"),
        "candidates": [Ridge()],
        "split": RANDOM,
    }
    return declare(**{**declared, **changes})


def serve(bundle: Bundle, settings: Settings) -> Model:
    """Return the handle of a host that serves *bundle*."""
    registry = InMemoryRegistry()
    registry.publish(bundle)
    return mlembed.load(bundle.manifest.name, registry=registry, settings=settings)


def records(table: Mapping[str, Any], names: Any = Order.model_fields) -> dict[str, Any]:
    """Return the columns of the record, times as a host gives them."""
    found = {name: table[name] for name in names}
    if "placed" in found:
        found["placed"] = np.array([moment(value) for value in table["placed"]], dtype=object)
    return found


def moment(seconds: float) -> dt.datetime:
    """Return a moment in UTC."""
    return dt.datetime.fromtimestamp(float(seconds), dt.UTC)


def rows(table: Mapping[str, Any], picks: Any) -> dict[str, Any]:
    """Return the rows *picks* of a table."""
    return {name: values[picks] for name, values in table.items()}


def own_scores(candidate: Candidate, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the fitted estimator itself says of *features*."""
    scores: NDArray[np.float64] = candidate.fitted.estimator.predict_proba(features)[:, 1]
    return scores
