"""Every metric comes with an interval, or without one where it would mislead."""

from __future__ import annotations

import numpy as np
import pytest

from mlembed.errors import DataError
from mlembed.monitoring.metrics import evaluate
from mlembed.training.evaluation import Rows
from mlembed.training.evaluation.intervals import intervals
from training.evaluation.scenes import COLUMNS, amounts, cells, trade


def test_intervals_hold_their_metrics() -> None:
    """Each interval holds the value it belongs to; the calibration error has none."""
    rows = trade(800)
    values = evaluate("binary", rows.y, rows.scores, 0.5)

    found = intervals(rows, values, 0.5)

    assert set(found) == set(values) - {"ece"}
    assert all(low < values[name] < high for name, (low, high) in found.items())


def test_intervals_are_repeatable_and_seeded() -> None:
    """The seed decides every end."""
    rows = amounts(100)

    assert intervals(rows, ["mae"], 0.5) == intervals(rows, ["mae"], 0.5)
    assert intervals(rows, ["mae"], 0.5) != intervals(rows, ["mae"], 0.5, seed=1)


def test_intervals_of_few_positives_are_absent() -> None:
    """Two positives are drawn too rarely for an interval of what needs both classes."""
    rows = Rows(y=np.r_[1.0, 1.0, np.zeros(60)], scores=np.linspace(1, 0, 62))

    assert set(intervals(rows, ["roc_auc", "brier"], 0.5)) == {"brier"}


def test_intervals_draw_entities_whole() -> None:
    """Where one entity holds every row there is no interval at all."""
    assert intervals(amounts(50, clusters=np.zeros(50, int)), ["mae"], 0.5) == {}


def test_rows_refuse_what_is_not_of_the_same_rows() -> None:
    """Arrays of other lengths and scores that are missing are errors, before anything is drawn."""
    y, x = np.arange(4) % 2 * 1.0, cells(4)

    for given, message in (
        ({"scores": np.r_[np.zeros(3), np.nan]}, "1 of 4 scores are missing"),
        ({"scores": np.zeros(3)}, "4 labels and 3 scores"),
        ({"columns": COLUMNS}, r"rows of shape \(0, 0\) do not fit 4 labels and 6 columns"),
        ({"columns": COLUMNS, "x": x[:3]}, r"rows of shape \(3, 6\)"),
        ({"clusters": np.zeros(5, int)}, "5 entities do not fit 4 rows"),
    ):
        with pytest.raises(DataError, match=message):
            Rows(**{"y": y, "scores": np.zeros(4)} | given)
    with pytest.raises(DataError, match="no rows"):
        Rows(y=np.empty(0), scores=np.empty(0))
