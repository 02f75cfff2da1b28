"""An event loop is held up by nothing long: it is done where the host, or the library, has a thread."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from bundles import RECORD
from endpoints.asking import ID, JSON, PLAIN
from mlembed.endpoints import Endpoints, Limits, Request
from mlembed.serving.pool import in_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    import mlembed

PREDICT = "models/toy/predict"
MANY = {"records": [PLAIN] * 2}
AGES = {"name": "place", "datatype": "INT64", "shape": [2], "data": [0, 1]}


@pytest.mark.parametrize(
    ("path", "body", "times"),
    [
        (PREDICT, {"record": PLAIN}, 0),
        (PREDICT, {"record": PLAIN, "key": "k" * 40_000}, 1),
        (PREDICT, MANY, 1),
        (PREDICT, MANY | {"keys": ["a", "b"]}, 1),
        ("models/toy/outcome", {"id": ID, "value": 1}, 1),
        ("v2/models/lookup/infer", {"inputs": [AGES | {"shape": [1], "data": [0]}]}, 0),
        ("v2/models/lookup/infer", {"inputs": [AGES]}, 1),
        ("v2/models/lookup/infer", {"inputs": [AGES], "id": "k" * 40_000}, 2),
    ],
    ids=["one", "long", "many", "with keys", "outcome", "v2 one", "v2 many", "v2 long"],
)
async def test_only_what_is_short_runs_on_the_loop(
    models: dict[str, mlembed.Model], path: str, body: Any, times: int
) -> None:
    """A quick model answers one record on the loop; the rest goes to the thread that is given."""
    for name in ("toy", "lookup"):
        _ = models[name].version
    done = []

    async def on_thread(function: Callable[[], Any]) -> Any:
        done.append(function)
        return await in_pool(function)

    endpoints = Endpoints(models, Limits(max_bytes=100_000), on_thread=on_thread)

    answer = await endpoints.aanswer(Request("POST", path, JSON, json.dumps(body).encode()))

    assert answer.status in (200, 202), answer
    assert len(done) == times


async def test_a_request_that_is_cancelled_leaves_the_next_one_whole(
    endpoints: Endpoints, models: dict[str, mlembed.Model]
) -> None:
    """A client that goes in the middle of a prediction takes nothing with it."""
    body = json.dumps({"records": [PLAIN] * 50}).encode()
    request = Request("POST", PREDICT, JSON, body)

    for pause in (0.0, 0.001, 0.01):
        task = asyncio.create_task(endpoints.aanswer(request))
        await asyncio.sleep(pause)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert (await endpoints.aanswer(request)).status == 200
    assert models["toy"].predict(RECORD).reason == "ok"
