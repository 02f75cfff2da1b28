"""Lay out the report's plots: where each bar and dot goes.

Only numbers and labels are made here; the page draws and escapes them. Heights are in pixels;
widths are too in the small charts, and percent of the page in the wide ones.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlembed.monitoring.drift import Drift
    from mlembed.monitoring.performance import Performance
    from mlembed.monitoring.traffic import Traffic

ROW = 20.0
LABEL_WIDTH = 116.0
BAR_WIDTH = 160.0
PAIR_WIDTH = 336.0
TIME_HEIGHT = 120.0

_WHOLE = 100.0  # wide charts are laid out in percent, so that their text keeps its size
_GAP = 0.25
_MARGIN = 10.0
_MAX_BARS = 12
_MAX_LABEL = 18


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """One bin: its share in the reference and in the window.

    Attributes:
        label: Its whole name.
        short: Its name, cut to fit.
        y: Top of its row.
        was: Share in the reference.
        now: Share in the window.
        was_width: Length of the reference's bar.
        now_width: Length of the window's bar.
    """

    label: str
    short: str
    y: float
    was: float
    now: float
    was_width: float
    now_width: float


@dataclasses.dataclass(frozen=True, slots=True)
class Pairs:
    """A chart of pairs of bars, one below the other."""

    bars: tuple[Pair, ...]
    height: float


@dataclasses.dataclass(frozen=True, slots=True)
class Stack:
    """The calls of one stretch of time, failed ones on top."""

    start: str
    answered: int
    failed: int
    x: float
    width: float
    good_y: float
    good_height: float
    bad_y: float
    bad_height: float


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """Places on the axis of a metric; None for what is not known."""

    value: float | None
    low: float | None
    high: float | None
    promised: float | None


def pairs(drift: Drift) -> Pairs:
    """Lay out the bins of *drift*, and its missing values as a share of all rows.

    Beyond twelve bins, those of the smallest shares become one.
    """
    bins = list(zip(drift.labels, drift.reference, drift.observed, strict=True))
    if drift.kind == "category":
        bins = [item for item in bins if item[1] or item[2]]
    if len(bins) > _MAX_BARS:
        bins = _merged(bins)
    if drift.missing or drift.missing_reference:
        bins.append(("(missing)", drift.missing_reference, drift.missing))
    most = max((max(was, now) for _, was, now in bins), default=0.0) or 1.0
    return Pairs(
        tuple(
            Pair(
                label,
                _cut(label),
                i * ROW,
                was,
                now,
                BAR_WIDTH * was / most,
                BAR_WIDTH * now / most,
            )
            for i, (label, was, now) in enumerate(bins)
        ),
        len(bins) * ROW,
    )


def stacks(traffic: Traffic) -> tuple[Stack, ...]:
    """Lay out the calls over time."""
    most = max((b.answered + b.failed for b in traffic.buckets), default=0) or 1
    step = _WHOLE / max(1, len(traffic.buckets))
    made = []
    for i, bucket in enumerate(traffic.buckets):
        good = TIME_HEIGHT * bucket.answered / most
        bad = TIME_HEIGHT * bucket.failed / most
        top = TIME_HEIGHT - good
        made.append(
            Stack(
                *(bucket.start, bucket.answered, bucket.failed, i * step, step * (1 - _GAP)),
                *(top, good, top - bad, bad),
            )
        )
    return tuple(made)


def most_calls(traffic: Traffic) -> int:
    """Return the calls of the busiest stretch of time."""
    return max((bucket.answered + bucket.failed for bucket in traffic.buckets), default=0)


def metric_range(performance: Performance) -> Range:
    """Lay out the realised metric, its interval and the promise on one axis."""
    known = [
        place
        for place in (performance.value, performance.low, performance.high, performance.promised)
        if place is not None
    ]
    start, end = (min(known), max(known)) if known else (0.0, 1.0)
    if start == end:
        start, end = start - 0.5, end + 0.5

    def place(value: float | None) -> float | None:
        if value is None:
            return None
        return _MARGIN + (_WHOLE - 2 * _MARGIN) * (value - start) / (end - start)

    return Range(
        value=place(performance.value),
        low=place(performance.low),
        high=place(performance.high),
        promised=place(performance.promised),
    )


def _merged(bins: list[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Keep the bins with the largest shares and add the others up."""
    order = sorted(bins, key=lambda item: -max(item[1], item[2]))
    kept, rest = order[: _MAX_BARS - 1], order[_MAX_BARS - 1 :]
    was, now = sum(item[1] for item in rest), sum(item[2] for item in rest)
    return [*kept, (f"{len(rest)} smaller ones", was, now)]


def _cut(label: str) -> str:
    return label if len(label) <= _MAX_LABEL else label[: _MAX_LABEL - 1] + "…"
