"""What hosts use in their tests stands in for the real thing, and leaves no trace."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import mlembed
from bundles import RECORD, toy_bundle, toy_table
from mlembed.errors import InferenceError, NotFoundError, SchemaError
from mlembed.registry.pointer import Ref
from mlembed.testing import InMemoryRegistry, capture_predictions, override_model

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry


@pytest.fixture
def model(registry: FileRegistry, settings: mlembed.Settings) -> mlembed.Model:
    """Return the toy model."""
    return mlembed.load("toy", registry=registry, settings=settings)


def test_override_model_answers_without_a_registry(settings: mlembed.Settings) -> None:
    """Inside the block every model of the name answers what the test says, loaded or not."""
    before = mlembed.load("toy", registry="/nowhere", settings=settings)

    with override_model("toy", returns=0.7, label=True):
        within = mlembed.load("toy@1.0.0", registry="/nowhere", settings=settings)
        answers = [before.predict({}), within.predict(None), asyncio.run(before.apredict({}))]

    assert [(a.score, a.label, a.reason, a.version) for a in answers] == [
        (0.7, True, "ok", "override")
    ] * 3
    for model in (before, within):
        with pytest.raises(NotFoundError):
            model.predict(RECORD)


def test_override_model_leaves_other_models_alone(model: mlembed.Model) -> None:
    """Only the named model is overridden."""
    real = model.predict(RECORD).score

    with override_model("toys", returns=0.7):
        assert model.predict(RECORD).score == real


def test_override_model_answers_tables(model: mlembed.Model) -> None:
    """A table gets the same answer for each record."""
    with override_model("toy", returns=0.7, label=False):
        batch = model.predict_batch(toy_table(5))

    assert batch.scores.tolist() == [0.7] * 5
    assert (batch.labels, batch.version) == ([False] * 5, "override")
    assert model.predict_batch(toy_table(5)).version == "1.0.0"


def test_override_model_ends_with_the_version_that_served(
    model: mlembed.Model, registry: FileRegistry
) -> None:
    """After the block the loaded version answers again, even where its registry is gone."""
    real = model.predict(RECORD).score
    (registry.root / "toy" / "aliases" / "champion.json").unlink()

    with override_model("toy", returns=0.7):
        pass

    assert model.predict(RECORD).score == real


def test_override_model_is_not_replaced_by_a_promotion(
    model: mlembed.Model, registry: FileRegistry
) -> None:
    """A promotion inside the block comes into service behind the override."""
    model.predict(RECORD)
    with override_model("toy", returns=0.7):
        registry.publish(toy_bundle(version="1.1.0", shift=1.0))
        registry.promote("toy", "champion", "1.1.0")
        promoted = model.refresh()
        answer = model.predict(RECORD)

    assert promoted
    assert (answer.score, answer.version) == (0.7, "override")
    assert model.predict(RECORD).version == "1.1.0"


def test_override_model_nests(model: mlembed.Model) -> None:
    """The innermost override answers, and the outer one again after it."""
    override = override_model("toy", returns=0.1)
    with override, override_model("toy", returns=0.2):
        inner = model.predict(RECORD).score
        with override:
            again = model.predict(RECORD).score
        after = model.predict(RECORD).score

    assert (inner, again, after) == (0.2, 0.1, 0.2)
    assert model.predict(RECORD).version == "1.0.0"


def test_override_model_ends_after_a_failure(model: mlembed.Model) -> None:
    """A block that raises ends its override too."""
    with pytest.raises(ZeroDivisionError), override_model("toy", returns=0.7):
        raise ZeroDivisionError

    assert model.predict(RECORD).version == "1.0.0"


def test_override_model_is_seen_by_other_threads(model: mlembed.Model) -> None:
    """Threads of the host answer as the test says."""
    with override_model("toy", returns=0.7), ThreadPoolExecutor(4) as pool:
        scores = list(pool.map(lambda _: model.predict(RECORD).score, range(40)))

    assert set(scores) == {0.7}


def test_override_model_decorates_a_function(model: mlembed.Model) -> None:
    """A decorated function is overridden at every call, and keeps its name."""

    @override_model("toy", returns=0.7)
    def host(times: int) -> list[float]:
        return [model.predict(RECORD).score for _ in range(times)]

    assert (host(2), host(1)) == ([0.7, 0.7], [0.7])
    assert host.__name__ == "host"
    assert model.predict(RECORD).version == "1.0.0"


async def test_override_model_decorates_a_coroutine_function(model: mlembed.Model) -> None:
    """The override lasts until the coroutine has ended, not until it is made."""

    @override_model("toy", returns=0.7)
    async def host() -> float:
        await asyncio.sleep(0)
        return (await model.apredict(RECORD)).score

    assert await host() == 0.7
    assert model.predict(RECORD).version == "1.0.0"


def test_override_model_fails_as_the_test_says(
    registry: FileRegistry, settings: mlembed.Settings
) -> None:
    """An error is raised as a real one would be, or answered by the host's fallback."""
    strict = mlembed.load("toy", registry=registry, settings=settings)
    calm = mlembed.load("toy", registry=registry, settings=settings, fallback=0.25)

    with override_model("toy", raises=SchemaError("toy@1.0.0", ("'age' is missing",))):
        with pytest.raises(SchemaError):
            strict.predict(RECORD)
        with pytest.raises(SchemaError):
            strict.predict_batch(toy_table(3))
        assert calm.predict(RECORD).reason == "fallback"
        assert calm.predict_batch(toy_table(3)).scores.tolist() == [0.25] * 3
    with (
        override_model("toy", raises=ZeroDivisionError()),
        pytest.raises(InferenceError, match="ZeroDivisionError while predicting"),
    ):
        strict.predict(RECORD)


def test_override_model_trips_no_breaker(
    registry: FileRegistry, settings: mlembed.Settings
) -> None:
    """What a test lets fail, however often, fails as it says, and the model is not left alone."""
    model = mlembed.load("toy", registry=registry, settings=settings, fallback=0.5)

    with override_model("toy", raises=TimeoutError("too late")):
        errors = [model.predict(RECORD).error for _ in range(settings.breaker_failures + 2)]
    with override_model("toy", returns=0.7):
        after = model.predict(RECORD)

    assert {error.partition(":")[0] for error in errors} == {"InferenceError"}
    assert (after.score, after.reason) == (0.7, "ok")


def test_capture_predictions_sees_every_thread(model: mlembed.Model) -> None:
    """Predictions of all threads inside the block are collected, and none after it."""
    with capture_predictions() as captured, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: model.predict(RECORD), range(40)))
    model.predict(RECORD)

    assert {answer.id for answer in captured} == {answer.id for answer in answers}
    assert len(captured) == 40


async def test_capture_predictions_sees_coroutines(model: mlembed.Model) -> None:
    """Awaited predictions are collected, the first one too."""
    with capture_predictions() as captured:
        answers = await asyncio.gather(*(model.apredict(RECORD) for _ in range(5)))

    assert sorted(captured, key=lambda a: a.id) == sorted(answers, key=lambda a: a.id)


def test_capture_predictions_nests(model: mlembed.Model) -> None:
    """Each block has a list of its own."""
    with capture_predictions() as outer:
        first = model.predict(RECORD)
        with capture_predictions() as inner:
            second = model.predict(RECORD)
        third = model.predict(RECORD)

    assert (outer, inner) == ([first, second, third], [second])


def test_capture_predictions_ends_after_a_failure(model: mlembed.Model) -> None:
    """A block that raises ends its capture."""
    capture = capture_predictions()
    captured = capture.__enter__()
    error = ZeroDivisionError()

    assert not capture.__exit__(ZeroDivisionError, error, None)
    model.predict(RECORD)
    assert captured == []


def test_capture_predictions_sees_overrides(settings: mlembed.Settings) -> None:
    """A host's test needs neither a registry nor a model to see what was predicted."""
    model = mlembed.load("toy", registry="/nowhere", settings=settings)

    with override_model("toy", returns=0.7), capture_predictions() as captured:
        answer = model.predict(RECORD, key="7")

    assert captured == [answer]


def test_in_memory_registry_serves_what_was_published(settings: mlembed.Settings) -> None:
    """A published bundle is served, by alias and by version, and a later one replaces it."""
    registry = InMemoryRegistry()
    registry.publish(toy_bundle())
    live = mlembed.load("toy", registry=registry, settings=settings)
    pinned = mlembed.load("toy@1.0.0", registry=registry, settings=settings)

    first = live.predict(RECORD), pinned.predict(RECORD)
    registry.publish(toy_bundle(version="1.1.0", shift=1.0))
    changed = live.refresh(), pinned.refresh()

    assert {answer.version for answer in first} == {"1.0.0"}
    assert changed == (True, False)
    assert (live.version, pinned.version) == ("1.1.0", "1.0.0")


def test_in_memory_registry_names_what_it_has(settings: mlembed.Settings) -> None:
    """An unknown model is named together with what there is."""
    registry = InMemoryRegistry()

    with pytest.raises(NotFoundError, match="has no toy@champion; it has nothing"):
        registry.resolve(Ref("toy"))
    registry.publish(toy_bundle(), alias="shadow")
    with pytest.raises(NotFoundError, match=r"has no toy@champion; it has toy@1\.0\.0, toy@shadow"):
        mlembed.load("toy", registry=registry, settings=settings).predict(RECORD)


def test_override_model_leaves_no_thread(model: mlembed.Model) -> None:
    """An override starts nothing of its own."""
    before = threading.active_count()

    with override_model("toy", returns=0.7):
        assert threading.active_count() == before
    assert model.state == "NOT_READY"
