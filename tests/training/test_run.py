"""What the README declares can be declared and trained, joined tables and strangers included."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pytest
from pydantic import Field
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import TargetEncoder

import mlembed
from mlembed.errors import DataError, DeclarationError, GateError
from mlembed.serving.session import Session
from mlembed.training import Checks, Leakage, Table, TimeSplit
from mlembed.training.fitting import scores_of
from mlembed.training.matrix import encode_dataset
from visits import Visit, trainer, visits

if TYPE_CHECKING:
    from mlembed.training import Trainer

README = Path(__file__).parents[2] / "README.md"


class Payment(mlembed.Record):
    """One card payment."""

    at: dt.datetime
    amount: Annotated[float, Field(ge=0)]
    shop: str
    balance: float | None = None
    chargeback_code: str | None = None


class _Timed(Visit):
    at: dt.datetime


def test_readme_declares_what_can_be_trained() -> None:
    """The long declaration of the README is sound: its names, its options and its estimators."""
    block = next(
        text
        for text in re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
        if "ByCost(" in text
    )
    lightgbm = pytest.importorskip("lightgbm")
    names: dict[str, Any] = {
        "Payment": Payment,
        "make_pipeline": make_pipeline,
        "ColumnTransformer": ColumnTransformer,
        "TargetEncoder": TargetEncoder,
        "RandomForestClassifier": RandomForestClassifier,
        "LGBMClassifier": lightgbm.LGBMClassifier,
    }

    exec(block, names)  # noqa: S102  our own README

    declared: Trainer = names["trainer"]
    assert declared.extra == ("at", "customer", "amount")


def test_train_reads_what_is_joined() -> None:
    """A declared source is read where no table is named, and what was joined is told."""
    table = visits(1200)
    left = {name: values for name, values in table.items() if name != "basket"}
    left["visit"] = np.arange(1200)
    right = {"visit": np.arange(1000), "basket": table["basket"][:1000]}

    made = trainer(data=Table(left).join(Table(right), on="visit")).train()

    (join,) = made.evaluation["data"]["joins"]
    assert (join["n_matched"], join["n_right"]) == (1000, 1000)
    assert made.n_train + made.n_test == 1200


def test_train_asks_for_a_table() -> None:
    """Where neither the caller nor the declaration names a table, the message says how to."""
    with pytest.raises(DataError, match=r"no table to train on: give one \(--data\), or declare"):
        trainer().train()


def test_train_lets_an_isolation_forest_compete() -> None:
    """What finds strangers is fitted without labels, judged by them, and served as it scores."""
    random = np.random.default_rng(0)
    table = visits(1500)
    strange = random.random(1500) < 0.06
    table["minutes"] = np.where(strange, 590.0, table["minutes"])
    table["basket"] = np.where(strange, 5_000.0, table["basket"])
    table["ordered"] = np.where(strange, "yes", "no").astype(object)
    declared = trainer(
        candidates=[IsolationForest(n_estimators=50)], features=("minutes", "basket")
    )

    made = declared.train(table)

    rows = declared.read(table)
    x = encode_dataset("test", made.fitted.columns, rows)
    features = Session(made.fitted.features_model).run_matrix(x)
    own = scores_of(made.fitted.estimator, features)
    assert made.fitted.name == "IsolationForest"
    assert made.metrics["roc_auc"] > 0.99
    assert np.abs(made.fitted.session.run_matrix(x) - own).max() <= 1e-9


def test_train_refuses_what_no_better_than_chance_tells() -> None:
    """Noise does not beat the trivial baseline, and nothing is made of it."""
    table = visits(600)
    random = np.random.default_rng(1)
    for name in ("minutes", "basket"):
        table[name] = random.uniform(0, 60, 600)
    table["ordered"] = np.array(["yes", "no"] * 300, dtype=object)[random.permutation(600)]

    with pytest.raises(GateError, match="no candidate for 'visits' is better than"):
        trainer(metric="log_loss").train(table)


@pytest.mark.parametrize(
    "changes",
    [
        {"leakage": Leakage(absent=["baskte"])},
        {"leakage": Leakage(known_at={"baskte": "at"})},
        {"checks": Checks(max_missing={"baskte": 0.1})},
        {"slices": ["baskte"]},
    ],
    ids=str,
)
def test_trainer_names_what_is_no_column(changes: dict[str, Any]) -> None:
    """A name that is no column is refused where it is declared: a slip may not switch a guard off."""
    with pytest.raises(DeclarationError, match=r"names .*baskte.* no columns of the record"):
        trainer(**changes)


def test_train_does_not_call_passing_time_a_drift() -> None:
    """The same table again, under the same champion, has not drifted, whatever the split."""
    table = visits(1500)
    table["at"] = 1.7e9 + 3600.0 * np.arange(1500)
    declared = trainer(
        record=_Timed, split=TimeSplit("at"), checks=Checks(fail=["drift"]), features=("minutes",)
    )
    first = declared.train(table)

    again = declared.train(table, champion=first.bundle)

    drifted = [c for c in again.evaluation["data"]["checks"] if c["check"] == "drift"]
    assert [check["status"] for check in drifted] == ["ok"]


def test_train_takes_the_threshold_of_an_estimator() -> None:
    """A threshold that scikit-learn tuned is the one that hosts label by."""
    tuned = TunedThresholdClassifierCV(
        LogisticRegression(), scoring="f1", response_method="predict_proba", random_state=0
    )

    made = trainer(candidates=[tuned]).train(visits(1500))

    assert made.bundle.manifest.task.threshold == made.fitted.estimator.best_threshold_
    assert made.bundle.manifest.task.threshold != 0.5


def test_train_lets_lightgbm_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """LightGBM's remarks on each fit stay out of the way, behind a pipeline too."""
    lightgbm = pytest.importorskip("lightgbm")
    candidates = [
        lightgbm.LGBMClassifier(n_estimators=5),
        make_pipeline(SimpleImputer(), lightgbm.LGBMClassifier(n_estimators=5)),
    ]

    trainer(candidates=candidates).train(visits(800))

    shown = capfd.readouterr()
    assert "LightGBM" not in shown.out + shown.err


def test_train_shows_nothing_of_a_column_that_was_dropped() -> None:
    """What leaks and was left out is no slice and does not matter, for the model never reads it."""
    table = visits(1500)
    table["known"] = table["ordered"] == "yes"

    class Known(Visit):
        known: bool

    made = trainer(record=Known, leakage=Leakage(action="drop")).train(table)

    shown = {item["column"] for key in ("slices", "importance") for item in made.evaluation[key]}
    assert shown == set(Visit.model_fields)
