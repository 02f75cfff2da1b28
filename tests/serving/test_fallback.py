"""Where the host named a fallback no failure reaches it; where it did not, all are named."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Any

import pytest

import mlembed
from bundles import RECORD, toy_bundle, toy_table
from mlembed.errors import (
    InferenceError,
    MlembedError,
    NotFoundError,
    RegistryError,
    SchemaError,
    SettingsError,
)
from mlembed.registry.file import FileRegistry
from mlembed.serving.fallback import RAISE
from mlembed.testing import InMemoryRegistry
from serving.graphs import log_bundle, picking_bundle
from serving.logs import events, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.bundle.bundle import Bundle
    from mlembed.registry.pointer import Ref, Target


def model_of(bundle: Bundle, settings: mlembed.Settings, **arguments: Any) -> mlembed.Model:
    """Return a model that serves *bundle* from memory."""
    registry = InMemoryRegistry()
    registry.publish(bundle)
    return mlembed.load(bundle.manifest.name, registry=registry, settings=settings, **arguments)


def test_bad_record_is_answered_by_the_fallback(settings: mlembed.Settings) -> None:
    """The answer is the host's value, says that it is, why, and which version was asked."""
    model = model_of(toy_bundle(), settings, fallback=0.25)

    prediction = model.predict(RECORD | {"age": "old"}, key="7")

    assert (prediction.score, prediction.label, prediction.reason) == (0.25, None, "fallback")
    assert prediction.error.startswith("SchemaError: record does not fit toy@1.0.0: 'age' is str")
    assert (prediction.version, prediction.key) == ("1.0.0", "7")
    assert model.predict(RECORD).reason == "ok"


def test_bad_record_is_refused_without_a_fallback(settings: mlembed.Settings) -> None:
    """The error itself is raised, neither wrapped nor logged as another."""
    model = model_of(toy_bundle(), settings)

    with pytest.raises(SchemaError, match="'age' is str"):
        model.predict(RECORD | {"age": "old"})


def test_failures_are_logged_with_their_reason(settings: mlembed.Settings) -> None:
    """The log tells fallbacks and errors apart and names the error, with no feature of either."""
    source = toy_bundle()
    for fallback in (0.25, RAISE):
        model = model_of(source, settings, fallback=fallback)
        with contextlib.suppress(SchemaError):
            model.predict(RECORD | {"age": "old-secret"}, key="7")
        with contextlib.suppress(SchemaError):
            model.predict_batch(toy_table(300) | {"age": ["old-secret"] * 300})
        model.flush()

    logged = events(settings.log_dir)

    assert [
        (e["mlembed.prediction.reason"], e.get("mlembed.prediction.count")) for e in logged
    ] == [
        *(("fallback", None), ("fallback", "256"), ("fallback", "44")),
        *(("error", None), ("error", None)),
    ]
    assert {e["error.type"] for e in logged} == {"SchemaError"}
    assert all("f" not in e["body"] for e in logged)
    assert logged[1]["body"] == {"y": {"score": [0.25] * 256}}


def test_batch_fallback_is_logged_under_its_ids(settings: mlembed.Settings) -> None:
    """The ids a failed batch gives the host are those of the events in the log."""
    model = model_of(toy_bundle(), settings, fallback=0.25)

    batch = model.predict_batch(toy_table(300) | {"age": ["old"] * 300})
    model.flush()

    logged = {event["mlembed.prediction.id"] for event in events(settings.log_dir)}
    assert {identity.partition("/")[0] for identity in batch.ids} == logged


def test_missing_registry_recovers_without_a_restart(
    tmp_path: Path, settings: mlembed.Settings
) -> None:
    """A host that starts before its registry answers with the fallback, then with the model."""
    source = FileRegistry(tmp_path / "later")
    model = mlembed.load("toy", registry=source, settings=settings, fallback=0.25)

    first = model.predict(RECORD)
    before = model.state
    source.publish(toy_bundle())
    source.promote("toy", "champion", "1.0.0")
    wait_until(lambda: model.predict(RECORD).reason == "ok", "the model's return")

    assert (first.score, first.reason, first.version) == (0.25, "fallback", "")
    assert first.error.startswith("NotFoundError: there is no registry at")
    assert (before, model.state, model.error) == ("ERROR", "READY", None)


def test_missing_registry_is_named_without_a_fallback(
    tmp_path: Path, settings: mlembed.Settings
) -> None:
    """Each call says what is missing; a second one soon after does not look again."""
    model = mlembed.load("toy", registry=tmp_path / "nowhere", settings=settings)

    for _ in range(2):
        with pytest.raises(NotFoundError, match=r"there is no registry at .*nowhere"):
            model.predict(RECORD)
    with pytest.raises(NotFoundError):
        _ = model.version


class Broken:
    """A registry that fails as no registry should."""

    def __init__(self) -> None:
        self.looks = 0

    def resolve(self, _: Ref) -> Target:
        """Fail."""
        self.looks += 1
        raise ZeroDivisionError("secret")

    def fetch(self, _: Target) -> Bundle:
        """Fail."""
        raise ZeroDivisionError


def test_broken_registry_is_an_error_of_mlembed(settings: mlembed.Settings) -> None:
    """Whatever a registry raises reaches the host as a RegistryError, looked at once a second."""
    broken = Broken()
    model = mlembed.load("toy", registry=broken, settings=settings)

    for _ in range(50):
        with pytest.raises(RegistryError, match="ZeroDivisionError"):
            model.predict(RECORD)

    assert broken.looks <= 2
    assert isinstance(model.error, MlembedError)


@pytest.mark.parametrize("x", [-1.0, 0.0])
def test_score_that_is_no_number_is_an_error(settings: mlembed.Settings, x: float) -> None:
    """NaN and infinity never reach the host, alone or in a table."""
    model = model_of(log_bundle(), settings)

    with pytest.raises(InferenceError, match=r"graph@1.0.0 gave no finite number"):
        model.predict({"x": x})
    with pytest.raises(InferenceError, match=r"graph@1.0.0 gave no finite number in some rows"):
        model.predict_batch({"x": [1.0, x]})
    assert model.predict({"x": math.e}).score == pytest.approx(1.0)


def test_graph_that_fails_at_run_time_is_an_error(settings: mlembed.Settings) -> None:
    """What the runtime raises is mapped, its own error kept as the cause; the next row is fine."""
    model = model_of(picking_bundle(), settings)

    with pytest.raises(InferenceError, match="while predicting") as caught:
        model.predict({"x": 5.0})
    with pytest.raises(InferenceError, match="onnxruntime failed"):
        model.predict_batch({"x": [1.0, 5.0]})

    assert caught.value.__cause__ is not None
    assert model.predict({"x": 2.0}).score == 2.0


def test_graph_that_fails_is_answered_by_the_fallback(settings: mlembed.Settings) -> None:
    """A failing graph is one more failure that the fallback answers."""
    model = model_of(picking_bundle(), settings, fallback=0.25)

    assert model.predict({"x": 5.0}).error.startswith("InferenceError: ")
    assert asyncio.run(model.apredict({"x": 5.0})).score == 0.25
    assert model.predict_batch({"x": [1.0, 5.0]}).scores.tolist() == [0.25, 0.25]


@pytest.mark.parametrize("fallback", [0, 1, True, 0.5])
def test_fallback_is_always_a_float(settings: mlembed.Settings, fallback: float) -> None:
    """The host may write a whole number; the score is a float all the same."""
    prediction = model_of(toy_bundle(), settings, fallback=fallback).predict(None)

    assert type(prediction.score) is float
    assert float(prediction) == fallback


@pytest.mark.parametrize("fallback", [None, "0.5", math.nan, math.inf, [0.5], 10**400])
def test_fallback_that_is_no_score_is_refused(settings: mlembed.Settings, fallback: Any) -> None:
    """A fallback that could not be answered with is refused when it is declared."""
    with pytest.raises(SettingsError, match="fallback must be a finite number"):
        model_of(toy_bundle(), settings, fallback=fallback)
