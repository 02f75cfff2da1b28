"""Each client has a bucket of tokens a model, and a table of clients has an end."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from endpoints.asking import JSON, PLAIN, get, kind, post
from mlembed.endpoints import Endpoints, Limits, Rate, Request
from mlembed.endpoints.limits import Throttle
from mlembed.endpoints.problems import Problem
from mlembed.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    import mlembed

BODY = {"record": PLAIN}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands."""
    return Clock()


@pytest.fixture
def throttled(models: dict[str, mlembed.Model], clock: Clock) -> Endpoints:
    """Return endpoints that take three requests at once and then one in two seconds."""
    return Endpoints(models, Limits(rate=Rate(per_second=0.5, burst=3)), clock=clock)


def test_a_client_that_asks_too_often_is_told_when_to_come_back(
    throttled: Endpoints, clock: Clock
) -> None:
    """After the burst comes 429 with the seconds until the next token, and then an answer."""
    statuses = [post(throttled, "models/toy/predict", BODY)[0] for _ in range(3)]

    refused = throttled.answer(Request("POST", "models/toy/predict", JSON, b"{}", "me"))

    assert statuses == [200] * 3
    assert kind(refused) == "rate"
    assert refused.headers["Retry-After"] == "2"
    clock.now += 2
    assert post(throttled, "models/toy/predict", BODY)[0] == 200
    assert post(throttled, "models/toy/predict", BODY)[0] == 429


def test_a_bucket_holds_no_more_than_the_burst(throttled: Endpoints, clock: Clock) -> None:
    """A long pause gives a burst, and no more."""
    clock.now += 1_000_000

    statuses = [post(throttled, "models/toy/predict", BODY)[0] for _ in range(5)]

    assert statuses == [200, 200, 200, 429, 429]


def test_every_client_and_model_has_its_own_bucket(throttled: Endpoints) -> None:
    """One client's haste is not another's, nor another model's; health is never refused."""
    for _ in range(3):
        post(throttled, "models/toy/predict", BODY)

    assert post(throttled, "models/toy/predict", BODY)[0] == 429
    assert post(throttled, "models/toy/predict", BODY, "you")[0] == 200
    assert post(throttled, "models/classes/predict", BODY)[0] == 200
    assert get(throttled, "health/live")[0] == 200


@pytest.mark.parametrize("path", ["models/toy/outcome", "v2/models/toy/infer"])
def test_outcomes_and_inferences_count_too(throttled: Endpoints, path: str) -> None:
    """Whatever has a body takes a token, before the body is read."""
    for _ in range(3):
        throttled.answer(Request("POST", path, JSON, b"broken", "me"))

    answer = throttled.answer(Request("POST", path, JSON, b"broken", "me"))

    assert answer.status == 429
    assert answer.headers["Retry-After"] == "2"


def test_many_clients_take_no_more_memory_than_allowed(clock: Clock) -> None:
    """The client that was longest away is forgotten; those that come often are not."""
    throttle = Throttle(Rate(per_second=1, burst=2), 100, clock)
    throttle.take("often", "toy")
    throttle.take("often", "toy")

    for number in range(10_000):
        throttle.take(f"client {number}", "toy")
        assert len(throttle) <= 100
        if number % 50 == 0:
            clock.now += 1.0
            throttle.take("often", "toy")
            with pytest.raises(Problem):
                throttle.take("often", "toy")


def test_threads_get_no_more_than_the_burst(clock: Clock) -> None:
    """However many threads ask at once, a token is taken once."""
    throttle = Throttle(Rate(per_second=1, burst=500), 10, clock)
    ready = threading.Barrier(8)

    def ask(_: int) -> int:
        ready.wait()
        taken = 0
        for _turn in range(200):
            try:
                throttle.take("me", "toy")
                taken += 1
            except Problem:
                pass
        return taken

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 500


def test_no_lock_is_held_while_a_model_predicts(
    models: dict[str, mlembed.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client's prediction that takes its time keeps nobody waiting, not even that client."""
    endpoints = Endpoints(models, Limits(rate=Rate(per_second=1, burst=5)))
    inside, go_on = threading.Event(), threading.Event()
    predict: Callable[..., Any] = models["toy"].predict

    def slow(record: Any, *, key: str | None = None) -> Any:
        inside.set()
        assert go_on.wait(10)
        return predict(record, key=key)

    monkeypatch.setattr(models["toy"], "predict", slow)
    with ThreadPoolExecutor(1) as pool:
        slow_one = pool.submit(post, endpoints, "models/toy/predict", BODY)
        assert inside.wait(10)

        others = [post(endpoints, "models/toy/predict", {})[0] for _ in range(5)]

        go_on.set()
        assert others == [422] * 4 + [429]
        assert slow_one.result(10)[0] == 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_is_not_locked_out() -> None:
    """A fork while another thread is in the throttle leaves the child an open one."""
    throttle = Throttle(Rate(per_second=1), 10)
    with throttle._changing:
        child = os.fork()
        if not child:
            throttle.take("me", "toy")
            os._exit(0)

    deadline = time.monotonic() + 60
    ended = (0, 1)
    while ended[0] == 0 and time.monotonic() < deadline:
        ended = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if ended[0] == 0:
        os.kill(child, 9)
        os.waitpid(child, 0)

    assert ended == (child, 0)


def test_limits_that_make_no_sense_are_refused() -> None:
    """A mistake in the limits shows where they are made."""
    for bad in ({"max_bytes": 0}, {"max_records": -1}, {"max_clients": True}, {"max_bytes": 1.5}):
        with pytest.raises(SettingsError):
            Limits(**bad)
    for per_second, burst in ((0.0, 1), (-1.0, 1), (float("inf"), 1), (float("nan"), 1), (1.0, 0)):
        with pytest.raises(SettingsError):
            Rate(per_second=per_second, burst=burst)
