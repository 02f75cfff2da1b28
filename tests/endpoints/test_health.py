"""Probes are told what serves: ready, degraded, or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import mlembed
from bundles import RECORD, toy_bundle
from endpoints.asking import get
from mlembed.endpoints import Endpoints, Lookup, Request
from mlembed.testing import InMemoryRegistry

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry


def test_live_needs_no_model(absent: mlembed.Model) -> None:
    """A process is alive whatever its models do."""
    endpoints = Endpoints({"a": absent})

    assert get(endpoints, "health/live") == (200, {"status": "live"})
    assert get(endpoints, "v2/health/live") == (200, {"live": True})


def test_ready_loads_what_is_not_loaded(
    endpoints: Endpoints, models: dict[str, mlembed.Model]
) -> None:
    """A probe before the first prediction loads the models, so that it can say that they serve."""
    assert {model.state for model in models.values()} == {"NOT_READY"}

    status, answer = get(endpoints, "health/ready")

    assert (status, answer["status"]) == (200, "ready")
    assert answer["models"]["toy"] == {
        "status": "ready",
        "state": "READY",
        "version": "1.0.0",
        "error": "",
    }
    assert get(endpoints, "v2/health/ready") == (200, {"ready": True})
    assert get(endpoints, "v2/models/toy/ready") == (200, {"name": "toy", "ready": True})


def test_a_model_that_cannot_serve_is_not_ready(
    models: dict[str, mlembed.Model], absent: mlembed.Model
) -> None:
    """503 names the models that cannot serve, and tells no reason but its type."""
    endpoints = Endpoints({"toy": models["toy"], "a": absent})

    status, answer = get(endpoints, "health/ready")

    assert (status, answer["status"], answer["unavailable"]) == (503, "unavailable", ["a"])
    assert answer["models"]["a"]["error"] == "NotFoundError"
    assert answer["models"]["toy"]["status"] == "ready"
    assert get(endpoints, "v2/health/ready") == (503, {"ready": False})
    assert get(endpoints, "v2/models/a/ready") == (503, {"name": "a", "ready": False})
    assert get(endpoints, "v2/models/toy/ready")[0] == 200
    assert get(endpoints, "v2/models/a")[0] == 503


def test_a_fallback_is_degraded_and_serves(settings: mlembed.Settings) -> None:
    """A model that answers with its fallback is no reason to take the host away."""
    model = mlembed.load("a", registry=InMemoryRegistry(), fallback=0.5, settings=settings)

    status, answer = get(Endpoints({"a": model}), "health/ready")

    assert (status, answer["status"]) == (200, "degraded")
    assert answer["models"]["a"]["state"] == "ERROR"


def test_an_old_version_is_degraded_and_serves(
    registry: FileRegistry, settings: mlembed.Settings
) -> None:
    """Where the registry has a version that does not prove itself, the last good one serves."""
    model = mlembed.load("toy@champion", registry=registry, settings=settings)
    model.predict(RECORD)
    registry.publish(toy_bundle(version="1.0.1", golden_error=0.5))
    registry.promote("toy", "champion", "1.0.1")
    model.refresh()

    status, answer = get(Endpoints({"toy": model}), "health/ready")

    assert (status, answer["status"]) == (200, "degraded")
    assert answer["models"]["toy"] == {
        "status": "degraded",
        "state": "STALE",
        "version": "1.0.0",
        "error": "GoldenError",
    }


def test_a_host_whose_lookup_fails_is_not_ready(models: dict[str, mlembed.Model]) -> None:
    """A model that the host itself cannot make does not keep the others from being told."""

    def find(name: str) -> mlembed.Model:
        if name == "broken":
            raise RuntimeError
        return models[name]

    endpoints = Endpoints(Lookup(lambda: ["broken", "toy"], find))

    status, answer = get(endpoints, "health/ready")

    assert (status, answer["unavailable"]) == (503, ["broken"])
    assert answer["models"]["toy"]["status"] == "ready"


async def test_ready_answers_coroutines(endpoints: Endpoints) -> None:
    """Loading happens on another thread, so that the loop goes on."""
    answer = await endpoints.aanswer(Request("GET", "health/ready"))

    assert answer.status == 200


def test_models_are_listed_as_they_are(
    endpoints: Endpoints, models: dict[str, mlembed.Model]
) -> None:
    """The list loads nothing, and tells the versions that serve."""
    models["toy"].predict(RECORD)

    _, answer = get(endpoints, "models")

    listed = {model["name"]: (model["state"], model["version"]) for model in answer["models"]}
    assert listed["toy"] == ("READY", "1.0.0")
    assert listed["pixels"] == ("NOT_READY", None)


@pytest.mark.parametrize("path", ["health/live", "health/ready", "models", "v2"])
def test_answers_are_not_kept_by_caches(endpoints: Endpoints, path: str) -> None:
    """What was true is no longer true."""
    assert endpoints.answer(Request("GET", path)).headers["Cache-Control"] == "no-store"
