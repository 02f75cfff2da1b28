"""Bins are equal in count, and their intervals hold the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlembed.training.evaluation.calibration import calibration, inflation, share_interval


def test_calibration_cuts_rows_into_equal_parts() -> None:
    """Ten bins of equally many rows in order of score account for all rows."""
    scores = np.linspace(0, 1, 1000) ** 3
    y: Any = (np.arange(1000) % 3 == 0) * 1.0

    bins = calibration(y, scores)

    assert [part["n"] for part in bins] == [100] * 10
    assert [part["mean_score"] for part in bins] == sorted(part["mean_score"] for part in bins)
    assert all(part["low"] < part["positive_share"] < part["high"] for part in bins)


@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_calibration_of_one_class_and_one_score_is_one_bin(truth: float) -> None:
    """Ties everywhere and a single class leave one bin, its interval within [0, 1]."""
    (part,) = calibration(np.full(20, truth), np.full(20, 0.3))

    assert (part["n"], part["positive_share"]) == (20, truth)
    assert 0 <= part["low"] < part["high"] <= 1


def test_calibration_of_one_row_is_a_bin() -> None:
    """A single row is a bin that says next to nothing."""
    (part,) = calibration(np.ones(1), np.ones(1))

    assert part["low"] < 0.3


def test_share_interval_holds_the_truth_as_often_as_it_says() -> None:
    """About one interval in twenty misses a share of one in ten."""
    random = np.random.default_rng(0)
    ends = [share_interval((random.random(80) < 0.1).astype(float)) for _ in range(400)]

    assert 4 <= sum(not low <= 0.1 <= high for low, high in ends) <= 40


def test_share_interval_counts_entities_whose_rows_are_alike() -> None:
    """A hundred rows of ten entities that are each of one class say as much as ten rows."""
    cases: Any = np.repeat(np.arange(10) % 2.0, 10)
    clusters = np.repeat(np.arange(10), 10)

    assert share_interval(cases, clusters) == pytest.approx(share_interval(cases[::10]))
    assert inflation(cases, np.arange(100)) == 1.0
