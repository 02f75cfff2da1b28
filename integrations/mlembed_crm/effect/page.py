"""Draw what actions brought: one page that loads nothing, to look at and to print."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.errors import SettingsError
from mlembed.monitoring import page
from mlembed_crm.effect import wording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed_crm.effect import Effect

_HERE = Path(__file__).parent
_WHOLE, _MARGIN = 100.0, 12.0  # percent of the width, so that text keeps its size


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """A figure and its interval on an axis.

    Attributes:
        name: What it is of.
        text: The figure and the ends of its interval, as text.
        kind: Its class in the style.
        at: Its place, in percent.
        low: The place of its interval's lower end; None without one.
        high: The place of the upper end.
    """

    name: str
    text: str
    kind: str
    at: float
    low: float | None
    high: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Axis:
    """Marks that share an axis.

    Attributes:
        title: What is drawn.
        marks: From the top.
        zero: The place of no difference; None where that is no part of it.
    """

    title: str
    marks: tuple[Mark, ...]
    zero: float | None = None


def axes(effect: Effect) -> list[Axis]:
    """Lay out the outcomes of the groups, and their difference, as far as they are known."""
    groups = [
        (name, group.mean, group.low, group.high)
        for name, group in zip(wording.NAMES, (effect.treated, effect.control), strict=True)
        if group.mean is not None
    ]
    found = [_axis("Outcome", groups, effect)] if groups else []
    if effect.uplift is not None:
        uplift = [("uplift", effect.uplift, effect.low, effect.high)]
        found.append(_axis("Difference", uplift, effect, zero=True))
    return found


def _axis(
    title: str,
    figures: Sequence[tuple[str, float | None, float | None, float | None]],
    effect: Effect,
    *,
    zero: bool = False,
) -> Axis:
    known = [value for _, *values in figures for value in values if value is not None]
    known += [0.0] if zero else []
    start, end = min(known), max(known)
    if start == end:
        reach = max(0.5, abs(start) * 1e-6)
        start, end = start - reach, end + reach

    part = 1.0 if math.isfinite(end - start) else 0.5  # what they differ by may be beyond doubles

    def place(value: float) -> float:
        share = (value * part - start * part) / (end * part - start * part)
        return _MARGIN + (_WHOLE - 2 * _MARGIN) * share

    marks = []
    for name, value, low, high in figures:
        if value is None:
            continue
        text = wording.number(value, effect, sign=zero)
        if low is not None and high is not None:
            text += f" ({wording.interval(low, high, effect)})"
        ends = None if low is None else place(low), None if high is None else place(high)
        marks.append(Mark(name, text, "was" if name == "control" else "now", place(value), *ends))
    return Axis(title, tuple(marks), place(0.0) if zero else None)


def render(effects: Sequence[Effect], since: dt.datetime | None, now: dt.datetime) -> str:
    """Return the page of *effects*.

    Args:
        effects: One a rule.
        since: Earliest action that counts; None for all.
        now: When the page is made.
    """
    style = page.STYLE + (_HERE / "page.css").read_text("utf-8")
    template = page.environment(_HERE).get_template("page.html.jinja")
    return template.render(
        effects=effects,
        words=wording,
        axes=axes,
        since=since,
        now=now,
        style=style,
        policy=page.policy(style),
    )


def write(effects: Sequence[Effect], since: dt.datetime | None, path: Path) -> None:
    """Write the page of *effects* to *path*, whole or not at all.

    Raises:
        SettingsError: If it cannot be written.
    """
    try:
        page.save(render(effects, since, dt.datetime.now(dt.UTC)), path)
    except OSError as error:
        raise SettingsError(
            f"cannot write the page to {path}: {error.strerror}; name a writable file with --html"
        ) from error
