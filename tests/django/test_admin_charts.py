"""Drawings are laid out within their frame, whatever the numbers are."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed_django.admin import charts
from mlembed_django.admin.documents import Bin, Calls, found
from mlembed_django.admin.shapes import Series
from mlembed_django.admin.shown import finite, latency, number, percent, span

_numbers = st.floats(allow_nan=False, allow_infinity=False)
_maybe = st.none() | _numbers
_shares = st.floats(0, 1)


def places(laid: Any) -> list[float]:
    """Return every vertical place of a drawing."""
    texts = [tick.place for tick in laid.ticks]
    texts += [
        part for curve in laid.curves for each in curve.segments for part in (each.y1, each.y2)
    ]
    texts += [each.y for curve in laid.curves for each in curve.points]
    texts += [part for each in laid.stacks for part in (each.good_y, each.bad_y)]
    return [float(text) for text in texts]


@given(points=st.lists(st.tuples(st.floats(0, 4e9), _maybe, _maybe, _maybe), max_size=30))
def test_curves_stay_within_their_drawing(points: list[Any]) -> None:
    """No value, however large, leaves the drawing, and nothing that is no number is written."""
    laid = charts.curves([Series("now", points)], str, number)

    assert all(0 <= place <= laid.height for place in places(laid))
    assert "nan" not in repr(laid)
    assert "inf" not in re.sub("interval", "", repr(laid))


@given(calls=st.lists(st.tuples(st.floats(0, 1e300), st.floats(0, 1e300)), max_size=50))
def test_columns_stay_within_their_drawing(calls: list[tuple[float, float]]) -> None:
    """Bars stand on the floor, end below the top, and lie between the ends of the axis."""
    laid = charts.columns([Calls("t", *each) for each in calls], str, number)

    for stack in laid.stacks:
        top = float(stack.bad_y)
        assert top >= 0
        assert float(stack.good_y) + float(stack.good_height) == pytest.approx(
            float(laid.floor), abs=0.2
        )
        assert 12 <= float(stack.x[:-1]) <= 98


@given(bins=st.lists(st.tuples(st.text(max_size=40), _shares, _shares), max_size=40))
def test_bars_keep_every_share(bins: list[tuple[str, float, float]]) -> None:
    """However many bins there are, at most fourteen are drawn, and what is merged is not lost."""
    given_bins = [Bin(*each) for each in bins]

    laid = charts.bars(given_bins)
    merged = charts._merged(given_bins)

    assert len(laid.bars) == min(len(bins), 14)
    assert sum(each.now for each in merged) == pytest.approx(sum(each[2] for each in bins))
    assert all(0 <= float(bar.now_width) <= 156 for bar in laid.bars)


@given(low=_numbers, high=_numbers)
def test_ticks_are_few_and_rise(low: float, high: float) -> None:
    """An axis has two to nine lines, each above the one before."""
    ticks = charts._ticks(*charts._range([low, high], None))

    assert 2 <= len(ticks) <= 9
    assert ticks == sorted(ticks)


def test_ticks_are_round() -> None:
    """The lines of an axis are at values that people count in."""
    assert charts._ticks(0.0, 640.0) == [0, 200, 400, 600, 800]
    assert [round(each, 6) for each in charts._ticks(0.72, 0.88)] == [0.75, 0.8, 0.85]


_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    document=st.dictionaries(
        st.sampled_from(["drifts", "traffic", "alerts", "summary", "x"]), _plain, max_size=5
    )
    | _plain
)
def test_any_document_is_read(document: Any) -> None:
    """Whatever JSON stands where a report should, it is read as far as it goes."""
    told = found(document)

    for column in told.columns:
        charts.bars(column.bins)
    charts.columns(told.buckets, str, number)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4.2e-5, "42 µs"),
        (9.9e-4, "990 µs"),
        (0.0123, "12.3 ms"),
        (2.5, "2.5 s"),
        (None, "-"),
        (10**400, "-"),
    ],
)
def test_latency_is_written_in_its_unit(value: Any, text: str) -> None:
    """A time has the unit in which its number is small."""
    assert latency(value) == text


def test_numbers_are_written_for_people() -> None:
    """Shares are percent, spans are in their largest unit, and what is no number is a dash."""
    assert percent(0.1234) == "12.3%"
    assert percent(float("nan")) == "-"
    assert span(59) == "59 seconds"
    assert span(90_000) == "1 day"
    assert finite(value=True) is None
    assert number("7") == "-"
