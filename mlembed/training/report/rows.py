"""Lay out charts of one row a thing: a name, dots and an interval on a common axis, numbers.

Such a chart is a table whose one column is drawn. Names stay text that wraps, and places are
percent of the column, so that it fits any page.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from mlembed.training.report import numbers
from mlembed.training.report.scale import Scale, Tick, around

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_START, _END = 4.0, 96.0
_TICKS = 4
_EDGE = 6.0
_CHARACTERS = 15


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing to be drawn.

    Attributes:
        name: Its name.
        value: Its value, or None where only dots or a span are known.
        low: Lower end of its interval, or None.
        high: Upper end, or None.
        dots: Single values behind it.
        cells: What stands in the columns at the right.
        kind: `now`, or `was` for what it is compared with.
        bar: Whether a bar reaches from 0 to the value.
    """

    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    dots: tuple[float, ...] = ()
    cells: tuple[str, ...] = ()
    kind: str = "now"
    bar: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An entry and its places."""

    entry: Entry
    text: str
    value: float | None
    low: float | None
    high: float | None
    dots: tuple[float, ...]
    zero: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A chart of rows.

    Attributes:
        head: Heads of the columns: of the names, of the drawing, and of each cell.
        rows: The rows.
        ticks: Ticks of the axis, in percent.
        line: Place of the line that all are compared with, or None.
        line_text: What the line is.
    """

    head: tuple[str, ...]
    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    line: float | None = None
    line_text: str = ""


def lay_out(
    head: tuple[str, ...],
    entries: Sequence[Entry],
    *,
    line: float | None = None,
    line_text: str = "",
) -> Rows:
    """Return the chart of *entries*, a dashed *line* among them where one is given."""
    bars = any(entry.bar for entry in entries)
    values = [*_values(entries), *([] if line is None else [line])]
    scale = Scale(*around(values, zero=bars, room=0.02), _START, _END)
    return Rows(
        head=head,
        rows=tuple(_row(entry, scale) for entry in entries),
        ticks=_ticks(scale),
        line=None if line is None else scale.at(line),
        line_text=line_text,
    )


def anchor(place: float) -> str:
    """Return how text at *place* percent stays within its column."""
    return "start" if place < _EDGE else "end" if place > 100 - _EDGE else "middle"


def _ticks(scale: Scale) -> tuple[Tick, ...]:
    """Return as many ticks as have room on a telephone."""
    found = (scale.ticks(n) for n in range(_TICKS, 1, -1))
    fitting = (ticks for ticks in found if sum(len(tick.text) for tick in ticks) <= _CHARACTERS)
    return next(fitting, scale.ticks(1))


def _values(entries: Iterable[Entry]) -> list[float]:
    return [
        value
        for entry in entries
        for value in (entry.value, entry.low, entry.high, *entry.dots)
        if value is not None
    ]


def _row(entry: Entry, scale: Scale) -> Row:
    def place(value: float | None) -> float | None:
        return None if value is None else scale.at(value)

    return Row(
        entry=entry,
        text=_text(entry),
        value=place(entry.value),
        low=place(entry.low),
        high=place(entry.high),
        dots=tuple(scale.at(dot) for dot in entry.dots),
        zero=scale.at(0.0) if entry.bar else None,
    )


def _text(entry: Entry) -> str:
    parts = [] if entry.value is None else [numbers.number(entry.value)]
    if entry.low is not None and entry.high is not None:
        parts.append(f"interval {numbers.interval(entry.low, entry.high)}")
    if entry.dots:
        parts.append(f"single values {', '.join(map(numbers.number, entry.dots))}")
    return ", ".join(parts)
