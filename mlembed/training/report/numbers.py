"""Write numbers, shares and times as people read them.

Four significant digits are enough to compare two models; the exact values stay in the bundle's
JSON.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any

NONE = "-"
_DIGITS = 4
_TINY = 1e-4
_HUGE = 1e15
_LEAST_SHARE = 0.0005
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=_)(?!_)")


def number(value: float | None, digits: int = _DIGITS) -> str:
    """Write *value* with *digits* significant digits and thousands separators, or a dash."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    size = abs(value)
    if size < _TINY or size >= _HUGE:
        return f"{value:.{digits}g}"
    places = max(0, digits - 1 - math.floor(math.log10(size)))
    text = f"{value:,.{places}f}"
    if size < 1 <= abs(float(text.replace(",", ""))):
        return f"{'>' if value > 0 else '<-'}0.{'9' * digits}"  # a metric near 1 is not 1
    return text.rstrip("0").rstrip(".") if "." in text else text


def signed(value: float | None, digits: int = _DIGITS) -> str:
    """Write *value* with its sign."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 else text


def count(value: float | None) -> str:
    """Write a whole number."""
    return NONE if value is None else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """Write a share of 1 per cent, one digit behind the point."""
    if share is None or math.isnan(share):
        return NONE
    return "<0.1%" if 0 < share < _LEAST_SHARE else f"{share:.1%}"


def interval(low: float | None, high: float | None) -> str:
    """Write the ends of an interval; nothing where one is not known."""
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"


def error(value: float | None) -> str:
    """Write the size of a numerical error with two digits."""
    return NONE if value is None else f"{value:.1e}" if value else "0"


def cell(value: Any) -> str:
    """Write what stands in a table, whatever it is; a whole number without thousands, as a seed."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {cell(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(cell, value))
    return number(value) if value is None or isinstance(value, float) else str(value)


def moment(iso: str | None) -> str:
    """Write a time as its date in UTC, with the time of day where it is not midnight."""
    if not iso:
        return NONE
    try:
        time = dt.datetime.fromisoformat(iso)
    except ValueError:
        return iso
    time = time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
    return _moment(time)


def second(epoch: float) -> str:
    """Write seconds since 1970 as `moment` does, or as a number where no calendar reaches."""
    try:
        return _moment(dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=epoch))
    except (OverflowError, ValueError):
        return number(epoch)


def day(epoch: float) -> str:
    """Write the date of seconds since 1970, or a number where no calendar reaches."""
    return second(epoch).split(" ")[0]


def seconds(iso: str) -> float:
    """Return the seconds since 1970 of a time in UTC.

    Raises:
        ValueError: If *iso* is no ISO 8601 time.
    """
    time = dt.datetime.fromisoformat(iso)
    return (time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time).timestamp()


def _moment(time: dt.datetime) -> str:
    if (time.hour, time.minute, time.second) == (0, 0, 0):
        return f"{time:%Y-%m-%d}"
    return f"{time:%Y-%m-%d %H:%M} UTC"


def capital(text: str) -> str:
    """Begin *text* with a capital, as a sentence begins."""
    return text[:1].upper() + text[1:]


def parts(text: str) -> list[str]:
    """Split a name such as `LogisticRegression` or `hours_per_week` where a line may break."""
    return _WORD.split(text)
