"""Lay out the drawings of the admin: where each bar, line and text goes.

Only places and texts are made here; the templates draw and escape them. Places are texts already,
so that a site's number format cannot turn a point into a comma. Wide drawings are laid out in
percent, so that their text keeps its size on a phone.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from mlembed_django.admin.shapes import (
    Bar,
    Bars,
    Curve,
    Drawing,
    Point,
    Segment,
    Series,
    Stack,
    Tick,
)
from mlembed_django.admin.shown import percent, short

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlembed_django.admin.documents import Bin, Calls

ROW = 30
_LABEL_WIDTH, _BAR_WIDTH = 128, 156
_MOST_BARS, _MOST_LABEL = 14, 19
_HEIGHT, _TOP, _FOOT = 190, 14, 26
_LEFT, _RIGHT = 12.0, 98.0
_GAP = 0.2
_TICKS = 4
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def bars(bins: Sequence[Bin]) -> Bars:
    """Lay out *bins*; beyond fourteen, those of the smallest shares become one."""
    kept = _merged(bins)
    most = max((max(each.was, each.now) for each in kept), default=0.0) or 1.0
    laid = tuple(
        Bar(
            label=each.label,
            short=short(each.label, _MOST_LABEL),
            y=str(i * ROW + 4),
            text_y=str(i * ROW + 19),
            now_y=str(i * ROW + 14),
            was_width=_px(_BAR_WIDTH * max(0.0, each.was) / most),
            now_width=_px(_BAR_WIDTH * max(0.0, each.now) / most),
            was=percent(each.was),
            now=percent(each.now),
        )
        for i, each in enumerate(kept)
    )
    told = "; ".join(f"{each.label}: {each.was} before, {each.now} now" for each in laid)
    return Bars(laid, len(laid) * ROW + 2, told)


def columns(
    buckets: Sequence[Calls], when: Callable[[str], str], count: Callable[[float], str]
) -> Drawing:
    """Lay out the calls of *buckets*, the failed ones on top.

    Args:
        buckets: Calls over time, without gaps.
        when: Writes the beginning of a bucket.
        count: Writes a number of calls.
    """
    most = max((each.answered + each.failed for each in buckets), default=0.0)
    ticks = _ticks(0.0, most or 1.0)
    top = ticks[-1]
    step = (_RIGHT - _LEFT) / max(1, len(buckets))
    floor = _HEIGHT - _FOOT
    stacks = []
    for i, each in enumerate(buckets):
        good, bad = ((floor - _TOP) * value / top for value in (each.answered, each.failed))
        title = f"{when(each.start)}: {count(each.answered)} answered, {count(each.failed)} failed"
        stacks.append(
            Stack(
                *(_pc(_LEFT + i * step), _pc(step * (1 - _GAP))),
                *(_px(floor - good), _px(good), _px(floor - good - bad), _px(bad), title),
            )
        )
    failed = count(sum(each.failed for each in buckets))
    said = f"{len(buckets)} bars; the busiest holds {count(most)} calls; {failed} failed in all."
    ends = (
        [] if not buckets else [(_LEFT, when(buckets[0].start)), (_RIGHT, when(buckets[-1].start))]
    )
    return Drawing(
        height=_HEIGHT,
        floor=_px(floor),
        ticks=tuple(Tick(_px(_place(value, 0.0, top)), count(value)) for value in ticks),
        times=tuple(_ends(ends)),
        said=said,
        stacks=tuple(stacks),
    )


def curves(
    series: Sequence[Series],
    when: Callable[[float], str],
    word: Callable[[float], str],
    *,
    least: float | None = None,
) -> Drawing:
    """Lay out *series* over time on one axis.

    Args:
        series: What is drawn, the last above the others.
        when: Writes a moment.
        word: Writes a value.
        least: Where the axis begins; below the least value by default.
    """
    moments = [point[0] for each in series for point in each.points]
    values = [v for each in series for point in each.points for v in point[1:] if v is not None]
    first, last = (min(moments), max(moments)) if moments else (0.0, 1.0)
    bottom, top = _range(values, least)
    ticks = _ticks(bottom, top)
    bottom, top = min(bottom, ticks[0]), max(top, ticks[-1])

    def x(moment: float) -> str:
        share = 0.5 if last <= first else (moment - first) / (last - first)
        return _pc(_LEFT + 1 + (_RIGHT - _LEFT - 2) * share)

    def y(value: float | None) -> str:
        return "" if value is None else _px(_place(value, bottom, top))

    laid = []
    for each in series:
        points = [
            (x(m), y(v), y(low), y(high), f"{when(m)}: {'-' if v is None else word(v)}")
            for m, v, low, high in each.points
        ]
        pairs = itertools.pairwise(points)
        segments = [Segment(a[0], a[1], b[0], b[1]) for a, b in pairs if a[1] and b[1]]
        dots = each.dots or not segments
        shown = tuple(Point(*point) for point in points if point[1]) if dots else ()
        laid.append(Curve(each.look, shown, tuple(segments)))
    span = [(_LEFT, when(first)), (_RIGHT, when(last))] if last > first else [(_LEFT, when(first))]
    low_word, high_word = (word(min(values)), word(max(values))) if values else ("-", "-")
    return Drawing(
        height=_HEIGHT,
        floor=_px(_HEIGHT - _FOOT),
        ticks=tuple(Tick(_px(_place(value, bottom, top)), word(value)) for value in ticks),
        times=tuple(_ends(span)),
        said=f"From {when(first)} to {when(last)}; between {low_word} and {high_word}.",
        curves=tuple(laid),
    )


def _merged(bins: Sequence[Bin]) -> list[Bin]:
    """Keep the bins with the largest shares, in their order, and add the others up."""
    if len(bins) <= _MOST_BARS:
        return list(bins)
    places = sorted(range(len(bins)), key=lambda i: -max(bins[i].was, bins[i].now))
    kept = sorted(places[: _MOST_BARS - 1])
    rest = [bins[i] for i in places[_MOST_BARS - 1 :]]
    was, now = sum(each.was for each in rest), sum(each.now for each in rest)
    one = type(bins[0])(f"{len(rest)} smaller ones", was, now)
    return [*(bins[i] for i in kept), one]


def _range(values: Sequence[float], least: float | None) -> tuple[float, float]:
    bottom, top = (min(values), max(values)) if values else (0.0, 1.0)
    if least is not None:
        bottom = min(least, bottom)
    if top - bottom <= 1e-9 * max(abs(top), abs(bottom)):
        room = abs(top) * 0.05 or 0.5
        return bottom - room, top + room
    room = 0.05 * (top - bottom)
    return (bottom if bottom == least else bottom - room), top + room


def _ticks(bottom: float, top: float) -> list[float]:
    """Return round values from one at or below *top*'s reach; at least two."""
    raw = (top - bottom) / _TICKS
    if not math.isfinite(raw) or raw <= 0:
        return [bottom, top]
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * each for each in _STEPS if size * each >= raw * (1 - 1e-9))
    first = math.floor(bottom / step + 1e-9) if bottom == 0 else math.ceil(bottom / step - 1e-9)
    found = [first * step]
    while found[-1] + step <= top * (1 + 1e-9) + step * 1e-9 and len(found) <= _TICKS + 2:
        found.append((first + len(found)) * step)
    if bottom == 0 and found[-1] < top:
        found.append((first + len(found)) * step)
    return found if len(found) > 1 else [bottom, top]


def _place(value: float, bottom: float, top: float) -> float:
    share = (value - bottom) / (top - bottom) if top > bottom else 0.5
    return _HEIGHT - _FOOT - (_HEIGHT - _FOOT - _TOP) * min(1.0, max(0.0, share))


def _ends(span: Sequence[tuple[float, str]]) -> list[Tick]:
    anchors = ("start", "end")
    return [Tick(_pc(at), text, anchors[i]) for i, (at, text) in enumerate(span)]


def _px(value: float) -> str:
    return f"{value:.1f}"


def _pc(value: float) -> str:
    return f"{value:.2f}%"
