"""A champion is never made to look better than it is without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mlembed.training import Gates, GroupSplit, TimeSplit
from training.orders import RANDOM, declare, orders, rows

if TYPE_CHECKING:
    from mlembed.training.splits import Split

TABLE = orders(800)


@pytest.mark.parametrize("split", [RANDOM, GroupSplit("customer")], ids=["random", "group"])
def test_champion_that_may_have_seen_the_rows_is_noted(split: Split) -> None:
    """Where no time parts the rows, nothing tells which of them the champion was trained on."""
    older = rows(TABLE, np.arange(600))
    champion = declare(split=split).train(older).bundle

    candidate = declare(split=split, gates=Gates(margin=0.5)).train(TABLE, champion=champion)

    note = candidate.evaluation["champion"]["note"]
    assert "returns@1.0.0 may have been trained on some of them" in note
    assert note in candidate.evaluation["gates"][0]["found"]


def test_data_until_is_the_last_moment_that_was_settled_on() -> None:
    """Where time is a count, week 10 of the calibration is later than week 8 of the fit."""
    weeks = {**TABLE, "week": np.arange(len(TABLE["placed"])) // 40}
    declared = declare(split=TimeSplit("week", since=11), calibration="sigmoid")

    candidate = declared.train(weeks)

    sides = candidate.evaluation["folds"]["sides"]
    assert [side["until"] for side in sides] == ["8", "10", "19"]
    assert candidate.bundle.manifest.training["data_until"] == "10"
