"""Held-out rows of a small trade, their true mechanism known, for the evaluation tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.columns import Column
from mlembed.training.evaluation import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

COLUMNS = (
    Column(name="age", kind="number", nullable=True),
    Column(name="job", kind="category", vocabulary=("clerk", "cook", "nurse"), rare=True),
    Column(name="member", kind="boolean"),
    Column(name="visits", kind="integer"),
    Column(name="since", kind="timestamp"),
    Column(name="noise", kind="number"),
)


def cells(n: int, seed: int = 0) -> Floats:
    """Return *n* rows; one age in ten is missing."""
    random = np.random.default_rng(seed)
    age = random.uniform(18, 90, n)
    return np.column_stack(
        [
            np.where(random.random(n) < 0.1, np.nan, age),
            random.choice(4, n, p=[0.5, 0.3, 0.15, 0.05]),
            random.integers(0, 2, n),
            random.poisson(2, n),
            1.7e9 + random.uniform(0, 1e7, n),
            random.normal(size=n),
        ]
    )


def odds(x: Floats) -> Floats:
    """Return the log-odds: age says most, then job and membership; the others say nothing."""
    age = np.nan_to_num(x[:, 0], nan=50.0)
    signal: Floats = 0.08 * (age - 50) + np.where(x[:, 1] == 1, 1.0, 0.0) + 0.5 * x[:, 2] - 0.5
    return signal


def probability(x: Floats) -> Floats:
    """Score rows with the true probability, `(n,)`."""
    return 1 / (1 + np.exp(-odds(x)))


def trade(n: int, seed: int = 0, **changes: Any) -> Rows:
    """Return rows with a binary label, scored by the truth."""
    x = cells(n, seed)
    scores = probability(x)
    y: Any = (np.random.default_rng(seed + 1).random(n) < scores) * 1.0
    return _rows({"y": y, "scores": scores, "x": x} | changes)


def amounts(n: int, seed: int = 0, **changes: Any) -> Rows:
    """Return rows with a quantity for their label, scored by its mean."""
    x = cells(n, seed)
    scores = odds(x)
    y = scores + np.random.default_rng(seed + 1).normal(size=n)
    return _rows({"y": y, "scores": scores, "x": x} | changes)


def _rows(given: dict[str, Any]) -> Rows:
    return Rows(**{"columns": COLUMNS, **given})
