"""Axes have few, round and different numbers."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlembed.training.report.scale import Scale, around

VALUES = st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=5)


@given(values=VALUES, zero=st.booleans(), room=st.sampled_from([0.0, 0.05]))
def test_around_holds_every_value(values: list[float], zero: bool, room: float) -> None:  # noqa: FBT001
    """The ends lie apart and hold all values, and 0 where asked."""
    low, high = around(values, zero=zero, room=room)

    assert low < high
    assert low <= min(values)
    assert max(values) <= high
    assert not zero or low <= 0 <= high


@given(values=VALUES)
def test_ticks_are_few_and_within(values: list[float]) -> None:
    """There are one to ten ticks, from left to right, none outside the axis."""
    low, high = around(values)
    assume(high - low > 1e-3 * max(abs(low), abs(high)) and high - low > 1e-6)
    scale = Scale(low, high, 0.0, 100.0)

    ticks = scale.ticks()

    places = [tick.at for tick in ticks]
    assert 1 <= len(ticks) <= 10
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)
    assert len({tick.text for tick in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.0, 1.0, ["0", "0.25", "0.50", "0.75", "1.00"]),
        (0.0, 0.09, ["0", "0.025", "0.050", "0.075"]),
        (0.0, 12_345.0, ["0", "5k", "10k"]),
        (-3e6, 5e6, ["-2M", "0", "2M", "4M"]),
        (1e9, 1e9 + 5, ["1,000,000,000", "1,000,000,002", "1,000,000,004"]),
        (1e-9, 2e-9, ["1e-09", "1.25e-09", "1.5e-09"]),
    ],
)
def test_ticks_are_round(low: float, high: float, texts: list[str]) -> None:
    """Numbers on an axis have the digits that tell them apart, and no more."""
    assert [tick.text for tick in Scale(low, high, 0, 100).ticks(4)][: len(texts)] == texts


def test_scale_keeps_what_is_outside_at_its_end() -> None:
    """A value beyond the axis is drawn at its end, not outside the plot."""
    scale = Scale(0.0, 1.0, 10.0, 20.0)

    assert [scale.at(value) for value in (-5.0, 0.5, 7.0)] == [10.0, 15.0, 20.0]
