"""A graph that fails again and again is left alone for a while; a bad record is no failure of it."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import pytest

import mlembed
from mlembed.errors import CircuitOpenError, InferenceError, SchemaError
from mlembed.testing import InMemoryRegistry
from serving.graphs import picking_bundle, slow_bundle

if TYPE_CHECKING:
    from mlembed.settings import Settings

BAD = {"x": 99.0}  # the graph fails on it
GOOD = {"x": 2.0}


@pytest.fixture
def registry() -> InMemoryRegistry:
    """Return a registry whose model fails for most numbers."""
    registry = InMemoryRegistry()
    registry.publish(picking_bundle())
    return registry


def model_of(registry: InMemoryRegistry, settings: Settings, **changes: Any) -> mlembed.Model:
    """Return a model that is left alone after three failures."""
    settings = dataclasses.replace(settings, **{"breaker_failures": 3, **changes})
    return mlembed.load("graph", registry=registry, settings=settings)


def fail(model: mlembed.Model, times: int) -> None:
    """Let the graph fail so many times."""
    for _ in range(times):
        with pytest.raises(InferenceError):
            model.predict(BAD)


def test_graph_is_left_alone_after_failures_in_a_row(
    registry: InMemoryRegistry, settings: Settings
) -> None:
    """Even a good record is refused then, at once, with the reason and the pause."""
    model = model_of(registry, settings, breaker_seconds=30)
    fail(model, 3)

    with pytest.raises(CircuitOpenError, match=r"failed 3 times in a row and is left .* 30 s"):
        model.predict(GOOD)
    with pytest.raises(CircuitOpenError):
        model.predict_batch({"x": [1.0]})
    assert repr(model) == "<Model graph@champion READY, circuit open>"


def test_a_success_between_failures_counts_anew(
    registry: InMemoryRegistry, settings: Settings
) -> None:
    """Failures count in a row only."""
    model = model_of(registry, settings)
    for _ in range(3):
        fail(model, 2)
        assert model.predict(GOOD).score == 2.0


def test_one_call_tries_after_the_pause(registry: InMemoryRegistry, settings: Settings) -> None:
    """A failed try begins another pause, a good one ends it."""
    model = model_of(registry, settings, breaker_seconds=0.2)
    fail(model, 3)
    time.sleep(0.25)
    with pytest.raises(InferenceError) as failed:
        model.predict(BAD)
    assert not isinstance(failed.value, CircuitOpenError)
    with pytest.raises(CircuitOpenError):
        model.predict(GOOD)

    time.sleep(0.25)
    assert model.predict(GOOD).score == 2.0
    assert model.predict(GOOD).score == 2.0
    assert repr(model) == "<Model graph@champion READY>"


def test_bad_records_open_no_circuit(registry: InMemoryRegistry, settings: Settings) -> None:
    """What does not fit never reaches the graph, and says nothing about it."""
    model = model_of(registry, settings)
    for _ in range(10):
        with pytest.raises(SchemaError):
            model.predict({"x": "one"})

    assert model.predict(GOOD).score == 2.0


def test_another_version_is_tried_at_once(registry: InMemoryRegistry, settings: Settings) -> None:
    """What failed is the version, not the name."""
    model = model_of(registry, settings)
    fail(model, 3)
    registry.publish(slow_bundle(version="1.1.0"))
    assert model.refresh()

    assert model.predict(GOOD).score == 2.0


def test_fallback_answers_while_the_circuit_is_open(
    registry: InMemoryRegistry, settings: Settings
) -> None:
    """The answer says why."""
    settings = dataclasses.replace(settings, breaker_failures=2)
    model = mlembed.load("graph", registry=registry, settings=settings, fallback=0.5)

    reasons = [model.predict(BAD).error.partition(":")[0] for _ in range(4)]

    assert reasons == ["InferenceError"] * 2 + ["CircuitOpenError"] * 2


def test_breaker_can_be_turned_off(registry: InMemoryRegistry, settings: Settings) -> None:
    """A host may want every call to try."""
    model = model_of(registry, settings, breaker_failures=0)
    fail(model, 10)

    assert model.predict(GOOD).score == 2.0
