"""Charts as plain geometry, which templates draw as SVG; words stand beside it, in HTML.

A chart is 100 wide and 100 high and is stretched to the place it has.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from backoffice.risk import risk_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

_GAP = 0.14
_BINS = 20


@dataclasses.dataclass(frozen=True)
class Bar:
    """One bar; the sides are numbers as SVG writes them.

    Attributes:
        x: Left side.
        y: Upper side.
        width: Of 100.
        height: Of 100.
        title: What it says, for people.
        tone: Class of its colour.
    """

    x: str
    y: str
    width: str
    height: str
    title: str
    tone: str = ""


@dataclasses.dataclass(frozen=True)
class Bars:
    """A chart of bars.

    Attributes:
        bars: From left to right.
        top: What the upper edge stands for.
        summary: The chart in a sentence.
    """

    bars: Sequence[Bar]
    top: float
    summary: str


def distribution(scores: Sequence[float]) -> Bars:
    """Count *scores* in twentieths."""
    counts = [0] * _BINS
    for score in scores:
        counts[min(_BINS - 1, max(0, int(score * _BINS)))] += 1
    named = []
    for number, count in enumerate(counts):
        low = number / _BINS
        risk = risk_of(low + 0.5 / _BINS)
        title = f"{low:.0%} to {low + 1 / _BINS:.0%}: {count:,} customers"
        named.append((count, title, risk.name if risk else ""))
    return _bars(named, f"Risk of {len(scores):,} customers, most in {_largest(named)}")


def weeks(sales: Iterable[tuple[dt.date, float]]) -> Bars:
    """Draw the sales of each week, in EUR."""
    named = [(euros, f"Week of {day:%-d %b}: €{euros:,.0f}", "") for day, euros in sales]
    total = sum(euros for euros, _, _ in named)
    return _bars(named, f"Sales of {len(named)} weeks, €{total:,.0f} in all")


def _bars(named: Sequence[tuple[float, str, str]], summary: str) -> Bars:
    top = _round_up(max((value for value, _, _ in named), default=0.0))
    step = 100 / max(1, len(named))
    bars = []
    for number, (value, title, tone) in enumerate(named):
        height = 100 * value / top
        x, width = step * (number + _GAP / 2), step * (1 - _GAP)
        left, upper, wide, high = (f"{side:.2f}" for side in (x, 100 - height, width, height))
        bars.append(Bar(left, upper, wide, high, title, tone))
    return Bars(bars, top, summary)


def _largest(named: Sequence[tuple[float, str, str]]) -> str:
    return max(named, key=lambda item: item[0])[1].partition(":")[0]


def _round_up(value: float) -> float:
    """Return the next number that is easily read."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(unit * step for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if unit * step >= value)
