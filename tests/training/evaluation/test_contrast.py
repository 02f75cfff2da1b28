"""Champion and challenger are compared on the same draws of whole entities."""

from __future__ import annotations

import json

import numpy as np

from mlembed.training.evaluation import contrast
from training.evaluation.scenes import trade


def test_contrast_tells_a_better_challenger() -> None:
    """A challenger that knows more has a difference whose interval excludes 0."""
    rows = trade(2000, clusters=np.arange(2000) % 500, entity="visits")
    worse = np.clip(rows.scores + np.random.default_rng(0).normal(0, 0.3, 2000), 0, 1)

    found = contrast(rows, worse, "roc_auc", 0.5, title="income@1.2.0")

    assert found["title"] == "income@1.2.0"
    assert (found["n"], found["clusters"], found["resamples"]) == (2000, 500, 500)
    assert 0 < found["low"] < found["difference"] < found["high"]
    assert found["difference"] == found["challenger"] - found["champion"]
    json.dumps(found, allow_nan=False)


def test_contrast_serves_each_with_its_threshold() -> None:
    """Where a decision is measured, the champion decides by its own threshold."""
    rows = trade(500)

    found = contrast(
        rows, rows.scores / 2, "error", 0.5, title="a@1.0.0", champion_threshold=0.25, resamples=20
    )

    assert found["difference"] == found["low"] == found["high"] == 0.0


def test_contrast_leaves_out_what_cannot_be_had() -> None:
    """Rows the champion cannot score do not count; without any, only the rows are told."""
    rows = trade(60)
    theirs = np.where(np.arange(60) < 10, np.nan, rows.scores)

    assert contrast(rows, theirs, "brier", 0.5, title="a@1.0.0", resamples=20)["n"] == 50
    nothing = contrast(rows, np.full(60, np.nan), "brier", 0.5, title="a@1.0.0")
    assert (nothing["n"], "difference" in nothing) == (0, False)
