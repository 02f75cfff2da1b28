"""Show each column: what the data holds, and how the score depends on it."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mlembed.training.report import numbers
from mlembed.training.report.plots import Plot, Table, picked, scales
from mlembed.training.report.rows import Entry, Rows, lay_out
from mlembed.training.report.scale import Tick

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SPARK_WIDTH, SPARK_HEIGHT = 100.0, 22.0
_SMALL = 176.0
_STRIP = 0.16
_MAX_TOP = 3
_DATES = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One line of the data summary.

    Attributes:
        name: Name of the column.
        kind: Its kind.
        missing: Share of missing values.
        distinct: Number of distinct values.
        least: Smallest value.
        middle: Median.
        most: Largest value.
        top: Most frequent values with the share of each, in words.
        bars: Place, top, width and height of each bar of its histogram.
    """

    name: str
    kind: str
    missing: str
    distinct: str
    least: str
    middle: str
    most: str
    top: str
    bars: tuple[tuple[float, float, float, float], ...]


def summaries(evaluation: Mapping[str, Any]) -> list[Summary]:
    """Return the data summary, a line a column."""
    data = evaluation.get("data", {})
    rows = data.get("n", data.get("n_read", 0) - data.get("n_rejected", 0))
    return [_summary(column, rows) for column in data.get("columns", ())]


def dependence_charts(evaluation: Mapping[str, Any]) -> list[tuple[str, Plot | Rows]]:
    """Chart the mean score by the values of each column, as its name and a plot or rows."""
    return [
        (item["column"], _dependence(item))
        for item in evaluation.get("dependence", ())
        if item["y"]
    ]


def _summary(column: Mapping[str, Any], rows: float) -> Summary:
    write = numbers.day if column.get("kind") == "timestamp" else numbers.number
    quantiles = column.get("quantiles") or ()
    middle = quantiles[len(quantiles) // 2] if quantiles else None

    def cell(value: float | str | None) -> str:
        return write(value) if isinstance(value, int | float) else numbers.moment(value)

    top = column.get("top") or ()
    return Summary(
        name=column["column"],
        kind=column.get("kind", ""),
        missing=numbers.percent(column.get("missing_share")),
        distinct=numbers.count(column.get("n_distinct")),
        least=cell(column.get("minimum")),
        middle=cell(middle),
        most=cell(column.get("maximum")),
        top=", ".join(
            f"{value} ({numbers.percent(n / rows)})" if rows else str(value)
            for value, n in top[:_MAX_TOP]
        ),
        bars=_bars(column.get("histogram") or {}, [n for _, n in top]),
    )


def _bars(
    histogram: Mapping[str, Any], counts: Sequence[float]
) -> tuple[tuple[float, float, float, float], ...]:
    counts = histogram.get("counts") or counts
    most = max(counts, default=0)
    if not most:
        return ()
    step = SPARK_WIDTH / len(counts)
    heights = [round(SPARK_HEIGHT * n / most, 1) for n in counts]
    return tuple(
        (round(i * step, 1), round(SPARK_HEIGHT - height, 1), round(step * 0.85, 1), height)
        for i, height in enumerate(heights)
        if height
    )


def _dependence(item: Mapping[str, Any]) -> Plot | Rows:
    share = item.get("share") or [None] * len(item["y"])
    if item.get("labels"):
        return _categories(item["labels"], item["y"], share)
    if item.get("kind") == "boolean":
        labels = ["yes" if value else "no" for value in item["x"]]
        return _categories(labels, item["y"], share)
    return _numeric(item, share)


def _categories(labels: Sequence[str], y: Sequence[float], share: Sequence[float | None]) -> Rows:
    entries = [
        Entry(
            name=str(label),
            value=value,
            cells=(numbers.number(value), numbers.percent(part)),
            bar=True,
        )
        for label, value, part in zip(labels, y, share, strict=True)
    ]
    return lay_out(("value", "mean score", "score", "rows"), entries)


def _numeric(item: Mapping[str, Any], share: Sequence[float | None]) -> Plot:
    x, y = item["x"], item["y"]
    missing = item.get("missing")
    x_axis, y_axis = scales(x, [*y, *([missing["y"]] if missing else [])], room=0.1)
    span = y_axis.high - y_axis.low
    y_axis = dataclasses.replace(
        y_axis, low=y_axis.low - _STRIP * span, start=_SMALL - 40.0
    )  # room for the strip of shares
    dates = item.get("kind") == "timestamp"
    write = numbers.day if dates else numbers.number
    plot = Plot(
        title=item["column"],
        note="",
        x=x_axis,
        y=y_axis,
        x_name="",
        y_name="mean score",
        height=_SMALL,
        table=Table(
            head=("value", "mean score", "share of rows"),
            rows=tuple(
                (write(x[i]), numbers.number(y[i]), numbers.percent(share[i]))
                for i in picked(len(x))
            ),
        ),
        x_marks=_date_ticks(x_axis.low, x_axis.high, x_axis.start, x_axis.end) if dates else None,
    )
    if missing:
        plot.level(missing["y"], f"missing ({numbers.percent(missing.get('share'))})")
    _strip(plot, x, share)
    plot.line(x, y)
    if len(x) == 1:
        plot.dot(x[0], y[0], numbers.number(y[0]))
    return plot


def _strip(plot: Plot, x: Sequence[float], share: Sequence[float | None]) -> None:
    """Draw the share of rows near each value as bars on the axis below."""
    known = [part or 0.0 for part in share]
    if not any(known):
        return
    middles = [(a + b) / 2 for a, b in pairwise(x)]
    edges = [x[0], *middles, x[-1]]
    tall = _STRIP * (plot.y.high - plot.y.low) / max(known)
    floor = plot.y.low
    for (low, high), part in zip(pairwise(edges), known, strict=True):
        if part:
            plot.bar(low, high, floor + part * tall, numbers.percent(part), "was", base=floor)


def _date_ticks(low: float, high: float, start: float, end: float) -> tuple[Tick, ...]:
    steps = [i / (_DATES - 1) for i in range(_DATES)]
    return tuple(
        Tick(start + step * (end - start), numbers.day(low + step * (high - low))) for step in steps
    )
