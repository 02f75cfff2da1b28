"""A label of several classes goes the whole way: trained, proved, served, logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression

import mlembed
from mlembed.errors import DataError, DeclarationError
from mlembed.serving.encoder import Encoder
from mlembed.serving.session import Session
from mlembed.serving.tables import encode_columns
from mlembed.testing import InMemoryRegistry
from mlembed.training import Interval, Leakage, Multiclass, RandomSplit, Trainer
from mlembed.training.fitting import scores_of

if TYPE_CHECKING:
    from mlembed.settings import Settings

KINDS = np.array(["bus", "tram", "walk"], dtype=object)


class Trip(mlembed.Record):
    """One way to work."""

    km: float
    rain: bool
    ticket: Literal["none", "month", "year"]
    luggage: float | None = None


def trips(n: int, seed: int = 0) -> dict[str, Any]:
    """Return columns of *n* trips and the label `how`."""
    random = np.random.default_rng(seed)
    km, rain = random.lognormal(1, 0.7, n), random.random(n) < 0.3
    ticket = random.choice(["none", "month", "year"], n)
    luggage = np.where(random.random(n) < 0.3, np.nan, random.uniform(0, 20, n))
    far = km + 2 * rain + np.nan_to_num(luggage) / 10 + random.normal(0, 0.7, n)
    how = np.where(far < 2.5, 2, np.where((ticket == "year") | (far > 6), 1, 0))
    return {
        "km": km,
        "rain": rain,
        "ticket": ticket.astype(object),
        "luggage": luggage,
        "how": KINDS[how],
    }


def trainer(**changes: Any) -> Trainer:
    """Return a declaration, with *changes*."""
    declared: dict[str, Any] = {
        "name": "trips",
        "record": Trip,
        "label": Multiclass("how"),
        "candidates": [
            HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=20)
        ],
        "split": RandomSplit(test=0.25, reason="trips are independent"),
    }
    return Trainer(**{**declared, **changes})


@pytest.mark.parametrize(
    "candidate",
    [
        HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=15),
        LogisticRegression(max_iter=1000),
        RandomForestClassifier(20),
        ExtraTreesClassifier(20),
    ],
    ids=lambda item: type(item).__name__,
)
@pytest.mark.parametrize("calibration", [None, "sigmoid", "isotonic", "temperature"])
def test_several_classes_are_served_as_they_were_fitted(
    candidate: Any, calibration: Any, settings: Settings
) -> None:
    """A host gets the estimator's own probability of every class, calibrated or not."""
    made = trainer(candidates=[candidate], calibration=calibration).train(trips(1500))
    registry = InMemoryRegistry()
    registry.publish(made.bundle)
    unseen = {name: trips(300, seed=5)[name] for name in Trip.model_fields}

    batch = mlembed.load("trips", registry=registry, settings=settings).predict_batch(unseen)

    fitted = made.fitted
    x, _ = encode_columns(Encoder("test", fitted.columns), unseen)
    own = scores_of(fitted.estimator, Session(fitted.features_model).run_matrix(x))
    assert batch.probabilities is not None
    assert np.abs(batch.probabilities - own).max() <= 1e-9
    assert batch.labels == [KINDS[place] for place in own.argmax(axis=1)]


def test_several_classes_are_measured_and_kept() -> None:
    """The bundle knows its classes, its metrics with intervals, and how the label is spread."""
    made = trainer().train(trips(1500))

    task = made.bundle.manifest.task
    assert (task.kind, task.classes) == ("multiclass", ("bus", "tram", "walk"))
    assert made.metrics["error"] < 0.35
    assert made.evaluation["intervals"]["error"][0] <= made.metrics["error"]
    assert made.contest["prior (baseline)"] > made.contest["HistGradientBoostingClassifier"]
    assert "(label)" in made.bundle.json("reference.json")["columns"]
    assert "how" in made.bundle.files["card.md"].decode()


def test_several_classes_of_another_table_are_those_learnt() -> None:
    """A table to measure on is read with the classes of the training table, one lacking or not."""
    test = {name: values[:200] for name, values in trips(400, seed=3).items()}
    some = test["how"] != "walk"

    made = trainer().train(trips(800), test={name: values[some] for name, values in test.items()})

    assert made.n_test == int(some.sum())
    assert made.bundle.manifest.task.classes == ("bus", "tram", "walk")


def test_several_refuse_two_classes() -> None:
    """Two classes are a binary label, and the message says so."""
    table = trips(400)
    kept = table["how"] != "tram"

    with pytest.raises(DataError, match="declare Binary"):
        trainer().train({name: values[kept] for name, values in table.items()})


def test_several_refuse_a_side_without_a_class() -> None:
    """A class with too few rows to be in every fold is named, with the remedy."""
    table = trips(400)
    table["how"][:2] = "boat"

    with pytest.raises(DataError, match=r"no row of class 'boat'.*join rare classes"):
        trainer().train(table)


def test_several_find_a_column_that_knows_one_class() -> None:
    """A leak that gives one class away is found among the others, and told once."""
    table = trips(1200)

    class Told(Trip):
        stop: bool

    table["stop"] = table["how"] == "tram"
    made = trainer(record=Told, leakage=Leakage(action="drop")).train(table)

    found = [leak["column"] for leak in made.evaluation["leakage"]]
    assert set(found) == {"stop"}
    assert "stop" not in made.bundle.manifest.features


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metric": "roc_auc"}, "does not suit a multiclass label; expected one of error"),
        ({"interval": Interval()}, "multiclass label has no interval"),
    ],
)
def test_several_refuse_what_needs_one_score(changes: dict[str, Any], words: str) -> None:
    """What makes sense for one score alone is refused where it is declared."""
    with pytest.raises(DeclarationError, match=words):
        trainer(**changes)
