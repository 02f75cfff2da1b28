"""Paths and methods: what there is answers, and whatever else comes finds nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from endpoints.asking import JSON, get, kind, post
from mlembed.endpoints import Endpoints, Lookup, Request

if TYPE_CHECKING:
    import mlembed

GETS = ("models", "health/live", "health/ready", "openapi.json", "v2", "v2/health/live")
GETS_V2 = ("v2/health/ready", "v2/models/toy", "v2/models/toy/ready")


@pytest.mark.parametrize("path", [*GETS, *GETS_V2])
def test_head_is_get_without_its_body(endpoints: Endpoints, path: str) -> None:
    """HEAD tells what GET would, the length included."""
    whole = endpoints.answer(Request("GET", path))
    bare = endpoints.answer(Request("HEAD", path))

    assert (bare.status, bare.body) == (whole.status, b"")
    assert bare.headers == {**whole.headers, "Content-Length": str(len(whole.body))}


@pytest.mark.parametrize("path", [*GETS, *GETS_V2])
def test_a_slash_at_the_end_means_nothing(endpoints: Endpoints, path: str) -> None:
    """The protocol's own description has `v2/`, and people write others."""
    assert endpoints.answer(Request("GET", f"{path}/")) == endpoints.answer(Request("GET", path))


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("models/toy/predict", "POST, OPTIONS"),
        ("models/toy/outcome", "POST, OPTIONS"),
        ("v2/models/toy/infer", "POST, OPTIONS"),
        ("v2/models/toy/versions/1.0.0/infer", "POST, OPTIONS"),
        ("models", "GET, HEAD, OPTIONS"),
        ("v2/models/toy", "GET, HEAD, OPTIONS"),
    ],
)
def test_other_methods_are_told_the_right_ones(
    endpoints: Endpoints, path: str, allowed: str
) -> None:
    """405 and OPTIONS tell the methods that there are."""
    for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "BREW"} - {
        *allowed.split(", ")
    }:
        answer = endpoints.answer(Request(method, path, JSON, b"{}"))
        assert (answer.status, answer.headers["Allow"]) == (405, allowed)
    answer = endpoints.answer(Request("OPTIONS", path))
    assert (answer.status, answer.headers, answer.body) == (204, {"Allow": allowed}, b"")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "models//predict",
        "models/toy",
        "models/toy/predict//",
        "models/toy/predict/x",
        "models/toy/Predict",
        "models/../toy/predict",
        "models/toy/../../health/live",
        "models/toy%2Fpredict",
        "Models",
        "health",
        "v1/models/toy",
        "v2/models",
        "v2/models//infer",
        "v2/models/toy/versions",
        "v2/models/toy/versions//infer",
        "v2/models/toy/infer/x",
        "v3",
        "v2x",
        "\0",
        "models/\n/predict",
        "a" * 100_000,
        "models/" + "a" * 100_000 + "/predict",
    ],
)
def test_other_paths_lead_nowhere(endpoints: Endpoints, path: str) -> None:
    """What is no path of ours is 404, and none of it is told back."""
    answer = endpoints.answer(Request("POST", path, JSON, b"{}"))

    assert answer.status == 404
    assert len(answer.body) < 300
    if path.startswith("v2/"):
        assert json.loads(answer.body) == {"error": "GET openapi.json lists the paths"}
    elif "\n" not in path:
        assert kind(answer) == "not-found"


@pytest.mark.parametrize("name", ["..", ".", "%2e%2e", "toy@1.0.0", "toy ", "TOY", "\0", "../../x"])
def test_a_name_is_looked_up_and_nothing_else(endpoints: Endpoints, name: str) -> None:
    """A name that is none finds no model, whatever it looks like."""
    status, _ = post(endpoints, f"models/{name}/predict", {"record": {}})

    assert status == 404


def test_a_lookup_makes_models_when_they_are_asked_for(
    models: dict[str, mlembed.Model],
) -> None:
    """A host that makes its models itself makes none for a request that needs none."""
    made: list[str] = []

    def find(name: str) -> mlembed.Model:
        made.append(name)
        return models[name]

    lookup = Lookup(lambda: models, find)
    endpoints = Endpoints(lookup)

    assert len(lookup) == len(models)
    assert get(endpoints, "health/live")[0] == 200
    assert post(endpoints, "models/other/predict", {"record": {}})[0] == 404
    assert made == []
    assert post(endpoints, "models/toy/predict", {"record": {}})[0] == 422
    assert made == ["toy"]


def test_a_fault_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """A host's function that raises gives a 500 that says nothing of it; the log does."""

    def find(_name: str) -> mlembed.Model:
        raise RuntimeError("/srv/secret")

    endpoints = Endpoints(Lookup(lambda: ["toy"], find))

    for path in ("models/toy/predict", "v2/models/toy/infer"):
        status, answer = post(endpoints, path, {"record": {}})
        assert status == 500
        assert "secret" not in str(answer)
    assert "RuntimeError: /srv/secret" in caplog.text
