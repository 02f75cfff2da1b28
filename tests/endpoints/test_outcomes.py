"""Outcomes that come over HTTP reach the log as those of `Model.outcome` do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from endpoints.asking import JSON, PLAIN, post
from mlembed.endpoints import Endpoints, Request
from serving.logs import events

if TYPE_CHECKING:
    import mlembed

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


@pytest.mark.parametrize("value", [False, 0, 0.5, "tram"])
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


def test_an_outcome_loads_no_model(absent: mlembed.Model) -> None:
    """The truth is taken while the model cannot be loaded."""
    status, _ = post(Endpoints({"a": absent}), "models/a/outcome", {"id": "x", "value": 1})

    assert status == 202
