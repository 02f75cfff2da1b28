"""A cell is told in the words of its column."""

from __future__ import annotations

import math

import pytest

from mlembed.training.evaluation.slices import slices
from mlembed.training.evaluation.values import label_of
from training.evaluation.scenes import COLUMNS, trade

AGE, JOB, MEMBER, VISITS, SINCE, _ = COLUMNS


@pytest.mark.parametrize(
    ("column", "cell", "text"),
    [
        (JOB, 1.0, "cook"),
        (JOB, 3.0, "rare"),
        (JOB, math.nan, "missing"),
        (MEMBER, 1.0, "yes"),
        (MEMBER, 0.0, "no"),
        (VISITS, 1234567.0, "1,234,567"),
        (AGE, 0.12345678, "0.123457"),
        (AGE, 1e300, "1e+300"),
        (AGE, math.inf, "inf"),
        (SINCE, 86_400.0, "1970-01-02"),
        (SINCE, -86_400.0, "1969-12-31"),
        (SINCE, 1e300, "1e+300 s"),
        (SINCE, math.inf, "inf s"),
    ],
)
def test_label_of_a_cell_is_for_people(column: object, cell: float, text: str) -> None:
    """Categories by name, numbers in short, times by date, and no value is too odd to write."""
    assert label_of(column, cell) == text  # type: ignore[arg-type]


def test_slices_of_times_are_told_by_date() -> None:
    """A time is sliced where it is named, into quarters by date."""
    found = slices(trade(400), "brier", 0.5, ["since"], resamples=10)

    assert len(found) == 4
    assert any(part["value"].startswith("up to 2023-") for part in found)
