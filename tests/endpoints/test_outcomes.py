"""Outcomes that come over HTTP reach the log as those of `Model.outcome` do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mlembed
from classes import class_bundle
from endpoints.asking import ID, JSON, PLAIN, PREFIX, post
from mlembed.endpoints import Endpoints, Request
from mlembed.monitoring.outcomes import labels_of
from mlembed.testing import InMemoryRegistry
from serving.logs import events

if TYPE_CHECKING:
    from mlembed.settings import Settings

PATH = "models/toy/outcome"


def logged(model: mlembed.Model) -> list[dict[str, Any]]:
    """Return the outcomes in the log."""
    model.flush()
    found = events(model.settings.log_dir, "mlembed.outcome")
    return [{name.removeprefix("mlembed."): value for name, value in e.items()} for e in found]


def test_an_outcome_is_logged_for_its_prediction(
    endpoints: Endpoints, models: dict[str, mlembed.Model]
) -> None:
    """The id that a prediction was answered with joins its outcome to it."""
    _, made = post(endpoints, "models/toy/predict", {"record": PLAIN})

    status, answer = post(endpoints, PATH, {"id": made["id"], "value": True, "revision": 2})

    assert (status, answer) == (202, {"accepted": True})
    (found,) = logged(models["toy"])
    assert found["prediction.id"] == made["id"]
    assert found["outcome.value"] is True


@pytest.mark.parametrize("value", [False, 0, 1.0, "tram"])
async def test_an_outcome_may_come_by_key_and_of_a_time(
    endpoints: Endpoints, models: dict[str, mlembed.Model], value: float | str
) -> None:
    """A key, a time with a zone, and each kind of truth are taken, from a coroutine too."""
    body = {"key": 42, "value": value, "observed_at": "2026-01-02T03:04:05+01:00", "id": None}

    answer = await endpoints.aanswer(Request("POST", PATH, JSON, json.dumps(body).encode()))

    assert answer.status == 202
    (found,) = logged(models["toy"])
    assert "42" in found.values()
    assert found["outcome.value"] == value


@pytest.mark.parametrize(
    ("value", "status"), [(1, 202), (5, 202), ("t" * 255, 202), ("t" * 256, 422), (None, 422)]
)
def test_an_outcome_needs_no_model(absent: mlembed.Model, value: Any, status: int) -> None:
    """The truth is taken while the model cannot be loaded, as far as it may be one."""
    answered, _ = post(Endpoints({"a": absent}), "models/a/outcome", {"id": ID, "value": value})

    assert answered == status


@pytest.mark.parametrize("name", ["toy", "classes", "amount"])
@pytest.mark.parametrize(
    "value",
    [
        *(True, False, 0, 1, 0.0, 1.0, -1, 2, 5, 0.5, 1e308, 2**60),
        *("bus", "tram", " tram ", "12.5", "nan", "1e999", "x", "\0"),
    ],
)
def test_what_monitoring_reads_as_the_truth_is_taken_and_nothing_else(
    endpoints: Endpoints, models: dict[str, mlembed.Model], name: str, value: Any
) -> None:
    """A report that says nothing would replace one that does."""
    _ = models[name].version
    served = models[name].in_service
    assert served is not None
    is_truth = bool(np.isfinite(labels_of(served.manifest.task, [value]))[0])

    status, answer = post(endpoints, f"models/{name}/outcome", {"id": ID, "value": value})

    assert status == (202 if is_truth else 422), answer


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("toy", 5, "expected true, false, 0, 1 or a class"),
        ("toy", "x" * 256, "longer than the 255 characters"),
        ("amount", "much", "expected a number"),
        ("classes", "plane", "they are: "),
    ],
)
def test_a_value_that_is_no_label_is_told_what_is(
    endpoints: Endpoints, name: str, value: Any, words: str
) -> None:
    """The answer names what the model takes, and not what came."""
    status, answer = post(endpoints, f"models/{name}/outcome", {"key": "k", "value": value})

    assert (status, answer["type"]) == (422, f"{PREFIX}request")
    assert words in answer["detail"]
    assert str(value) not in answer["detail"] or value == 5


def test_a_class_with_a_long_name_is_one(settings: Settings) -> None:
    """The bound is for what is no class."""
    names = (*(f"c{i}" for i in range(29)), "c" * 300)
    registry = InMemoryRegistry()
    registry.publish(class_bundle("many", classes=names))
    endpoints = Endpoints({"many": mlembed.load("many", registry=registry, settings=settings)})

    long = post(endpoints, "models/many/outcome", {"key": "k", "value": names[-1]})
    longer = post(endpoints, "models/many/outcome", {"key": "k", "value": "c" * 301})
    other = post(endpoints, "models/many/outcome", {"key": "k", "value": "d"})

    assert (long[0], longer[0], other[0]) == (202, 422, 422)
    assert other[1]["detail"].endswith("c19 and 10 more")


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (ID, 202),
        (ID.upper(), 202),
        (f"{ID}/0", 202),
        (f"{ID}/4294967295", 202),
        (f"{ID}/", 422),
        (f"{ID}/x", 422),
        (f"{ID}\n", 422),
        ("bogus", 422),
        ("x" * 15_000, 422),
    ],
)
def test_an_id_that_no_prediction_has_is_refused(
    endpoints: Endpoints, given: str, status: int
) -> None:
    """An outcome by such an id would be accepted, and lost."""
    answered, answer = post(endpoints, PATH, {"id": given, "value": True})

    assert answered == status
    assert status == 202 or answer["type"] == f"{PREFIX}request"
