"""Coroutines get answers as fast as the model gives them, and their loop stays free."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from typing import TYPE_CHECKING

import mlembed
from bundles import RECORD
from mlembed.serving import hooks, pool
from mlembed.testing import InMemoryRegistry
from serving.graphs import slow_bundle

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry
    from mlembed.settings import Settings

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("REQUEST", default="")


def slow(settings: Settings) -> mlembed.Model:
    """Return a model that is slow by its own measurement."""
    registry = InMemoryRegistry()
    registry.publish(slow_bundle())
    model = mlembed.load("graph", registry=registry, settings=settings)
    served = model._handle.ready()
    served.run_seconds = 0.05
    return model


def seen_by_hook() -> tuple[list[tuple[str, str]], object]:
    """Note the thread and the request in which each prediction is made."""
    seen: list[tuple[str, str]] = []
    end = hooks.subscribe(lambda _: seen.append((threading.current_thread().name, REQUEST.get())))
    return seen, end


async def test_fast_model_runs_inline(registry: FileRegistry, settings: Settings) -> None:
    """A loaded model that answers within a millisecond needs no thread."""
    model = mlembed.load("toy", registry=registry, settings=settings)
    await model.apredict(RECORD)
    seen, end = seen_by_hook()
    try:
        await model.apredict(RECORD)
    finally:
        end()  # type: ignore[operator]  # what subscribe returns

    assert model._handle.ready().run_seconds < 0.001
    assert seen == [(threading.current_thread().name, "")]


async def test_slow_model_runs_in_the_pool_with_its_context(settings: Settings) -> None:
    """The loop stays free, and hooks see the context variables of the caller."""
    model = slow(settings)
    seen, end = seen_by_hook()
    REQUEST.set("r-1")
    try:
        prediction = await model.apredict({"x": 3.0}, key="k")
    finally:
        end()  # type: ignore[operator]  # idem

    assert (prediction.score, prediction.key) == (3.0, "k")
    ((thread, request),) = seen
    assert thread.startswith("mlembed-predict")
    assert request == "r-1"


async def test_loop_stays_free_while_slow_models_run(settings: Settings) -> None:
    """Eight runs of tens of milliseconds never hold the loop as long as one of them."""
    model = slow(settings)
    longest, over = 0.0, False

    async def watch() -> None:
        nonlocal longest
        while not over:
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - start)

    watching = asyncio.create_task(watch())
    start = time.perf_counter()
    turns = 400_000.0
    await model.apredict({"x": turns})
    alone = time.perf_counter() - start
    longest = 0.0
    answers = await asyncio.gather(*(model.apredict({"x": turns}) for _ in range(8)))
    over = True
    await watching

    assert {answer.score for answer in answers} == {turns}
    assert longest < max(alone, 0.1)
    threads = {thread.name for thread in threading.enumerate() if "mlembed-predict" in thread.name}
    assert 1 <= len(threads) <= pool.MAX_WORKERS


async def test_a_thousand_at_once(registry: FileRegistry, settings: Settings) -> None:
    """A thousand coroutines get a thousand answers, from the first call on, fast or slow."""
    for model in (mlembed.load("toy", registry=registry, settings=settings), slow(settings)):
        record = RECORD if model.ref.name == "toy" else {"x": 2.0}
        expected = model.predict(record).score if model.ref.name != "toy" else None

        answers = await asyncio.gather(*(model.apredict(record) for _ in range(1_000)))

        scores = {answer.score for answer in answers}
        assert len(scores) == 1
        assert expected is None or scores == {expected}
        assert len({answer.id for answer in answers}) == 1_000
