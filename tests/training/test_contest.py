"""Choosing: on rows held out, never below a constant, of equals the first declared."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from mlembed.errors import DataError, GateError
from mlembed.training import Tuning
from mlembed.training.competitors import Competitor
from mlembed.training.contest import choose
from mlembed.training.fitting import fit, scores_of
from mlembed.training.progress import Steps
from mlembed.training.validating import value_on
from training.orders import RANDOM, declare, declare_weight, orders
from training.test_tuning import TABLE, Heard, rows_of, search, trials_of

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.training.fitting import Prepared
    from mlembed.training.folds import Fold


def test_contest_measures_each_on_the_same_folds() -> None:
    """Each value is that of an estimator fitted on a fold's one side, on the rows of the other."""
    trainer = declare(candidates=[DecisionTreeClassifier(max_depth=3)], split=RANDOM, folds=3)
    rows = rows_of(trainer)
    folds = trainer.validation(rows.table)

    contest = choose(trainer, rows, Steps.of(None, 1))

    for name, estimator in (
        ("DecisionTreeClassifier", DecisionTreeClassifier(max_depth=3)),
        ("LogisticRegression (linear)", LogisticRegression(max_iter=2000)),
    ):
        fitted = [fit(trainer, Competitor(name, estimator), rows, fold.train) for fold in folds]
        values = [
            trainer.yardstick.of(rows.y[fold.test], scores_of(one, rows.features[fold.test]))
            for one, fold in zip(fitted, folds, strict=True)
        ]
        assert list(contest.values[name]) == values
        assert contest.means[name] == np.mean(values)
    assert contest.values["prior (baseline)"] == (0.5, 0.5, 0.5)
    assert contest.baseline == "prior (baseline)"
    assert contest.linear == "LogisticRegression (linear)"
    assert contest.tuned is None


def test_contest_tells_who_is_fitted() -> None:
    """Each competitor is told of before it is fitted."""
    heard = Heard()

    search(declare(candidates=[GaussianNB()], split=RANDOM), heard=heard)

    names = ["GaussianNB", "LogisticRegression (linear)", "prior (baseline)"]
    assert heard.told == [(number, 3, name) for number, name in enumerate(names)]


def test_contest_in_plain_json() -> None:
    """What came of it can be kept in a bundle, and says who was who."""
    contest = search(declare(candidates=[GaussianNB()], split=RANDOM, folds=2))

    told = contest.to_json()

    assert json.loads(json.dumps(told)) == told
    assert told["folds"] == 2
    assert told["chosen"] in told["candidates"]
    assert {len(values) for values in told["spread"].values()} == {2}


def test_contest_chooses_the_linear_model_where_it_is_best() -> None:
    """A linear model that nobody declared serves where nothing that was declared is better."""
    contest = search(declare_weight(candidates=[DecisionTreeRegressor()], folds=3))

    assert contest.chosen.name == "Ridge (linear)"
    assert contest.means["Ridge (linear)"] < contest.means["DecisionTreeRegressor"]


def test_contest_takes_the_first_declared_of_equals() -> None:
    """Of equals the one that was declared first is chosen, the added linear model last."""
    stump = DecisionTreeClassifier(max_depth=2)
    twins = search(declare(candidates=[stump, DecisionTreeClassifier(max_depth=2)], split=RANDOM))
    ridges = search(declare_weight(candidates=[Ridge(), Ridge(), Ridge(alpha=1e6)], folds=2))

    assert twins.means["DecisionTreeClassifier"] == twins.means["DecisionTreeClassifier 2"]
    assert twins.chosen.name != "DecisionTreeClassifier 2"
    assert ridges.chosen.name == "Ridge"


def test_contest_refuses_what_is_no_better_than_a_constant() -> None:
    """Where the columns tell nothing there is no model, and the message shows both values."""
    table = orders(400)
    table["returned"] = np.random.default_rng(5).permutation(table["returned"])
    candidates = [DecisionTreeClassifier(), LogisticRegression()]
    trainer = declare(candidates=candidates, split=RANDOM, folds=3, metric="brier")

    with pytest.raises(GateError, match=r"no candidate for 'returns' is better than prior") as told:
        search(trainer, table=table)

    assert "has brier 0.2" in str(told.value)
    assert "Nothing was published: look for columns that tell more" in str(told.value)


def test_contest_refuses_a_tie_with_the_constant() -> None:
    """A model as good as a constant is not worth its place."""
    trainer = declare_weight(candidates=[Ridge(alpha=1e300)], split=RANDOM, metric="rmse", folds=2)

    with pytest.raises(GateError, match=r"Ridge has rmse .*, the baseline"):
        search(trainer)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_contest_leaves_an_added_model_out_that_does_not_converge(tmp_path: Path) -> None:
    """A linear model that nobody declared is left out with its reason, and is not tuned either."""
    table = dict(TABLE)
    table["total"] = np.where(np.arange(400) % 7 == 0, 1e155, TABLE["total"])
    trainer = declare(candidates=[DecisionTreeClassifier(max_depth=3)], split=RANDOM)
    path = tmp_path / "a.study.jsonl"

    contest = search(dataclasses.replace(trainer, tuning=Tuning(trials=8)), path, table=table)

    reason = "LogisticRegression (linear) did not converge: raise its max_iter in the declaration"
    assert contest.left_out == {"LogisticRegression (linear)": reason}
    assert contest.to_json()["left_out"] == contest.left_out
    assert set(contest.values) == {
        "DecisionTreeClassifier",
        "DecisionTreeClassifier (tuned)",
        "prior (baseline)",
    }
    assert {trial.params["candidate"] for trial in trials_of(path)} == {"DecisionTreeClassifier"}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_contest_raises_where_a_declared_linear_model_does_not_converge() -> None:
    """The same model stops the run where it was declared."""
    table = dict(TABLE)
    table["total"] = np.where(np.arange(400) % 7 == 0, 1e155, TABLE["total"])
    trainer = declare(candidates=[LogisticRegression(max_iter=2000)], split=RANDOM)

    with pytest.raises(DataError, match="LogisticRegression did not converge: raise its max_iter"):
        search(trainer, table=table)


def test_contest_raises_where_a_declared_model_cannot_be_fitted() -> None:
    """A candidate that does not converge stops the run, and the message says what to change."""
    trainer = declare(candidates=[LogisticRegression(max_iter=1)], split=RANDOM)

    with pytest.raises(DataError, match="LogisticRegression did not converge: raise its max_iter"):
        search(trainer)


def far(rows: Prepared, fold: Fold) -> Prepared:
    """Return the rows with those held out far from all that was trained on."""
    features = rows.features.copy()
    features[fold.test, 0] = np.where(np.arange(len(fold.test)) % 2, 1e9, -1e9)
    return dataclasses.replace(rows, features=features)


def test_value_refuses_scores_that_are_no_numbers() -> None:
    """A model whose scores overflow on new rows has no value, and the message names it."""
    trainer = declare_weight(candidates=[PoissonRegressor()], split=RANDOM)
    rows = rows_of(trainer)
    rows = dataclasses.replace(rows, y=np.abs(rows.y))
    (fold,) = trainer.validation(rows.table)

    with np.errstate(over="ignore"), pytest.raises(DataError) as told:
        value_on(trainer, Competitor("P", PoissonRegressor(alpha=0)), far(rows, fold), fold)

    assert "P gives scores that are no finite numbers" in str(told.value)


def test_value_refuses_a_metric_that_has_none() -> None:
    """Where the metric is undefined for the rows held out, it is not taken for a number."""
    trainer = declare_weight(metric="wape", split=RANDOM)
    rows = rows_of(trainer)
    (fold,) = trainer.validation(rows.table)
    y = rows.y.copy()
    y[fold.test] = 0

    with pytest.raises(DataError, match="wape of R is no finite number on rows held out: declare"):
        value_on(trainer, Competitor("R", Ridge()), dataclasses.replace(rows, y=y), fold)


def test_value_is_that_of_a_constant() -> None:
    """A baseline is fitted as it is, on the fold's own side."""
    trainer = declare_weight(split=RANDOM)
    rows = rows_of(trainer)
    (fold,) = trainer.validation(rows.table)
    median = np.median(rows.y[fold.train])
    constant = Competitor("m", DummyRegressor(strategy="median"), "baseline")

    value = value_on(trainer, constant, rows, fold)

    assert value == pytest.approx(np.mean(np.abs(rows.y[fold.test] - median)))
