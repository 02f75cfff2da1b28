"""A graph that takes too long is stopped, and no other run is."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import mlembed
from mlembed.errors import PredictionTimeoutError, SettingsError
from mlembed.serving import deadline
from mlembed.testing import InMemoryRegistry
from serving.graphs import slow_bundle
from serving.logs import events, wait_until

if TYPE_CHECKING:
    from mlembed.settings import Settings

FOREVER = {"x": 1e9}


def slow_model(settings: Settings, **arguments: Any) -> mlembed.Model:
    """Return a model that takes about a microsecond for each unit of x."""
    registry = InMemoryRegistry()
    registry.publish(slow_bundle())
    return mlembed.load("graph", registry=registry, settings=settings, **arguments)


def test_slow_run_is_stopped(settings: Settings) -> None:
    """Without a fallback the error says what was stopped, after how long, and what to do."""
    model = slow_model(settings, timeout_ms=50)
    start = time.monotonic()

    with pytest.raises(PredictionTimeoutError, match="stopped after 50 ms; raise timeout_ms"):
        model.predict(FOREVER)

    assert 0.05 <= time.monotonic() - start < 5
    assert model.predict({"x": 7.0}).score == 7.0


def test_slow_run_is_answered_by_the_fallback(settings: Settings) -> None:
    """The answer says that it timed out, and so does the log."""
    model = slow_model(settings, timeout_ms=20, fallback=0.5)

    prediction = model.predict(FOREVER)
    assert model.flush()

    assert (prediction.score, prediction.reason) == (0.5, "fallback")
    assert prediction.error.startswith("PredictionTimeoutError: the graph was stopped")
    (event,) = events(settings.log_dir)
    assert event["error.type"] == "PredictionTimeoutError"


def test_slow_batch_is_stopped(settings: Settings) -> None:
    """The limit holds for a whole batch."""
    model = slow_model(settings, timeout_ms=50)

    with pytest.raises(PredictionTimeoutError):
        model.predict_batch({"x": [1e9] * 10})

    assert model.predict_batch({"x": [3.0, 3.0]}).scores.tolist() == [3.0, 3.0]


def test_no_other_run_is_stopped(settings: Settings) -> None:
    """While one thread is stopped again and again, no run of another is before its own time."""
    model = slow_model(settings, timeout_ms=30, fallback=-1.0)
    over = threading.Event()
    stopped: list[str] = []

    def keep_stopping() -> None:
        while not over.is_set():
            stopped.append(model.predict(FOREVER).reason)

    thread = threading.Thread(target=keep_stopping)
    thread.start()
    try:
        wait_until(lambda: len(stopped) >= 2, "the first stops")
        answers = [model.predict({"x": 5.0}) for _ in range(3_000)]
    finally:
        over.set()
        thread.join()

    # A busy machine may hold a short run up for as long as the limit.
    in_time = [answer for answer in answers if answer.latency_seconds < 0.03]
    assert len(in_time) > 2_000
    assert {answer.score for answer in in_time} == {5.0}
    assert set(stopped) == {"fallback"}


def test_the_watching_thread_ends(settings: Settings) -> None:
    """A model that is not asked any more costs no thread, and one without a limit never did."""
    slow_model(settings).predict({"x": 1.0})
    assert deadline._watch._thread is None
    model = slow_model(settings, timeout_ms=50)
    model.predict({"x": 1.0})
    assert deadline._watch._thread is not None

    wait_until(lambda: deadline._watch._thread is None, "the end of the thread")

    with pytest.raises(PredictionTimeoutError):
        model.predict(FOREVER)


@pytest.mark.parametrize("timeout", [0, -1, 0.5, float("nan"), float("inf"), True, "10"])
def test_timeout_is_a_number_of_milliseconds(settings: Settings, timeout: Any) -> None:
    """A limit that no run could keep, or that is none, is refused at once."""
    with pytest.raises(SettingsError, match="timeout_ms must be"):
        slow_model(settings, timeout_ms=timeout)
