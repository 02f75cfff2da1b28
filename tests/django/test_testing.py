"""What a site uses in its tests stands in for models, and leaves no trace."""

from __future__ import annotations

import asyncio
import contextlib
import unittest
from typing import TYPE_CHECKING, Any

import pytest
from django.test import SimpleTestCase, override_settings

import mlembed
from bundles import RECORD, toy_table
from mlembed.errors import NotFoundError, RegistryError, SchemaError
from mlembed_crm import Rule, rises_above, score_at_least
from mlembed_django.conf import UndeclaredModelError, get_model, site
from mlembed_django.models import Delivery, Outcome, Prediction
from mlembed_django.testing import (
    assertActionQueued,
    assertNoActionQueued,
    capture_actions,
    capture_predictions,
    override_model,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.serving.prediction import Prediction as Answer


@pytest.fixture
def nowhere(declared: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Set MLEMBED to a registry that is not there, with two models of one name in it."""
    models = {
        "toy": "toy@champion",
        "rival": "toy@challenger",
        "safe": {"REF": "x", "FALLBACK": 0.25},
    }
    setting = {**declared, "REGISTRY": "/nowhere", "MODELS": models}
    with override_settings(MLEMBED=setting):
        yield setting


@pytest.mark.usefixtures("nowhere")
def test_override_goes_by_the_sites_name() -> None:
    """Only what the site calls so is overridden, though another is the same model's other version."""
    with override_model("toy", returns=0.7, label=True), override_model("rival", returns=0.2):
        toy, rival = (get_model(name).predict(RECORD) for name in ("toy", "rival"))

    assert (toy.score, toy.label, toy.model, toy.version) == (0.7, True, "toy", "override")
    assert (rival.score, rival.label, rival.model) == (0.2, None, "toy")


@pytest.mark.usefixtures("nowhere")
def test_override_ends_with_its_block() -> None:
    """After it the model behind answers again, or fails again; the innermost answers inside."""
    model = get_model("toy")
    with override_model("toy", returns=0.7):
        with override_model("toy", returns=0.1):
            inner = model.predict(None).score
        outer = model.predict({}).score

    assert (inner, outer) == (0.1, 0.7)
    with pytest.raises(NotFoundError):
        model.predict(RECORD)


@pytest.mark.usefixtures("nowhere")
def test_override_and_that_of_the_library_are_one_stack() -> None:
    """The library's own override goes by the registry's name; whichever is innermost answers."""
    with mlembed.testing.override_model("toy", returns=0.3):
        with override_model("toy", returns=0.7):
            ours = get_model("toy").predict({}).score
        with (
            override_model("rival", returns=0.7),
            mlembed.testing.override_model("toy", returns=0.4),
        ):
            theirs = get_model("rival").predict({}).score

    assert (ours, theirs) == (0.7, 0.4)


def test_override_answers_in_a_setting_that_is_overridden_inside(nowhere: dict[str, Any]) -> None:
    """An overridden setting makes new models, and they are overridden as well."""
    with (
        override_model("toy", returns=0.7),
        override_settings(MLEMBED={**nowhere, "POLL_SECONDS": 9}),
    ):
        assert get_model("toy").predict({}).score == 0.7


@pytest.mark.usefixtures("nowhere")
def test_override_fails_as_the_test_says() -> None:
    """What it raises reaches the caller, unless the site named a fallback."""
    with override_model("toy", raises=SchemaError("toy", ("no",))), pytest.raises(SchemaError):
        get_model("toy").predict(RECORD)
    with override_model("safe", raises=TimeoutError("late")):
        prediction = get_model("safe").predict(RECORD)

    assert (prediction.score, prediction.reason) == (0.25, "fallback")


@pytest.mark.usefixtures("nowhere")
async def test_override_answers_batches_and_coroutines() -> None:
    """Every way of asking is overridden."""
    with override_model("toy", returns=0.7):
        batch = get_model("toy").predict_batch(toy_table(3))
        prediction = await get_model("toy").apredict(RECORD)

    assert batch.scores.tolist() == [0.7] * 3
    assert prediction.score == 0.7


@pytest.mark.usefixtures("nowhere")
def test_override_decorates_functions_coroutines_and_classes() -> None:
    """It is a decorator of what Django's own are, again and again."""

    @override_model("toy", returns=0.7)
    def score() -> float:
        return get_model("toy").predict({}).score

    @override_model("toy", returns=0.6)
    async def ascore() -> float:
        return (await get_model("toy").apredict({})).score

    @override_model("toy", returns=0.5)
    @capture_predictions(attr_name="made")
    class Scoring(SimpleTestCase):
        made: list[Answer]

        def test_score(self) -> None:
            self.assertEqual(get_model("toy").predict({}).score, 0.5)  # noqa: PT009  it is unittest's
            self.assertEqual(len(self.made), 1)  # noqa: PT009  idem

        async def test_ascore(self) -> None:
            await self.async_client.get("/")
            self.assertEqual((await get_model("toy").apredict({})).score, 0.5)  # noqa: PT009  idem

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Scoring).run(result)

    assert [score(), score(), asyncio.run(ascore())] == [0.7, 0.7, 0.6]
    assert (result.testsRun, result.errors, result.failures) == (2, [], [])
    with pytest.raises(NotFoundError):
        get_model("toy").predict({})


@pytest.mark.usefixtures("nowhere")
def test_override_names_what_is_declared() -> None:
    """A misspelt name is told when the override begins, with the one that was meant."""
    with (
        pytest.raises(UndeclaredModelError, match=r"Did you mean 'rival'\?"),
        override_model("rivl"),
    ):
        pass


@pytest.mark.usefixtures("nowhere")
def test_capture_predictions_begins_anew_each_time() -> None:
    """Each block has its own list, of all models."""
    capture = capture_predictions()
    with override_model("toy", returns=0.7), override_model("rival", returns=0.2):
        with capture as first:
            get_model("toy").predict({}, key="a")
            with capture as second:
                get_model("rival").predict({}, key="b")
        get_model("toy").predict({}, key="c")

    assert [prediction.key for prediction in first] == ["a", "b"]
    assert [prediction.key for prediction in second] == ["b"]


@pytest.mark.parametrize(
    "location", ["https://models.example/", "oci://models.example/x", "s3://models/x"]
)
def test_a_registry_on_the_network_is_refused(declared: dict[str, Any], location: str) -> None:
    """A test that forgot its override is told so, and waits for nothing."""
    with (
        override_settings(MLEMBED={**declared, "REGISTRY": location}),
        pytest.raises(RegistryError, match=r"Put mlembed_django\.testing\.override_model around"),
    ):
        get_model("toy").predict(RECORD)


BAD: Any = {1: 2}
RULES = [
    Rule("call", model="toy", when=rises_above(0.8), destination="crm", payload={"list": "A"}),
    Rule("warn", model="toy", when=score_at_least(0.95), destination="desk", payload=lambda _: BAD),
]


@pytest.fixture
def acting(nowhere: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Let the site act by RULES."""
    setting = {**nowhere, "ACTIONS": f"{__name__}.RULES"}
    with override_settings(MLEMBED=setting):
        yield setting


def score(value: float, key: str = "17") -> None:
    """Let `toy` answer *value* for *key*."""
    with override_model("toy", returns=value):
        get_model("toy").predict({}, key=key)


@pytest.mark.usefixtures("acting")
def test_capture_actions_follows_crossings() -> None:
    """A rule acts once an entity until its score went back, and begins anew in each block."""
    with capture_actions() as actions:
        for value in (0.9, 0.91, 0.1, 0.92):
            score(value)
        score(0.9, key="18")
    with capture_actions() as anew:
        score(0.9)

    assert [(action.key, action.score) for action in actions] == [
        ("17", 0.9),
        ("17", 0.92),
        ("18", 0.9),
    ]
    assert [action.key for action in anew] == ["17"]


@pytest.mark.usefixtures("acting")
def test_capture_actions_sees_batches() -> None:
    """Rows of a batch act under their keys; keys that are too few are left out, as in the site."""
    with capture_actions() as actions, override_model("toy", returns=0.9):
        get_model("toy").predict_batch(toy_table(3), keys=[1, 2, 2])
        get_model("toy").predict_batch(toy_table(3), keys=[7])

    assert [action.key for action in actions] == ["1", "2"]
    assert "/" in actions[0].prediction_id


@pytest.mark.usefixtures("acting")
def test_capture_actions_tells_what_cannot_be_queued() -> None:
    """A payload that is no JSON costs the prediction nothing, and fails the test that asserts it."""
    with capture_actions() as actions:
        score(0.99)

        with pytest.raises(AssertionError, match="rule='warn' failed: PayloadError"):
            assertActionQueued(rule="warn")
        with pytest.raises(AssertionError, match="rule='warn' failed"):
            assertNoActionQueued(rule="warn")
        assertNoActionQueued(rule="write")

    assert [name for name, _ in actions.failed] == ["warn"]
    assertActionQueued(actions, rule="call")


def test_capture_actions_follows_an_overridden_setting(acting: dict[str, Any]) -> None:
    """Inside the block another setting acts by its own rules, and is captured too."""
    get_model("toy")
    with capture_actions() as actions:
        with override_settings(MLEMBED={**acting, "ACTIONS": None}):
            score(0.9, key="a")
        with override_settings(MLEMBED={**acting, "POLL_SECONDS": 9}):
            score(0.9, key="b")
        with override_settings(MLEMBED={"malformed": True}):
            pass
        score(0.9, key="c")

    assert [action.key for action in actions] == ["b", "c"]
    assert get_model("toy").journal is site().journal


@pytest.mark.usefixtures("acting")
def test_capture_actions_nests_and_ends_after_a_failure() -> None:
    """The innermost block captures, and after each the one before goes on."""
    before = get_model("toy").journal
    with capture_actions() as outer:
        with contextlib.suppress(ZeroDivisionError), capture_actions() as inner:
            score(0.9, key="a")
            raise ZeroDivisionError
        score(0.9, key="b")

    assert [[action.key for action in each] for each in (outer, inner)] == [["b"], ["a"]]
    assert get_model("toy").journal is before


@pytest.mark.usefixtures("acting")
def test_assertions_say_what_there_is() -> None:
    """A failed assertion shows what was asked for and all that is queued."""
    with capture_actions():
        with pytest.raises(AssertionError, match="There is none"):
            assertActionQueued()
        score(0.9)
        with pytest.raises(AssertionError) as raised:
            assertActionQueued(rule="call", payload={"list": "B"})
        action = assertActionQueued(rule="call", key=17, destination="crm", payload={"list": "A"})

    assert str(raised.value) == (
        "no action with rule='call', payload={'list': 'B'} is queued. There are 1:\n"
        "  rule='call' key='17' destination='crm' score=0.9 payload={'list': 'A'}"
    )
    assert action.model == "toy"


@pytest.mark.usefixtures("acting", "db")
def test_assertions_read_the_outbox_where_nothing_is_captured() -> None:
    """With a database and no open block, what the outbox holds is asserted."""
    assertNoActionQueued()
    score(0.9)

    assert assertActionQueued(rule="call", key="17").payload == {"list": "A"}


@pytest.mark.usefixtures("db")
def test_capture_actions_leaves_what_the_database_keeps(acting: dict[str, Any]) -> None:
    """Predictions, batches and outcomes are kept as ever while actions are captured."""
    with override_settings(MLEMBED={**acting, "DATABASE": {}}), capture_actions() as actions:
        score(0.9)
        with override_model("toy", returns=0.9):
            get_model("toy").predict_batch(toy_table(3), keys=[1, 2, 3])
            get_model("toy").outcome(key="17", value=True)
        journal: Any = get_model("toy").journal
        assert journal.flush()
        journal.close()

    assert (Prediction.objects.count(), Outcome.objects.count()) == (4, 1)
    assert (Delivery.objects.count(), len(actions)) == (0, 4)
