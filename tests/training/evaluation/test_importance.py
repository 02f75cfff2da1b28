"""Shuffling a column hurts as much as the score rests on it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from mlembed.columns import Column
from mlembed.monitoring.metrics import METRICS
from mlembed.training.evaluation import Rows
from mlembed.training.evaluation.importance import MAX_SCORED, _pick, importance
from training.evaluation.scenes import amounts, cells, odds, probability, trade


@pytest.mark.parametrize(
    ("rows", "metric", "score"),
    [
        (trade(3000), "roc_auc", probability),
        (trade(3000), "log_loss", probability),
        (amounts(3000), "rmse", odds),
    ],
)
def test_importance_ranks_what_the_score_rests_on(rows: Rows, metric: str, score: Any) -> None:
    """Age says most; what the score does not read drops nothing, exactly."""
    found = importance(rows, metric, 0.5, score)

    drops = {item["column"]: item["drop"] for item in found}
    assert [item["column"] for item in found[:3]] == ["age", "job", "member"]
    assert drops["age"] > 2 * drops["job"] > 0
    assert drops["noise"] == drops["since"] == drops["visits"] == 0
    assert all(item["low"] <= item["drop"] <= item["high"] for item in found)
    assert found[0]["low"] > 0


def test_importance_is_repeatable() -> None:
    """The seed decides rows, shuffles and resamples."""
    rows = trade(500)

    first, second = (importance(rows, "brier", 0.5, probability) for _ in range(2))

    assert first == second
    assert first != importance(rows, "brier", 0.5, probability, seed=1)


@pytest.mark.parametrize("metric", ["log_loss", "error"])
def test_importance_of_a_rare_class_shuffles_as_in_all_rows(metric: str) -> None:
    """Values come from all rows: those of the rows picked are too often those of the rare class."""
    random = np.random.default_rng(0)
    x: Any = random.normal(size=(5000, 1))
    y: Any = (x[:, 0] > 2) * 1.0
    columns = (Column(name="age", kind="number"),)

    def score(cells: Any) -> Any:
        return 1 / (1 + np.exp(-5 * (cells[:, 0] - 2)))

    (found,) = importance(Rows(y=y, scores=score(x), columns=columns, x=x), metric, 0.5, score)

    of = METRICS[metric].of
    shuffled: Any = np.mean([of(y, score(random.permutation(x)), 0.5) for _ in range(30)])
    assert found["drop"] == pytest.approx(shuffled - of(y, score(x), 0.5), rel=0.1)


@pytest.mark.parametrize("share", [0.0005, 0.005, 0.3, 0.999])
def test_importance_of_a_rare_class_uses_all_of_it(share: float) -> None:
    """A rare class is used whole, and counts as what it is among all rows."""
    random = np.random.default_rng(0)
    y: Any = (random.random(20_000) < share) * 1.0

    picks, weights = _pick(y, 2000, random, by_class=True)

    rare = min(y.sum(), 20_000 - y.sum())
    used = min(np.sum(y[picks] == 1), np.sum(y[picks] == 0))
    assert used == min(rare, 1000)
    assert len(picks) == len(set(picks.tolist())) == 2000
    assert np.sum(weights[y[picks] == 1]) == pytest.approx(y.sum())
    assert np.sum(weights) == pytest.approx(20_000)


def test_importance_scores_no_more_rows_for_more_columns() -> None:
    """A hundred columns take as many rows in all as ten."""
    columns = tuple(Column(name=f"c{i}", kind="number") for i in range(100))
    x = np.random.default_rng(0).normal(size=(3000, 100))
    y: Any = (x[:, 7] > 0) * 1.0
    n_scored = 0

    def score(made: Any) -> Any:
        nonlocal n_scored
        n_scored += len(made)
        return 1 / (1 + np.exp(-made[:, 7]))

    found = importance(Rows(y=y, scores=score(x), columns=columns, x=x), "roc_auc", 0.5, score)

    assert n_scored <= MAX_SCORED + 3000
    assert found[0]["column"] == "c7"


def test_importance_of_constant_and_empty_columns_is_nothing() -> None:
    """Shuffling what does not vary changes nothing, so it is not even scored."""
    x = cells(200)
    x[:, 3], x[:, 5] = 1.0, np.nan

    found = {
        item["column"]: item for item in importance(trade(200, x=x), "brier", 0.5, probability)
    }

    assert found["visits"] == {"column": "visits", "drop": 0.0, "low": 0.0, "high": 0.0}
    assert found["noise"]["drop"] == 0.0


def test_importance_by_entity_is_less_sure() -> None:
    """Rows of few entities give wider intervals, and of fewer than ten none."""
    rows, by = trade(1000), np.arange(1000) % 12
    alone = importance(rows, "brier", 0.5, probability)[0]

    entities = importance(trade(1000, clusters=by), "brier", 0.5, probability)[0]
    few = importance(trade(1000, clusters=by % 3), "brier", 0.5, probability)[0]

    assert alone["drop"] == entities["drop"] == few["drop"]
    assert alone["low"] != entities["low"]
    assert "low" not in few


@pytest.mark.parametrize("n", [1, 40])
def test_importance_of_one_class_is_empty(n: int) -> None:
    """Where the metric is undefined there is nothing to lose."""
    assert importance(trade(n, y=np.ones(n)), "roc_auc", 0.5, probability) == []
    assert importance(Rows(y=np.ones(2), scores=np.ones(2)), "brier", 0.5, probability) == []


def test_importance_takes_a_second() -> None:
    """Twenty columns and a cheap score are a pause of a second or so."""
    columns = tuple(Column(name=f"c{i}", kind="number") for i in range(20))
    x = np.random.default_rng(0).normal(size=(10_000, 20))
    y: Any = (x.sum(axis=1) > 0) * 1.0

    began = time.process_time()
    importance(
        Rows(y=y, scores=x[:, 0], columns=columns, x=x), "roc_auc", 0.5, lambda made: made[:, 0]
    )

    assert time.process_time() - began < 4
