"""Slices name where the model is worst, and what could not be measured."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from mlembed.columns import Column
from mlembed.errors import DataError
from mlembed.monitoring.metrics import METRICS
from mlembed.training.evaluation import Rows
from mlembed.training.evaluation.slices import slices
from training.evaluation.scenes import COLUMNS, amounts, cells, probability, trade


def test_slices_find_the_group_the_model_fails() -> None:
    """Where the scores of nurses are chance, nurses come first, worse than all rows."""
    rows = trade(4000)
    nurses = rows.x[:, 1] == 2
    scores = np.where(nurses, 0.5 + 0.01 * rows.x[:, 5], rows.scores)
    rows = Rows(y=rows.y, scores=scores, columns=COLUMNS, x=rows.x)

    first = slices(rows, "roc_auc", 0.5)[0]

    inside = METRICS["roc_auc"].of(rows.y[nurses], scores[nurses], 0.5)
    assert (first["column"], first["value"], first["n"]) == ("job", "nurse", np.sum(nurses))
    assert first["value_of_metric"] == pytest.approx(inside)
    assert first["low"] < inside < first["high"] < METRICS["roc_auc"].of(rows.y, scores, 0.5)
    assert first["difference"] < 0


@pytest.mark.parametrize(("rows", "metric"), [(trade(3000), "log_loss"), (amounts(3000), "mae")])
def test_slices_are_worst_first_whichever_way_the_metric_points(rows: Rows, metric: str) -> None:
    """The first slice has the highest loss, and a negative difference means worse."""
    values = [part["value_of_metric"] for part in slices(rows, metric, 0.5, resamples=20)]

    assert values == sorted(values, reverse=True)


def test_slices_cut_every_column_by_default() -> None:
    """Categories by value, numbers by quarter, missing values apart; times are no slices."""
    rows = trade(2000)

    found = slices(rows, "brier", 0.5, resamples=20)

    values: dict[str, list[str]] = {}
    for part in found:
        values.setdefault(part["column"], []).append(part["value"])
    assert set(values["job"]) == {"clerk", "cook", "nurse", "rare"}
    assert set(values["member"]) == {"yes", "no"}
    assert len(values["age"]) == 5
    assert "missing" in values["age"]
    assert len(values["noise"]) == 4
    assert "since" not in values
    assert len(found) <= 20


def test_slices_of_a_column_account_for_all_rows() -> None:
    """The slices of each named column hold every row once."""
    rows = trade(1000)

    for name in ("age", "job", "visits"):
        assert sum(part["n"] for part in slices(rows, "brier", 0.5, [name], resamples=10)) == 1000


def test_slices_leave_out_the_number_of_an_entity() -> None:
    """An integer that names an entity, or nearly each row, is no quantity to cut."""
    x = cells(400)
    x[:, 3] = np.arange(400) // 4
    y: Any = (np.arange(400) % 2) * 1.0
    rows = Rows(
        y=y,
        scores=probability(x),
        columns=COLUMNS,
        x=x,
        clusters=x[:, 3].astype(int),
        entity="visits",
    )

    assert "visits" not in {part["column"] for part in slices(rows, "brier", 0.5, resamples=10)}


def test_slices_too_small_or_of_one_class_are_told_last() -> None:
    """What cannot be measured is listed with the reason, without a value."""
    x = cells(300)
    x[:, 1] = np.r_[np.zeros(200), np.ones(80), np.full(20, 2.0)]
    y: Any = np.r_[np.arange(200) % 2, np.ones(80), np.zeros(20)] * 1.0
    rows = Rows(y=y, scores=probability(x), columns=COLUMNS, x=x)

    found = slices(rows, "roc_auc", 0.5, ["job"])

    assert [part["value"] for part in found] == ["clerk", "cook", "nurse"]
    assert [part.get("reason") for part in found] == [None, "of one class", "fewer than 50 rows"]
    assert "value_of_metric" not in found[1]


def test_slices_of_few_entities_have_no_interval() -> None:
    """A slice that nine entities fill has a value, and no interval."""
    rows = trade(1000)
    clusters = np.where(rows.x[:, 1] == 2, np.arange(1000) % 9, np.arange(1000) + 9)
    rows = trade(1000, clusters=clusters)

    found = {part["value"]: part for part in slices(rows, "brier", 0.5, ["job"], resamples=50)}

    assert "low" not in found["nurse"]
    assert "low" in found["clerk"]


def test_slices_by_quarter_survive_ties_everywhere() -> None:
    """A column whose quarters coincide is cut into fewer parts, each row in one."""
    x = cells(600)
    x[:, 0] = np.r_[np.zeros(550), np.arange(50)]
    x[0, 5] = np.inf
    rows = trade(600, x=x)

    found = slices(rows, "brier", 0.5, ["age", "noise"], min_rows=1, resamples=10)

    assert sum(part["n"] for part in found) == 1200
    assert {part["value"] for part in found if part["column"] == "age"} == {"up to 0", "above 0"}


def test_slices_refuse_an_unknown_column() -> None:
    """A misspelt column is an error that lists the right ones."""
    with pytest.raises(DataError, match="no column 'wage'; expected one of age, job"):
        slices(trade(60), "brier", 0.5, ["wage"])


def test_slices_of_one_row_and_constant_scores_are_harmless() -> None:
    """The smallest table and a model that says one thing are measured or left out, never a crash."""
    assert all("reason" in part for part in slices(trade(1), "brier", 0.5))
    flat = trade(400, scores=np.full(400, 0.5))
    assert {part["value_of_metric"] for part in slices(flat, "roc_auc", 0.5, ["job"])[:2]} == {0.5}


def test_slices_take_a_second() -> None:
    """Slices of 10,000 rows are a pause of a second or so."""
    rows = trade(10_000)

    began = time.process_time()
    slices(rows, "roc_auc", 0.5)

    assert time.process_time() - began < 4


def test_slices_rank_no_handful_of_positives() -> None:
    """A slice with fewer than five positives has no ranking that means anything, and says so."""
    y = np.zeros(200)
    y[[0, 10, 20, 30]] = 1
    y[100:150] = 1
    scores = np.linspace(0, 1, 200)
    x = np.repeat([0.0, 1.0], 100)[:, np.newaxis]
    columns = (Column(name="side", kind="boolean"),)

    found = slices(Rows(y=y, scores=scores, columns=columns, x=x), "roc_auc", 0.5)

    reasons = {item["value"]: item.get("reason") for item in found}
    assert reasons == {"no": "fewer than 5 rows of one class", "yes": None}
