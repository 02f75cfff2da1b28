"""Spaces are bounded, fit the estimator they are for, and are refused before anything is read."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import is_classifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import all_estimators
from xgboost import XGBClassifier, XGBRegressor

from mlembed.errors import DeclarationError
from mlembed.training.competitors import Competitor
from mlembed.training.fitting import Prepared, fit, prepare_table, scores_of
from mlembed.training.spaces import SPACES, space_of, suggest
from mlembed.training.tuning import Tuning
from mlembed.training.vocabulary import learn
from training.orders import declare, declare_weight, orders

if TYPE_CHECKING:
    from mlembed.training.trainer import Trainer

CLASSES = dict(all_estimators(type_filter=["classifier", "regressor"])) | {
    kind.__name__: kind for kind in (LGBMClassifier, LGBMRegressor, XGBClassifier, XGBRegressor)
}
# What a user would declare so that it converges; the rest is as the library has it.
DECLARED: dict[str, dict[str, Any]] = {
    "MLPClassifier": {"early_stopping": True, "max_iter": 1000},
    "MLPRegressor": {"early_stopping": True, "max_iter": 3000},
    "SGDClassifier": {"loss": "log_loss"},
    "LinearSVR": {"max_iter": 100_000},
    "LogisticRegression": {"max_iter": 1000},
    "Lasso": {"max_iter": 10_000},
    "ElasticNet": {"max_iter": 10_000},
    "GammaRegressor": {"max_iter": 1000},
    "HuberRegressor": {"max_iter": 1000},
    "XGBClassifier": {"n_jobs": 1},
    "XGBRegressor": {"n_jobs": 1},
    "LGBMClassifier": {"n_jobs": 1},
    "LGBMRegressor": {"n_jobs": 1},
}


@functools.cache
def prepared(kind: str) -> tuple[Trainer, Prepared]:
    """Return a declaration and its rows in numbers, with codes and missing values."""
    trainer = declare() if kind == "binary" else declare_weight()
    table = orders(250)
    table["weight"] = np.abs(table["weight"]) + 0.1
    read = trainer.read(table)
    return trainer, prepare_table(trainer, learn(trainer.columns, read), read)


def bounds(values: Any) -> list[Any]:
    """Return the ends of a range, or the choices."""
    return values if isinstance(values, list) else list(values[:2])


@pytest.mark.parametrize("end", [0, -1], ids=["low", "high"])
@pytest.mark.parametrize("name", SPACES)
def test_space_can_be_fitted_at_its_ends(name: str, end: int) -> None:
    """The class takes every setting of its space, at both ends, and scores by finite numbers."""
    kind = "binary" if is_classifier(CLASSES[name]()) else "regression"
    trainer, rows = prepared(kind)
    settings = {setting: bounds(values)[end] for setting, values in SPACES[name].items()}
    estimator = CLASSES[name](**DECLARED.get(name, {})).set_params(**settings)

    fitted = fit(trainer, Competitor(name, estimator), rows, slice(None))

    scores = scores_of(fitted, rows.features)
    assert scores.shape == rows.y.shape
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", SPACES)
def test_space_is_bounded(name: str) -> None:
    """Draws stay within the ends and keep their type; nothing can grow without end."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    space = SPACES[name]

    draws = [suggest(study.ask(), name, space) for _ in range(20)]

    for drawn in draws:
        assert drawn.keys() == space.keys()
        for setting, values in space.items():
            if isinstance(values, list):
                assert drawn[setting] in values
                continue
            low, high = values[:2]
            assert math.isfinite(high)
            assert low <= drawn[setting] <= high
            assert type(drawn[setting]) is type(low)
    assert any(draw != draws[0] for draw in draws)


def test_suggest_searches_wide_scales_by_their_logarithm() -> None:
    """A range declared with "log" is drawn evenly by orders of magnitude, and others evenly."""
    trial = optuna.create_study().ask()

    suggest(trial, "m", {"a": (1e-4, 1.0, "log"), "b": (1, 100, "log"), "c": (0.0, 1.0)})

    kinds = trial.distributions
    assert [getattr(kinds[f"m.{name}"], "log", None) for name in "abc"] == [True, True, False]


def test_suggest_draws_values_of_any_type() -> None:
    """Choices may be what a journal cannot hold; they come back as they were declared."""
    choices = [(16,), (32, 16), None, "auto", 0.5]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    drawn = {repr(suggest(study.ask(), "m", {"x": choices})["x"]) for _ in range(60)}

    assert drawn == {repr(choice) for choice in choices}


def test_space_of_a_pipeline_is_that_of_its_last_step() -> None:
    """The names lead to the last step, through pipelines in pipelines."""
    inner = Pipeline([("scale", StandardScaler()), ("model", Ridge())])
    outer = Pipeline([("first", StandardScaler()), ("then", inner)])

    assert list(space_of(outer, {})) == ["then__model__alpha"]
    assert outer.set_params(then__model__alpha=3.0)["then"]["model"].alpha == 3.0


def test_space_that_is_declared_replaces_the_built_in() -> None:
    """What is declared holds alone; an empty space leaves the estimator alone."""
    declared = {"Ridge": {"tol": (1e-5, 1e-3)}, "LogisticRegression": {}}

    assert space_of(Ridge(), declared) == {"tol": (1e-5, 1e-3)}
    assert space_of(LogisticRegression(), declared) == {}
    assert space_of(RandomForestClassifier(), declared) == SPACES["RandomForestClassifier"]


NONSENSE: list[tuple[Any, str]] = [
    ({"Ridge": {"alpha": 3.0}}, r"Ridge\.alpha is no space"),
    ({"Ridge": {"alpha": (1.0,)}}, r"Ridge\.alpha"),
    ({"Ridge": {"alpha": (2.0, 1.0)}}, r"Ridge\.alpha"),
    ({"Ridge": {"alpha": (0.0, 1.0, "log")}}, "low > 0"),
    ({"Ridge": {"alpha": (0.1, 1.0, "linear")}}, r"Ridge\.alpha"),
    ({"Ridge": {"alpha": (0.1, math.inf)}}, r"Ridge\.alpha"),
    ({"Ridge": {"alpha": (0.1, math.nan)}}, r"Ridge\.alpha"),
    ({"Ridge": {"alpha": (False, True)}}, r"Ridge\.alpha"),
    ({"Ridge": {"alpha": ("a", "b")}}, r"Ridge\.alpha"),
    ({"Ridge": {"alpha": []}}, r"Ridge\.alpha"),
    ({"Ridge": {"alpha": {1.0, 2.0}}}, r"Ridge\.alpha"),
    ({"Ridge": {3: (0.1, 1.0)}}, r"Ridge\.3"),
    ({"Ridge": [0.1, 1.0]}, "a mapping of its settings, got a str and a list"),
    ({Ridge: {"alpha": (0.1, 1.0)}}, "the name of a class"),
    ([("Ridge", {})], "expected a mapping"),
    (None, "expected a mapping"),
]


@pytest.mark.parametrize(("spaces", "words"), NONSENSE, ids=[str(case[0]) for case in NONSENSE])
def test_tuning_refuses_what_is_no_space(spaces: Any, words: str) -> None:
    """A space that cannot be searched is refused where it is declared, by its name."""
    with pytest.raises(DeclarationError, match=words):
        Tuning(spaces=spaces)


@pytest.mark.parametrize(
    ("spaces", "words"),
    [
        ({"Rigde": {"alpha": (0.1, 1.0)}}, "names Rigde; expected one of Ridge"),
        ({"LogisticRegression": {"C": (0.1, 1.0)}}, "names LogisticRegression"),
        ({"DummyRegressor": {"constant": [1.0]}}, "names DummyRegressor"),
        ({"Ridge": {"alpah": (0.1, 1.0)}}, "Ridge has no alpah; it has alpha"),
    ],
)
def test_trainer_refuses_spaces_of_nobody(spaces: Any, words: str) -> None:
    """A misspelt class or setting is found before any data is read."""
    with pytest.raises(DeclarationError, match=words):
        declare_weight(tuning=Tuning(spaces=spaces))


def test_trainer_takes_spaces_of_the_added_linear_model() -> None:
    """The linear model that always competes may be given a space like any other."""
    spaces = {"LogisticRegression": {"C": (0.1, 1.0)}}

    trainer = declare(candidates=[RandomForestClassifier()], tuning=Tuning(spaces=spaces))

    assert trainer.tuning is not None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"trials": 0}, "whole number of at least 1"),
        ({"trials": 2.5}, "whole number of at least 1"),
        ({"trials": True}, "whole number of at least 1"),
        ({"seconds": 0}, "above 0"),
        ({"seconds": math.nan}, "above 0"),
        ({"seconds": "60"}, "above 0"),
        ({"seconds": True}, "above 0"),
    ],
)
def test_tuning_refuses_settings_that_make_no_sense(settings: Any, words: str) -> None:
    """A number of trials or seconds that is none is refused where it is declared."""
    with pytest.raises(DeclarationError, match=words):
        Tuning(**settings)


def test_tuning_takes_no_end() -> None:
    """Whole and endless numbers of seconds are numbers too."""
    assert [Tuning(seconds=seconds).seconds for seconds in (None, 5, math.inf)] == [
        *(None, 5),
        math.inf,
    ]
