"""Residuals account for every row, and their intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from mlembed.training.evaluation import Rows
from mlembed.training.evaluation.residuals import residuals
from training.evaluation.scenes import amounts


def test_residuals_account_for_all_rows() -> None:
    """Histogram and bins by score each hold every row, far outliers too."""
    rows = amounts(1000)
    rows.y[:3] = [1e6, -1e6, 1e7]

    found = residuals(rows)

    assert sum(found["counts"]) == sum(part["n"] for part in found["by_score"]) == 1000
    assert len(found["bins"]) == len(found["counts"]) + 1
    assert -20 < found["bins"][0] < found["bins"][-1] < 20


def test_residuals_show_on_which_side_a_score_is_off() -> None:
    """Scores that are too low where they are high have positive errors there, beyond chance."""
    rows = amounts(2000)
    rows = amounts(2000, scores=rows.scores - np.maximum(rows.scores, 0))

    parts = residuals(rows)["by_score"]

    assert parts[-1]["low"] > 0
    assert [part["score"] for part in parts] == sorted(part["score"] for part in parts)


def test_residuals_of_entities_are_less_sure() -> None:
    """Errors that the rows of an entity share make the interval wider."""
    clusters = np.repeat(np.arange(40), 25)
    shared = np.random.default_rng(0).normal(size=40)[clusters]
    y, scores = shared, np.zeros(1000)

    (rows,) = residuals(Rows(y=y, scores=scores))["by_score"]
    (entities,) = residuals(Rows(y=y, scores=scores, clusters=clusters))["by_score"]

    wide, narrow = (part["high"] - part["low"] for part in (entities, rows))
    assert wide == pytest.approx(5 * narrow, rel=0.05)


def test_residuals_of_one_row_have_no_interval() -> None:
    """One row, or one entity, says nothing of others; equal errors are one bar."""
    (part,) = residuals(Rows(y=np.ones(1), scores=np.zeros(1)))["by_score"]
    (alike,) = residuals(Rows(y=np.arange(5.0), scores=np.zeros(5), clusters=np.zeros(5, int)))[
        "by_score"
    ]
    same = residuals(Rows(y=np.ones(9), scores=np.zeros(9)))

    assert "low" not in part
    assert "low" not in alike
    assert sum(count > 0 for count in same["counts"]) == 1
