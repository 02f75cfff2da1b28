"""A stream of card payments to play with: made up, seeded, and not the same after a while.

At first, fraud is a stolen card used online for far more than usual, from a new device. After the
change, thieves drain young accounts at night with small contactless payments at fuel stations, and
customers shop abroad more. A model trained before cannot know that.

    python simulate.py --rows 12000 --output history.csv
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

MERCHANTS = ("groceries", "fuel", "travel", "electronics", "restaurants", "games", "pharmacy")
COUNTRIES = ("DE", "FR", "NL", "ES", "PL", "US")
CHANNELS = ("chip", "online", "contactless")
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
FRAUD_SHARE = 0.06


def payments(
    n: int, *, seed: int, changed: bool = False, start: dt.datetime = START
) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield *n* payments in order of time, each with whether it is fraud.

    Args:
        n: Number of payments, one every two minutes.
        seed: Seed of everything random.
        changed: Whether behaviour has changed.
        start: Time of the first.
    """
    random = np.random.default_rng(seed)
    fraud = random.random(n) < FRAUD_SHARE
    hours = (np.arange(n) / 30 + start.hour) % 24
    night = (hours < 6) | (hours > 22)  # noqa: PLR2004  hours of the day
    usual = random.lognormal(3.6, 0.5, n)
    columns = {
        "amount": usual * random.lognormal(0.0, 0.5, n),
        "usual_amount": usual,
        "merchant_category": _pick(random, MERCHANTS, n, (30, 15, 5, 10, 20, 10, 10)),
        "country": _pick(random, COUNTRIES, n, _countries(changed=changed)),
        "channel": _pick(random, CHANNELS, n, (40, 25, 35)),
        "is_new_device": random.random(n) < 0.08,  # noqa: PLR2004  a share
        "account_age_days": random.gamma(2.0, 500.0, n).astype(int),
        "minutes_since_last": random.exponential(900.0, n),
    }
    if changed:
        fraud = random.random(n) < FRAUD_SHARE * np.where(night, 2.0, 0.6)
        columns["amount"] = np.where(fraud, random.uniform(1, 25, n), columns["amount"] * 1.5)
        _mix(columns, "merchant_category", fraud, random, ("fuel",), 0.7)
        _mix(columns, "channel", fraud, random, ("contactless",), 0.9)
        columns["account_age_days"][fraud] = random.integers(5, 200, fraud.sum())
        columns["minutes_since_last"][fraud] = random.exponential(30.0, fraud.sum())
    else:
        columns["amount"] = np.where(
            fraud, usual * random.lognormal(1.4, 0.7, n), columns["amount"]
        )
        _mix(columns, "merchant_category", fraud, random, ("electronics", "travel"), 0.6)
        _mix(columns, "channel", fraud, random, ("online",), 0.8)
        columns["is_new_device"] |= fraud & (random.random(n) < 0.5)  # noqa: PLR2004
    first = random.random(n) < 0.1  # noqa: PLR2004
    for row in range(n):
        payment = {name: values[row].item() for name, values in columns.items()}
        payment["amount"] = round(min(payment["amount"], 50_000.0), 2)
        payment["usual_amount"] = round(payment["usual_amount"], 2)
        payment["minutes_since_last"] = (
            None if first[row] else round(payment["minutes_since_last"], 1)
        )
        payment["at"] = (start + dt.timedelta(minutes=2 * row)).isoformat()
        yield payment, bool(fraud[row])


def write_history(path: Path, n: int, *, seed: int) -> None:
    """Write *n* payments as CSV, with the column `fraud`."""
    rows = [{**payment, "fraud": fraud} for payment, fraud in payments(n, seed=seed)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _countries(*, changed: bool) -> tuple[int, ...]:
    return (25, 10, 10, 25, 10, 20) if changed else (60, 12, 10, 8, 6, 4)


def _pick(
    random: np.random.Generator, values: tuple[str, ...], n: int, weights: tuple[int, ...]
) -> NDArray[np.str_]:
    return random.choice(np.array(values), n, p=np.array(weights) / sum(weights))


def _mix(
    columns: dict[str, NDArray[Any]],
    name: str,
    rows: NDArray[np.bool_],
    random: np.random.Generator,
    values: tuple[str, ...],
    share: float,
) -> None:
    """Set *share* of the *rows* of a column to one of *values*."""
    chosen = rows & (random.random(len(rows)) < share)
    columns[name] = np.where(chosen, random.choice(np.array(values), len(rows)), columns[name])


if __name__ == "__main__":
    from pathlib import Path

    parser = argparse.ArgumentParser(description="Write simulated card payments as CSV.")
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    write_history(arguments.output, arguments.rows, seed=arguments.seed)
