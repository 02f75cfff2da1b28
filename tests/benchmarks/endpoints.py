"""What HTTP's side of a prediction costs beyond the prediction: from the body's bytes to the answer's."""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mlembed
from mlembed.endpoints import Endpoints, Limits, Rate, Request
from mlembed.testing import InMemoryRegistry

from . import scenes
from .report import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK = 100
_JSON = {"content-type": "application/json"}


def endpoints(short: bool) -> Iterator[Finding]:  # noqa: FBT001  every benchmark takes it
    """Post one record of twenty numbers; microseconds of the thread, medians of interleaved chunks."""
    n = 2_000 if short else 20_000
    bundle = scenes.bundle("logistic")
    registry, name = InMemoryRegistry(), bundle.manifest.name
    registry.publish(bundle)
    record = {k: float(np.ravel(v)[0]) for k, v in scenes.table(1).items() if k != "y"}
    body = json.dumps({"record": record, "key": "42"}).encode()
    request = Request("POST", f"models/{name}/predict", _JSON, body, "10.0.0.1")
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as folder:
        settings = mlembed.Settings(log_dir=Path(folder), poll_seconds=0)
        model = mlembed.load(name, registry=registry, settings=settings)
        limits = Limits(rate=Rate(per_second=1e9, burst=10**9))
        served, throttled = Endpoints({name: model}), Endpoints({name: model}, limits)

        def by_hand() -> None:
            given = json.loads(body)
            made = model.predict(given["record"], key=given["key"])
            json.dumps(made.to_json()).encode()

        def in_loop() -> None:
            loop.run_until_complete(_ask(served, request))

        ways: dict[str, Callable[[], Any]] = {
            "a view by hand": by_hand,
            "Endpoints.answer": lambda: served.answer(request),
            "Endpoints.answer, throttled": lambda: throttled.answer(request),
        }
        alone = lambda: model.predict(record, key="42")  # noqa: E731  as its siblings
        yield from _beyond(alone, ways, in_loop, n)
        model.close()
    loop.close()


async def _ask(served: Endpoints, request: Request) -> None:
    for _ in range(_CHUNK):
        await served.aanswer(request)


def _beyond(
    alone: Callable[[], Any],
    ways: dict[str, Callable[[], Any]],
    in_loop: Callable[[], None],
    n: int,
) -> Iterator[Finding]:
    """Return what each of *ways* takes beyond the prediction *alone*."""
    called: dict[str, Callable[[], None]] = {"alone": lambda: _repeat(alone)}
    called |= {what: _repeated(way) for what, way in ways.items()}
    called["Endpoints.aanswer"] = in_loop
    times: dict[str, list[float]] = {what: [] for what in called}
    for turn in range(n // _CHUNK):
        gc.collect(0)
        for what, call in list(called.items())[:: 1 if turn % 2 else -1]:
            start = time.thread_time_ns()
            call()
            times[what].append((time.thread_time_ns() - start) / 1e3 / _CHUNK)
    medians = {what: statistics.median(found) for what, found in times.items()}
    bare = medians.pop("alone")
    for what, whole in medians.items():
        detail = f"{whole:.1f} - {bare:.1f} us"
        yield Finding(f"endpoints: {what}", whole - bare, None, "us", detail)


def _repeated(call: Callable[[], Any]) -> Callable[[], None]:
    return lambda: _repeat(call)


def _repeat(call: Callable[[], Any]) -> None:
    for _ in range(_CHUNK):
        call()
