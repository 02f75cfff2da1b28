"""Lay out plots with two axes: where each line, dot and bar goes.

Only places and labels are made here; the page draws and escapes them. A plot is small enough that
its text keeps its size on a telephone, and carries its numbers as a table for those who cannot
see it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from mlembed.training.report import numbers
from mlembed.training.report.scale import Scale, Tick, around

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Kind = Literal["now", "was", "bad"]

WIDTH, HEIGHT = 360.0, 236.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 14.0, 10.0, 40.0
_ROWS = 11
_GAP = 0.12
_EDGE = 20.0


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """A line through points, as SVG writes them; `area` closes it down to the axis."""

    points: str
    kind: str
    area: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Dot:
    """A point; `low` and `high` are the places of its interval's ends, or None."""

    x: float
    y: float
    kind: str
    text: str
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Bar:
    """A bar with its corner at the upper left."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """A dashed line across the plot, at a value of one axis, and its name."""

    x1: float
    x2: float
    y1: float
    y2: float
    text: str
    anchor: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The numbers behind a plot."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(slots=True, kw_only=True)
class Plot:
    """One plot.

    Attributes:
        title: What it shows.
        note: What is to be seen in it, in a sentence or two.
        x: Scale of the axis below.
        y: Scale of the axis at the left.
        x_name: Name of the axis below.
        y_name: Name of the axis at the left.
        table: The numbers behind it.
        legend: Kind and meaning of each colour, where there is more than one.
    """

    title: str
    note: str
    x: Scale
    y: Scale
    x_name: str
    y_name: str
    table: Table
    legend: tuple[tuple[str, str], ...] = ()
    width: float = WIDTH
    height: float = HEIGHT
    lines: list[Line] = dataclasses.field(default_factory=list)
    dots: list[Dot] = dataclasses.field(default_factory=list)
    bars: list[Bar] = dataclasses.field(default_factory=list)
    rules: list[Rule] = dataclasses.field(default_factory=list)
    x_marks: tuple[Tick, ...] | None = None

    @property
    def x_ticks(self) -> tuple[Tick, ...]:
        """Ticks of the axis below."""
        return self.x.ticks() if self.x_marks is None else self.x_marks

    @property
    def y_ticks(self) -> tuple[Tick, ...]:
        """Ticks of the axis at the left."""
        return self.y.ticks(4)

    def anchor(self, place: float) -> str:
        """Return how the number at *place* of the axis below stays within the plot."""
        return "end" if place > self.x.end - _EDGE and self.x_marks else "middle"

    def line(
        self, x: Sequence[float], y: Sequence[float], kind: Kind = "now", *, area: bool = False
    ) -> None:
        """Draw a line through `(x, y)`, filled down to the axis where it is an *area*."""
        points = [(self.x.at(a), self.y.at(b)) for a, b in zip(x, y, strict=True)]
        text = " ".join(f"{a:g},{b:g}" for a, b in points)
        floor = self.y.start
        closed = f"{points[0][0]:g},{floor:g} {text} {points[-1][0]:g},{floor:g}" if area else ""
        self.lines.append(Line(text, kind, closed))

    def dot(
        self,
        x: float,
        y: float,
        text: str,
        *,
        low: float | None = None,
        high: float | None = None,
        kind: Kind = "now",
    ) -> None:
        """Draw a point with its interval in y."""
        ends = [None if end is None else self.y.at(end) for end in (low, high)]
        self.dots.append(Dot(self.x.at(x), self.y.at(y), kind, text, *ends))

    def bar(
        self,
        low: float,
        high: float,
        value: float,
        text: str,
        kind: Kind = "now",
        *,
        base: float = 0.0,
    ) -> None:
        """Draw a bar from *low* to *high* on the axis below, from *base* to *value*."""
        left, right = self.x.at(low), self.x.at(high)
        top, bottom = sorted((self.y.at(base), self.y.at(value)))
        gap = min(1.0, _GAP * (right - left))
        self.bars.append(
            Bar(
                *(round(left + gap / 2, 2), top),
                *(round(max(right - left - gap, 0.3), 2), round(bottom - top, 2)),
                kind,
                text,
            )
        )

    def upright(self, value: float, text: str) -> None:
        """Draw a dashed line at *value* of the axis below."""
        x = self.x.at(value)
        middle = (self.x.start + self.x.end) / 2
        self.rules.append(
            Rule(x, x, self.y.start, self.y.end, text, "start" if x < middle else "end")
        )

    def level(self, value: float, text: str) -> None:
        """Draw a dashed line at *value* of the axis at the left."""
        y = self.y.at(value)
        self.rules.append(Rule(self.x.start, self.x.end, y, y, text, "end"))


def x_scale(low: float, high: float, width: float = WIDTH) -> Scale:
    """Return the scale of the axis below a plot."""
    return Scale(low, high, LEFT, width - RIGHT)


def y_scale(low: float, high: float, height: float = HEIGHT) -> Scale:
    """Return the scale of the axis at the left of a plot."""
    return Scale(low, high, height - BOTTOM, TOP)


def scales(
    x: Iterable[float], y: Iterable[float], *, zero: bool = False, room: float = 0.04
) -> tuple[Scale, Scale]:
    """Return scales that hold the points; *zero* of y among them where asked."""
    return x_scale(*around([*x])), y_scale(*around([*y], zero=zero, room=room))


def sampled(head: tuple[str, ...], *columns: Sequence[float]) -> Table:
    """Return a table of at most eleven of the points."""
    rows = (tuple(numbers.number(column[i]) for column in columns) for i in picked(len(columns[0])))
    return Table(head=head, rows=tuple(rows))


def picked(n: int) -> list[int]:
    """Return at most eleven of *n* places, evenly picked, the ends among them."""
    return [*range(n)] if n <= _ROWS else [round(i * (n - 1) / (_ROWS - 1)) for i in range(_ROWS)]
