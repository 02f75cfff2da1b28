"""An outcome is logged so that it can be joined, or refused where it could not be."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import mlembed
from bundles import RECORD, toy_table
from mlembed.errors import OutcomeError
from serving.logs import events

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry


@pytest.fixture
def model(registry: FileRegistry, settings: mlembed.Settings) -> mlembed.Model:
    """Return the toy model."""
    return mlembed.load("toy", registry=registry, settings=settings)


def logged(model: mlembed.Model) -> list[dict[str, Any]]:
    """Return the outcomes in the log, without the model's name."""
    model.flush()
    found = events(model.settings.log_dir, "mlembed.outcome")
    assert all(event.pop("mlembed.model.name") == "toy" for event in found)
    return [{name.removeprefix("mlembed."): v for name, v in e.items() if v} for e in found]


def test_outcome_by_id(model: mlembed.Model) -> None:
    """The id of a prediction joins its outcome to the logged prediction."""
    prediction = model.predict(RECORD)

    model.outcome(prediction.id, True)  # noqa: FBT003  the truth itself

    assert logged(model) == [
        {"prediction.id": prediction.id, "outcome.value": True, "outcome.revision": "0"}
    ]
    (event,) = events(model.settings.log_dir)
    assert event["mlembed.prediction.id"] == prediction.id


def test_outcome_by_the_id_of_a_row(model: mlembed.Model) -> None:
    """Each row of a batch has an id that names its event and its place in it."""
    batch = model.predict_batch(toy_table(300))

    model.outcome(batch.ids[-1], 1)

    event, place = logged(model)[0]["prediction.id"].split("/")
    found = {e["mlembed.prediction.id"]: e for e in events(model.settings.log_dir)}
    assert found[event]["body"]["y"]["score"][int(place)] == batch.scores[-1]


def test_outcome_by_key(model: mlembed.Model) -> None:
    """A key joins where the id was not kept; keys are text on both sides."""
    model.predict(RECORD, key=7)  # type: ignore[arg-type]  # a host's primary key
    model.outcome(key=7, value=0.5, revision=2)  # type: ignore[arg-type]  # the same

    (event,) = logged(model)
    assert event == {"prediction.key": "7", "outcome.value": 0.5, "outcome.revision": "2"}
    assert events(model.settings.log_dir)[0]["mlembed.prediction.key"] == "7"


def test_outcome_says_when(model: mlembed.Model) -> None:
    """The moment it happened is logged in nanoseconds, in whatever zone it was told."""
    moment = dt.datetime(2026, 3, 4, 13, tzinfo=dt.timezone(dt.timedelta(hours=1)))

    model.outcome("id", 1, observed_at=moment)

    assert logged(model)[0]["outcome.observed_at"] == "1772625600000000000"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, True),
        (np.True_, True),
        (1, 1.0),
        (np.int64(3), 3.0),
        (decimal.Decimal("0.5"), 0.5),
        (fractions.Fraction(1, 4), 0.25),
        (">50K", ">50K"),
        (np.str_("yes"), "yes"),
    ],
)
def test_outcome_takes_bools_numbers_and_classes(
    model: mlembed.Model, value: Any, written: Any
) -> None:
    """A flag stays a flag and a class stays text; every number is a double."""
    model.outcome("id", value)

    assert logged(model)[0]["outcome.value"] == written


@pytest.mark.parametrize(
    "value",
    [
        *(None, math.nan, math.inf, np.float32("nan"), decimal.Decimal("NaN"), 10**400, ""),
        *(pd.NA, pd.NaT, [], [1], object(), dt.datetime.now(dt.UTC), 1j),
    ],
)
def test_outcome_refuses_what_says_nothing(model: mlembed.Model, value: Any) -> None:
    """A missing truth, or what is none, is refused and not logged."""
    with pytest.raises(
        OutcomeError, match="outcome of 'toy': expected a bool, a number or a class"
    ):
        model.outcome("id", value)

    assert logged(model) == []


def test_outcome_refuses_what_cannot_be_joined(model: mlembed.Model) -> None:
    """Without an id and a key an outcome belongs to nothing."""
    for identity, key in (("", ""), (None, None)):
        with pytest.raises(OutcomeError, match="give the prediction's id, or its key"):
            model.outcome(identity, 1, key=key)  # type: ignore[arg-type]  # None from a database


def test_outcome_refuses_a_naive_time(model: mlembed.Model) -> None:
    """A moment without a zone is never guessed."""
    with pytest.raises(OutcomeError, match="observed_at needs a time zone"):
        model.outcome("id", 1, observed_at=dt.datetime(2026, 3, 4))  # noqa: DTZ001  refused


def test_outcome_needs_no_loaded_model(settings: mlembed.Settings) -> None:
    """A worker that only reports outcomes never loads the model."""
    model = mlembed.load("toy", registry="/nowhere", settings=settings)

    model.outcome("id", 1)

    assert logged(model)[0]["outcome.value"] == 1.0
    assert model.state == "NOT_READY"
