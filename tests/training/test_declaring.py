"""A declaration that makes no sense is refused whole, before any data is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier

from mlembed.errors import DeclarationError, LoweringError
from mlembed.training import (
    Binary,
    ByCapacity,
    Checks,
    Gates,
    GroupSplit,
    Interval,
    Leakage,
    Multiclass,
    TimeSplit,
    Tuning,
    lowering,
)
from training.orders import RANDOM, declare, declare_weight, orders


class Certain(LogisticRegression):  # type: ignore[misc]  # scikit-learn has no types
    """An estimator of a user's own, whose decision function has no graph."""


lowering.register(Certain)(lowering.family_of(LogisticRegression()).lower)

BINARY: list[tuple[dict[str, Any], str]] = [
    ({"name": "No Name"}, "the name must match"),
    ({"version": "1"}, "the version must be major.minor.patch"),
    ({"folds": 0}, "folds must be a whole number of at least 1"),
    ({"folds": 2.0}, "folds must be a whole number of at least 1"),
    ({"folds": True}, "folds must be a whole number of at least 1"),
    ({"seed": -1}, "the seed must be a whole number from 0"),
    ({"seed": 1 << 32}, "the seed must be a whole number from 0"),
    ({"seed": None}, "the seed must be a whole number from 0"),
    ({"settling_share": 0}, "settling_share must lie between 0 and 1"),
    ({"settling_share": "a fifth"}, "settling_share must lie between 0 and 1"),
    ({"slices": ["colour"]}, r"slices names \['colour'\], which are no columns"),
    ({"baseline": "colour"}, "the baseline 'colour' is no column of the record"),
    ({"baseline": "channel"}, "the baseline 'channel' is a category, expected a number"),
    ({"baseline": "placed"}, "the baseline 'placed' is a timestamp, expected a number"),
    ({"leakage": Leakage(absent=["colour"])}, r"Leakage\(absent=\.\.\.\) names \['colour'\]"),
    ({"leakage": Leakage(known_at={"colour": "t"})}, r"known_at=\.\.\.\) names \['colour'\]"),
    (
        {"leakage": Leakage(known_at={"days": "t"}), "split": GroupSplit("customer")},
        r"Leakage\(known_at=\.\.\.\) needs the moment of each prediction: hold .+ by TimeSplit",
    ),
    ({"checks": Checks(max_missing={"colour": 0.1})}, r"max_missing=\.\.\.\) names \['colour'\]"),
    ({"metric": "mae"}, r"metric 'mae' does not suit a binary label; (?!.*\b(ece|recall)\b)"),
    (
        {"metric": "ece"},
        r"nothing can be chosen by metric 'ece': .+ log_loss, .+Gates\(calibration",
    ),
    ({"metric": "recall"}, r"nothing can be chosen by metric 'recall': .+ f1, .+ByRecall\(\)"),
    ({"label": Binary("member", positive="yes")}, "the label 'member' is a column of the record"),
    ({"entity": "returned"}, "the entity 'returned' is the label"),
    ({"abstain": (0.9, 0.1)}, "abstain must be a band"),
    ({"abstain": (0.1,)}, "abstain must be a band"),
    ({"abstain": 0.5}, "abstain must be a band"),
    ({"abstain": (0.1, float("nan"))}, "abstain must be a band"),
    ({"calibration": "platt"}, "calibration must be one of sigmoid, isotonic, temperature, or"),
    ({"threshold": 0.3}, r"threshold must be a rule, .+ belongs into Binary\('returned'"),
    (
        {
            "threshold": ByCapacity(share=0.1),
            "label": Binary("returned", positive="yes", threshold=0.3),
        },
        "threshold names a rule and the label a threshold of its own",
    ),
    ({"interval": Interval(0.9)}, "a binary label has no interval"),
    ({"interval": 0.9}, "interval must be an Interval"),
    ({"candidates": []}, "name at least one candidate"),
    ({"candidates": LogisticRegression()}, "candidates must be a list of estimators"),
    ({"candidates": [LogisticRegression]}, r"LogisticRegression is a class, expected LogisticReg"),
    ({"candidates": ["linear"]}, "a str is no estimator"),
    ({"candidates": [Ridge()]}, "Ridge is no classifier, which a binary label needs"),
    (
        {"candidates": [IsolationForest()], "calibration": "sigmoid"},
        "IsolationForest has no probabilities that could be calibrated",
    ),
    (
        {"candidates": [Certain()], "calibration": "sigmoid"},
        r"calibration='sigmoid': .+ calibrates the decision function of .+Certain",
    ),
    ({"tuning": Tuning(spaces={"Ridge": {"alpha": (0.1, 1.0)}})}, "Ridge"),
]
KINDS: list[tuple[dict[str, Any], str]] = [
    ({"name": 7}, "name must be a text"),
    ({"record": dict}, r"record must be a subclass of mlembed\.Record"),
    ({"label": "returned"}, r"label must be Binary\(\.\.\.\), Multiclass"),
    ({"split": "time"}, r"split must be TimeSplit\(\.\.\.\), .+, or None"),
    ({"split": TimeSplit}, "split must be TimeSplit"),
    ({"transforms": {"log_total": None}}, "transforms must be a mapping of names to transforms"),
    ({"transforms": ["log_total"]}, "transforms must be a mapping"),
    ({"features": "total"}, "features must be a list of names"),
    ({"features": np.array("total")}, "features must be a list of names, or None"),
    ({"features": {"total"}}, "features must be a list of names, or None"),
    ({"slices": "channel"}, "slices must be a list of names"),
    ({"slices": None}, "slices must be a list of names"),
    ({"cleaning": None}, r"cleaning must be Cleaning\(\.\.\.\)"),
    ({"checks": None}, r"checks must be Checks\(\.\.\.\)"),
    ({"leakage": "drop"}, r"leakage must be Leakage\(\.\.\.\)"),
    ({"gates": {"floor": 1}}, r"gates must be Gates\(\.\.\.\)"),
    ({"gates": Gates}, r"gates must be Gates\(\.\.\.\)"),
    ({"tuning": 5}, r"tuning must be Tuning\(\.\.\.\), or None"),
    ({"threshold": ByCapacity}, r"threshold must be a rule, such as ByCost\(\.\.\.\)"),
    ({"metric": 5}, "metric must be a text"),
    ({"baseline": 5}, "baseline must be a text"),
    ({"entity": None}, "entity must be a text"),
    ({"version": 1}, "version must be a text"),
    ({"split": 1, "checks": 1, "gates": 1}, r"split must .+; checks must .+; gates must"),
]
WEIGHT: list[tuple[dict[str, Any], str]] = [
    ({"calibration": "sigmoid"}, r"a regression label is not calibrated; Interval\(\.\.\.\) tells"),
    ({"threshold": ByCapacity(share=0.1)}, "a regression label has no threshold"),
    ({"abstain": (0.1, 0.2)}, "a regression label has no band to abstain in"),
    ({"gates": Gates(calibration_error=0.1)}, "a regression label has no calibration error"),
    ({"candidates": [LogisticRegression()]}, "LogisticRegression is no regressor"),
]
CLASSES: list[tuple[dict[str, Any], str]] = [
    ({"baseline": "total"}, "a label of several classes has no column as a baseline"),
    ({"threshold": ByCapacity(share=0.1)}, "a multiclass label has no threshold"),
    ({"interval": Interval(0.9)}, "a multiclass label has no interval"),
    ({"candidates": [IsolationForest()]}, "IsolationForest is no classifier"),
]


@pytest.mark.parametrize(("changes", "words"), BINARY)
def test_trainer_of_two_classes_refuses(changes: dict[str, Any], words: str) -> None:
    """What cannot be trained, settled, judged or served is refused where it is declared."""
    with pytest.raises(DeclarationError, match=rf"^Trainer '.+': .*{words}"):
        declare(**changes)


@pytest.mark.parametrize(("changes", "words"), KINDS)
def test_trainer_refuses_parts_of_another_kind(changes: dict[str, Any], words: str) -> None:
    """A part that is no such thing is named with what it must be, before it is asked anything."""
    with pytest.raises(DeclarationError, match=rf"^Trainer '.+': .*{words}"):
        declare(**changes)


@pytest.mark.parametrize(("changes", "words"), WEIGHT)
def test_trainer_of_a_quantity_refuses(changes: dict[str, Any], words: str) -> None:
    """A quantity has no classes, so nothing of classes is declared with it."""
    with pytest.raises(DeclarationError, match=words):
        declare_weight(**changes)


@pytest.mark.parametrize(("changes", "words"), CLASSES)
def test_trainer_of_several_classes_refuses(changes: dict[str, Any], words: str) -> None:
    """Several classes have no single score, so nothing of one is declared with them."""
    with pytest.raises(DeclarationError, match=words):
        declare(label=Multiclass("channel_after"), **changes)


def test_trainer_lists_all_that_is_wrong() -> None:
    """One message holds every problem, so that nobody corrects them one at a time."""
    with pytest.raises(DeclarationError) as caught:
        declare(name="No Name", folds=0, baseline="colour", calibration="platt", candidates=[])

    assert str(caught.value).count(";") == 4


def test_trainer_takes_what_makes_sense() -> None:
    """Every part of a declaration at once, each fit for the others, is taken."""
    declared = declare(
        baseline="days",
        entity="customer",
        slices=["channel"],
        abstain=(0.4, 0.6),
        calibration="isotonic",
        threshold=ByCapacity(rows=5, per=100),
        gates=Gates(floor=0.5, calibration_error=0.1),
        leakage=Leakage(absent=["days"], known_at={"total": "loss"}),
    )

    assert set(declared.extra) == {"placed", "customer", "loss"}
    assert declare(candidates=[IsolationForest()]).metric == "roc_auc"
    assert declare_weight(baseline="total", interval=Interval(0.8), split=RANDOM).interval


def test_trainer_calibrates_what_computes_in_float32_by_smooth_methods() -> None:
    """Of XGBoost no isotonic calibration could be proved; LightGBM computes in doubles."""
    steep = [pytest.importorskip("xgboost").XGBClassifier()]
    exact = [pytest.importorskip("lightgbm").LGBMClassifier()]

    with pytest.raises(DeclarationError, match=r"calibration='isotonic': .+float32.+'sigmoid' or"):
        declare(candidates=steep, calibration="isotonic")

    assert declare(candidates=steep, calibration="sigmoid").calibration
    assert declare(candidates=steep, calibration="temperature").calibration
    assert declare(candidates=exact, calibration="isotonic").calibration


def test_trainer_refuses_a_candidate_in_its_own_words() -> None:
    """What cannot be served as it is is refused for that, calibrated or not."""
    with pytest.raises(LoweringError, match="which of several rows at one distance are neighbours"):
        declare(candidates=[KNeighborsClassifier()], calibration="sigmoid")


@pytest.mark.parametrize(
    "made", [pd.Index, np.array, dict.fromkeys], ids=["frame", "array", "keys"]
)
def test_trainer_takes_names_as_they_come(made: Any) -> None:
    """The columns of a frame are names in an order, as a list of them is."""
    made_of = made(["total", "channel"])
    names = made_of.keys() if isinstance(made_of, dict) else made_of

    bundle = declare(features=names, slices=names).train(orders(600)).bundle

    assert list(bundle.manifest.features) == ["total", "channel"]
