"""Map values to places in a plot, and choose round numbers for its axes."""

from __future__ import annotations

import dataclasses
import math

from mlembed.training.report import numbers

_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
_SLACK = 1e-9
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_PLACES = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis and what is written there."""

    at: float
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Scale:
    """A line from the values `low` to `high` to the places `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the place of *value*, one outside moved to the end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self, n: int = 5) -> tuple[Tick, ...]:
        """Return about *n* round numbers within the scale."""
        step = _step(self.high - self.low, n)
        first = math.ceil(self.low / step - _SLACK)
        last = math.floor(self.high / step + _SLACK)
        return tuple(
            Tick(self.at(i * step), written(i * step, step)) for i in range(first, last + 1)
        )


def around(values: list[float], *, zero: bool = False, room: float = 0.0) -> tuple[float, float]:
    """Return ends that hold *values*, finite and apart.

    Args:
        values: What is to be seen; infinities are left out.
        zero: Whether 0 is to be seen too.
        room: Share of the range to leave free at both ends.
    """
    known = [value for value in values if math.isfinite(value)] + [0.0] * zero
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if high - low <= _SLACK * max(abs(low), abs(high)):
        low, high = low - (abs(low) / 10 or 0.5), high + (abs(high) / 10 or 0.5)
    free = room * (high - low)
    return low - (0 if zero and low == 0 else free), high + (0 if zero and high == 0 else free)


def written(value: float, step: float) -> str:
    """Write *value*, one of an axis whose numbers are *step* apart."""
    if value == 0:
        return "0"
    size, unit = next(((s, u) for s, u in _UNITS if step >= s), (1.0, ""))
    places = max(0, -math.floor(math.log10(step / size) + _SLACK))
    if abs(round(step / size, places) - step / size) > _SLACK * step / size:
        places += 1
    if places > _PLACES:
        return numbers.number(value, 3)
    return f"{value / size:,.{places}f}{unit}"


def _step(span: float, n: int) -> float:
    raw = span / max(1, n)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * part for part in _ROUND if power * part >= raw * (1 - _SLACK))
