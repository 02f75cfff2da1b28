"""What the drawings of the admin are made of: places as texts, for a template to write."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Bar:
    """One bin: its bar before and now, one below the other."""

    label: str
    short: str
    y: str
    text_y: str
    now_y: str
    was_width: str
    now_width: str
    was: str
    now: str


@dataclasses.dataclass(frozen=True, slots=True)
class Bars:
    """Pairs of bars; `said` tells of them to who does not see them."""

    bars: tuple[Bar, ...]
    height: int
    said: str


@dataclasses.dataclass(frozen=True, slots=True)
class Tick:
    """A line across, or a time below, and what it says."""

    place: str
    text: str
    anchor: str = "start"


@dataclasses.dataclass(frozen=True, slots=True)
class Stack:
    """The calls of one stretch of time."""

    x: str
    width: str
    good_y: str
    good_height: str
    bad_y: str
    bad_height: str
    title: str


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """A value at a time; `low` and `high` are the ends of its interval, empty where it has none."""

    x: str
    y: str
    low: str
    high: str
    title: str


@dataclasses.dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a line."""

    x1: str
    y1: str
    x2: str
    y2: str


@dataclasses.dataclass(frozen=True, slots=True)
class Curve:
    """One series: its points, and the line through them."""

    look: str
    points: tuple[Point, ...]
    segments: tuple[Segment, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Drawing:
    """A wide drawing over time."""

    height: int
    floor: str
    ticks: tuple[Tick, ...]
    times: tuple[Tick, ...]
    said: str
    stacks: tuple[Stack, ...] = ()
    curves: tuple[Curve, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """What a curve shows: moments in Unix seconds, and values; None interrupts the line.

    Attributes:
        look: Class of its line and points.
        points: Moment, value, and the ends of its interval.
        dots: Whether each point is drawn.
    """

    look: str
    points: Sequence[tuple[float, float | None, float | None, float | None]]
    dots: bool = True
