"""Plots keep the order, sums and bounds of what they show."""

from __future__ import annotations

import re

import pytest

from bundles import toy_bundle
from mlembed.monitoring import charts
from mlembed.monitoring.drift import Drift
from mlembed.monitoring.monitor import monitor
from mlembed.monitoring.performance import Performance
from mlembed.monitoring.policy import Policy
from monitoring.scenes import toy_log


def drift_of(labels: tuple[str, ...], was: list[float], now: list[float], missing: float) -> Drift:
    """Return a category's drift with these shares."""
    return Drift(
        name="c",
        kind="category",
        state="ok",
        note="",
        n=1.0,
        psi=None,
        noise=None,
        js=None,
        p=None,
        q=None,
        missing_p=None,
        missing_q=None,
        unseen=0.0,
        missing=missing,
        missing_reference=0.0,
        labels=labels,
        reference=tuple(was),
        observed=tuple(now),
    )


def test_pairs_merges_the_smallest_bins() -> None:
    """A column of many values shows the largest, and the others as one that keeps their sum."""
    shares = [0.5, *[0.5 / 29] * 29]

    drawn = charts.pairs(drift_of(tuple(f"v{i}" for i in range(30)), shares, shares[::-1], 0.25))

    assert len(drawn.bars) == 13
    assert {bar.label for bar in drawn.bars} >= {"v0", "v29", "19 smaller ones", "(missing)"}
    assert sum(bar.was for bar in drawn.bars) == pytest.approx(1.0)
    assert sum(bar.now for bar in drawn.bars) == pytest.approx(1.25)
    assert max(bar.now_width for bar in drawn.bars) == charts.BAR_WIDTH
    assert drawn.height == 13 * charts.ROW


def test_pairs_leaves_empty_categories_out_and_cuts_long_names() -> None:
    """A bin that both sides lack is not drawn; a long name is cut, and whole in its label."""
    drawn = charts.pairs(drift_of(("x" * 40, "(others)"), [1.0, 0.0], [1.0, 0.0], 0.0))

    assert [(bar.label, len(bar.short)) for bar in drawn.bars] == [("x" * 40, 18)]


@pytest.mark.parametrize(
    ("value", "low", "high", "promised"),
    [
        (0.8, 0.7, 0.9, 0.95),
        (0.8, None, None, None),
        (None, None, None, None),
        (0.5, 0.5, 0.5, 0.5),
    ],
)
def test_metric_range_keeps_order_and_bounds(
    value: float | None, low: float | None, high: float | None, promised: float | None
) -> None:
    """Whatever is known lies on the axis in the order of its values."""
    performance = Performance(
        metric="roc_auc",
        state="ok",
        promised=promised,
        value=value,
        low=low,
        high=high,
        n=1,
        unusable=0,
        delay_median_seconds=None,
        note="",
    )

    drawn = charts.metric_range(performance)
    places = [p for p in (drawn.low, drawn.value, drawn.high, drawn.promised) if p is not None]

    assert len(places) == sum(v is not None for v in (value, low, high, promised))
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)


def test_stacks_of_calls_fill_their_height() -> None:
    """Bars lie within the drawing, and the busiest fills it."""
    drawn = charts.stacks(monitor(toy_bundle(), toy_log(600), policy=Policy(resamples=50)).traffic)

    assert max(bar.good_height + bar.bad_height for bar in drawn) == pytest.approx(
        charts.TIME_HEIGHT
    )
    assert all(bar.x + bar.width <= 100 and bar.bad_y >= -1e-9 for bar in drawn)
    assert re.fullmatch(r"2026-09-\d\dT.*", drawn[0].start)
