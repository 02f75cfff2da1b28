"""What came of actions, as the prediction log tells it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

import mlembed
from bundles import RECORD, toy_bundle
from mlembed_crm import Rule, every_score
from mlembed_crm.effect.outcomes import lookup
from mlembed_crm.replaying import logged, outcomes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlembed import Model
    from mlembed.registry.file import FileRegistry
    from mlembed.settings import Settings
    from mlembed_crm import Action

    Find = Callable[[Action], Any]


@pytest.fixture
def models(registry: FileRegistry, settings: Settings) -> Iterator[list[Model]]:
    """Load two models that predict for the same entities into the same log."""
    registry.publish(toy_bundle("other"))
    registry.promote("other", "champion", "1.0.0")
    loaded = [
        mlembed.load(f"{name}@champion", registry=registry, settings=settings)
        for name in ("toy", "other")
    ]
    yield loaded
    for model in loaded:
        model.close()


def acting(model: Model, key: str | None = "c-1") -> Action:
    """Return the action on a new prediction."""
    prediction = model.predict(RECORD, key=key)
    return Rule("r", prediction.model, every_score(), "d").action(prediction)


def reading(models: list[Model], settings: Settings, positive: str = "") -> Find:
    """Return what finds outcomes in the log."""
    for model in models:
        model.flush()
    return lookup(outcomes_of(logged(settings.log_dir, ["toy", "other"], None), positive))


@pytest.mark.parametrize("key", ["", "c-1"], ids=["by the id alone", "by both"])
def test_outcome_of_a_later_prediction_is_its_entitys(
    models: list[Model], settings: Settings, key: str
) -> None:
    """A business system holds the id of the newest prediction; the action was on one before."""
    (model, other) = models
    acted, stranger = acting(model), acting(model, "c-2")
    later = model.predict(RECORD, key="c-1")
    model.outcome(later.id, True, key=key)  # noqa: FBT003  the label itself
    acting(other)

    find = reading(models, settings)

    assert (find(acted), find(stranger)) == (True, None)


def test_outcome_is_of_its_model_alone(models: list[Model], settings: Settings) -> None:
    """Another that predicts for the same entities has outcomes of its own."""
    actions = [acting(model) for model in models]
    models[0].outcome(key="c-1", value=3.5)

    find = reading(models, settings)

    assert [find(action) for action in actions] == [3.5, None]


def test_outcome_from_before_the_action_did_not_come_of_it(
    models: list[Model], settings: Settings
) -> None:
    """Not even where it was reported after, unless it names the action's own prediction."""
    (model, other) = models
    early, own, late = (acting(model, f"c-{place}") for place in range(3))
    acting(other)
    moment = dt.datetime.fromtimestamp(early.created, dt.UTC) - dt.timedelta(days=1)
    model.outcome(key="c-0", value=1.0, observed_at=moment)
    model.outcome(own.prediction_id, 2.0, key="c-1", observed_at=moment)
    model.outcome(key="c-2", value=3.0, revision=1)
    model.outcome(key="c-2", value=4.0, observed_at=moment, revision=2)

    find = reading(models, settings)

    assert [find(action) for action in (early, own, late)] == [None, 2.0, 3.0]


def test_class_is_an_outcome_where_one_is_positive(models: list[Model], settings: Settings) -> None:
    """A name has no mean; whether it is the one that counts has."""
    (model, other) = models
    won, lost = acting(model, "c-1"), acting(model, "c-2")
    acting(other)
    model.outcome(key="c-1", value="won")
    model.outcome(key="c-2", value="lost")

    named, counted = reading(models, settings), reading(models, settings, "won")

    assert [named(won), named(lost)] == [None, None]
    assert [counted(won), counted(lost)] == [True, False]
