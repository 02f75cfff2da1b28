"""A decorated function keeps all it was, but for what it returns."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import mlembed
from bundles import RECORD
from mlembed.errors import SchemaError, SettingsError
from mlembed.testing import capture_predictions

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed.registry.file import FileRegistry
    from mlembed.serving.decorator import _Predicts
    from mlembed.serving.prediction import Prediction

    Decorate = Callable[..., _Predicts]

who = contextvars.ContextVar("who", default="nobody")


@pytest.fixture
def predicts(registry: FileRegistry, settings: mlembed.Settings) -> Decorate:
    """Return the decorator, bound to the test's registry."""
    return functools.partial(mlembed.predicts, "toy", registry=registry, settings=settings)


@pytest.fixture
def model(registry: FileRegistry, settings: mlembed.Settings) -> mlembed.Model:
    """Return the toy model."""
    return mlembed.load("toy", registry=registry, settings=settings)


def record_of(age: float, *, town: str = "oslo") -> dict[str, object]:
    """Return a record."""
    return RECORD | {"age": age, "town": town}


async def arecord_of(age: float, *, town: str = "oslo") -> dict[str, object]:
    """Return a record, later."""
    await asyncio.sleep(0)
    return record_of(age, town=town)


def test_predicts_a_function(predicts: Decorate, model: mlembed.Model) -> None:
    """A call of the function returns the prediction of its record."""
    decorated = predicts()(record_of)

    assert decorated(41.0, town="lyon").score == model.predict(record_of(41.0, town="lyon")).score


async def test_predicts_a_coroutine_function(predicts: Decorate, model: mlembed.Model) -> None:
    """An awaited call returns the prediction of its record."""
    decorated = predicts()(arecord_of)

    prediction = await decorated(41.0, town="lyon")

    assert prediction.score == model.predict(record_of(41.0, town="lyon")).score


@pytest.mark.parametrize("function", [record_of, arecord_of])
def test_predicts_keeps_what_the_function_is(predicts: Decorate, function: Any) -> None:
    """Name, docstring, module, signature and kind stay; the function itself is at hand."""
    decorated = predicts()(function)

    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        assert getattr(decorated, name) == getattr(function, name)
    assert inspect.signature(decorated) == inspect.signature(function)
    assert inspect.iscoroutinefunction(decorated) == inspect.iscoroutinefunction(function)
    assert inspect.unwrap(decorated) is function


async def test_predicts_methods(predicts: Decorate, model: mlembed.Model) -> None:
    """Methods are bound as before, static and class methods too."""

    class Customer:
        age = 41.0

        @predicts()
        def plain(self) -> dict[str, object]:
            return record_of(self.age)

        @predicts()
        async def later(self) -> dict[str, object]:
            return record_of(self.age)

        @classmethod
        @predicts()
        def of_class(cls) -> dict[str, object]:
            return record_of(cls.age)

        @staticmethod
        @predicts()
        def alone(age: float) -> dict[str, object]:
            return record_of(age)

    customer = Customer()
    answers = [customer.plain(), await customer.later(), Customer.of_class(), customer.alone(41.0)]

    assert {prediction.score for prediction in answers} == {model.predict(record_of(41.0)).score}


def test_predicts_raises_the_functions_own_error(predicts: Decorate) -> None:
    """An error of the function is the host's, and no fallback hides it."""

    @predicts(fallback=0.25)
    def fails() -> dict[str, object]:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        fails()


async def test_predicts_raises_the_coroutines_own_error(predicts: Decorate) -> None:
    """The same holds for a coroutine function."""

    @predicts(fallback=0.25)
    async def fails() -> dict[str, object]:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        await fails()


async def test_predicts_answers_a_bad_record(predicts: Decorate) -> None:
    """A record that does not fit is refused, or answered by the fallback."""
    refuses = predicts()(dict)
    answers = predicts(fallback=0.25)(dict)

    with pytest.raises(SchemaError):
        refuses()
    assert answers().reason == "fallback"


def test_predicts_loads_nothing_until_the_first_call(settings: mlembed.Settings) -> None:
    """A module that decorates can be imported where there is no registry."""
    decorated = mlembed.predicts("toy", registry="/nowhere", settings=settings)(record_of)

    with pytest.raises(mlembed.errors.NotFoundError):
        decorated(41.0)


def test_predicts_takes_a_loaded_model(model: mlembed.Model) -> None:
    """A model that the host has loaded is used as it is."""
    assert mlembed.predicts(model)(record_of)(41.0).score == model.predict(record_of(41.0)).score


@pytest.mark.parametrize("argument", [{"fallback": 0.0}, {"registry": "/x"}])
def test_predicts_refuses_arguments_it_would_ignore(
    model: mlembed.Model, argument: dict[str, Any]
) -> None:
    """A fallback that a loaded model would not use is not taken in silence."""
    with pytest.raises(SettingsError, match="give them to load"):
        mlembed.predicts(model, **argument)


def test_predicts_makes_one_model_for_many_threads(predicts: Decorate) -> None:
    """Threads that call first together share one model."""
    decorate = predicts()
    decorated = decorate(record_of)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(decorated, [41.0] * 64))

    assert len({answer.score for answer in answers}) == 1
    assert len(decorate._made) == 1


async def test_apredict_under_many_tasks(model: mlembed.Model) -> None:
    """Tasks that start before the first load all get their own record's answer."""
    ages = [float(age) for age in range(100)]

    answers = await asyncio.gather(*(model.apredict(record_of(age), key=str(age)) for age in ages))

    assert [a.score for a in answers] == [model.predict(record_of(age)).score for age in ages]
    assert [a.key for a in answers] == [str(age) for age in ages]
    assert len({a.id for a in answers}) == 100


async def test_apredict_raises_as_predict(model: mlembed.Model) -> None:
    """Before and after the first load a bad record is refused alike."""
    for _ in range(2):
        with pytest.raises(SchemaError):
            await model.apredict({})


async def test_apredict_keeps_context(predicts: Decorate, model: mlembed.Model) -> None:
    """Context variables are those of the caller in the record and in every hook."""
    seen: list[str] = []

    def hook(_: Prediction) -> None:
        seen.append(who.get())

    @predicts()
    async def mine() -> dict[str, object]:
        seen.append(who.get())
        return record_of(41.0)

    async def task(name: str) -> None:
        who.set(name)
        await mine()
        await model.apredict(record_of(41.0))

    unsubscribe = mlembed.serving.hooks.subscribe(hook)
    await asyncio.gather(*(task(name) for name in "abc"))
    unsubscribe()

    assert sorted(seen) == sorted("abc" * 3)
    assert who.get() == "nobody"


async def test_apredict_does_not_block_the_loop_while_it_loads(model: mlembed.Model) -> None:
    """The first load runs in a thread, so the loop goes on turning."""
    with capture_predictions() as captured:
        first = asyncio.create_task(model.apredict(RECORD))
        turns = 0
        while not first.done():
            turns += 1
            await asyncio.sleep(0)

    assert turns > 1
    assert captured == [first.result()]
