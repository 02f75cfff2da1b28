"""A small trade to train on: who orders after a visit, before and after behaviour changes."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

import mlembed
from mlembed.features import log1p
from mlembed.training import Binary, RandomSplit, Trainer

SOURCES = np.array(["search", "mail", "advert"])


class Visit(mlembed.Record):
    """One visit to a shop."""

    minutes: Annotated[float, Field(ge=0, le=600, description="minutes")]
    basket: Annotated[float, Field(ge=0, description="EUR")] | None
    source: str
    member: bool


def visits(n: int, seed: int = 0, *, changed: bool = False) -> dict[str, Any]:
    """Return columns of *n* visits and the label `ordered`; members order less once *changed*."""
    random = np.random.default_rng(seed)
    minutes = random.uniform(0, 60, n)
    basket = random.lognormal(3, 1, n)
    source = random.choice(SOURCES, n)
    member = random.random(n) < 0.5
    sign = -1.0 if changed else 1.0
    odds = sign * (0.1 * (minutes - 30) + np.where(member, 1.5, -1.5)) + (source == "mail")
    ordered = random.random(n) < 1 / (1 + np.exp(-odds))
    return {
        "minutes": minutes,
        "basket": np.where(random.random(n) < 0.1, np.nan, basket),
        "source": source.astype(object),
        "member": member,
        "ordered": np.where(ordered, "yes", "no").astype(object),
    }


def trainer(**changes: Any) -> Trainer:
    """Return the trade's trainer, with *changes* to its declaration."""
    declared: dict[str, Any] = {
        "name": "visits",
        "record": Visit,
        "transforms": {"log_basket": log1p("basket")},
        "label": Binary("ordered", positive="yes"),
        "candidates": [
            LogisticRegression(max_iter=1000),
            HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=20),
        ],
        "split": RandomSplit(test=0.25, reason="visits are independent"),
    }
    return Trainer(**{**declared, **changes})
