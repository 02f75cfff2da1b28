"""Behind real servers of FastAPI and Flask the answers are those of the endpoints themselves."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from fastapi import Depends, FastAPI, HTTPException
from flask import Flask, abort
from flask import request as flask_request

import mlembed_fastapi
import mlembed_flask
from endpoints.asking import JSON, PLAIN
from endpoints.hosts import MOUNT, serving, uvicorned, werkzeuged
from mlembed.endpoints import Endpoints, Limits, Rate, Request
from mlembed.testing import capture_predictions
from serving.servers import GUNICORN, ROOT, end, port_of, server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import mlembed
    from mlembed.registry.file import FileRegistry

PREDICT = f"{MOUNT}/models/toy/predict"
BODY = json.dumps({"record": PLAIN}).encode()


class Given(NamedTuple):
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(
    port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> Given:
    """Ask a server; the path is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        chunked = body is not None and not isinstance(body, bytes)
        connection.request(method, path, body, headers or JSON, encode_chunked=chunked)
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Given(answer.status, named, answer.read())
    finally:
        connection.close()


def send(port: int, text: bytes, rest: bytes = b"") -> bytes:
    """Send bytes as they are; return what comes until the server closes or falls silent."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(text)
        with contextlib.suppress(OSError):  # to close before the end is its right
            connection.sendall(rest)
        connection.settimeout(2)
        found = b""
        with contextlib.suppress(OSError):
            while part := connection.recv(65536):
                found += part
        return found


@pytest.fixture(params=["fastapi", "flask"])
def port(request: pytest.FixtureRequest, endpoints: Endpoints) -> Iterator[int]:
    """Return the port of a server."""
    with serving(request.param, endpoints) as port:
        yield port


def test_prediction_over_http(port: int, models: dict[str, mlembed.Model]) -> None:
    """A record posted to a server comes back as a prediction."""
    given = ask(port, "POST", PREDICT, BODY)

    assert given.status == 200
    assert given.headers["content-type"] == "application/json"
    assert json.loads(given.body)["score"] == models["toy"].predict(PLAIN).score


@pytest.mark.parametrize("path", ["health/ready", "models", "openapi.json", "v2/", "v2/models/toy"])
def test_get_and_head(port: int, endpoints: Endpoints, path: str) -> None:
    """GET gives what the endpoints give, and HEAD its headers."""
    wanted = endpoints.answer(Request("GET", path, mount=MOUNT))

    whole = ask(port, "GET", f"{MOUNT}/{path}")
    bare = ask(port, "HEAD", f"{MOUNT}/{path}")

    assert (whole.status, whole.body) == (wanted.status, wanted.body)
    assert (bare.status, bare.body) == (wanted.status, b"")
    assert bare.headers["content-length"] == str(len(whole.body))


def test_other_methods(port: int) -> None:
    """A wrong method is told the right ones, and OPTIONS is answered by the endpoints."""
    refused = ask(port, "DELETE", PREDICT)
    told = ask(port, "OPTIONS", PREDICT)

    assert (refused.status, refused.headers["allow"]) == (405, "POST, OPTIONS")
    assert refused.headers["content-type"] == "application/problem+json"
    assert (told.status, told.headers["allow"]) == (204, "POST, OPTIONS")


@pytest.mark.parametrize(
    "path",
    [
        f"{MOUNT}/models/../health/live",
        f"{MOUNT}/models/toy/%2e%2e/%2e%2e/health/live",
        f"{MOUNT}/models/..%2Fhealth/live",
        f"{MOUNT}/models/toy%2Fpredict%2Fx",
        f"{MOUNT}/models//toy/predict",
        f"{MOUNT}//models/toy/predict",
        f"{MOUNT}/models/toy%00/predict",
        f"{MOUNT}/models/%ff/predict",
        f"{MOUNT}/",
    ],
)
def test_path_tricks(port: int, path: str) -> None:
    """What is no path finds nothing, however it is written."""
    with capture_predictions() as made:
        given = ask(port, "POST", path, BODY)

    assert given.status == 404
    assert b"File" not in given.body
    assert made == []


def test_a_query_means_nothing(port: int) -> None:
    """What stands behind a question mark changes no answer."""
    assert ask(port, "GET", f"{MOUNT}/health/live?x=../../etc").status == 200


@pytest.mark.parametrize("n_bytes", [20_001, 30_000_000])
def test_a_long_body_is_refused_by_its_length(port: int, n_bytes: int) -> None:
    """A body that says it is too long is refused before it is sent."""
    text = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"

    found = send(port, f"{text}Content-Length: {n_bytes}\r\n\r\n".encode())

    assert b" 413 " in found.splitlines()[0]
    assert b"urn:problem-type:mlembed:too-large" in found


def test_a_long_body_without_a_length_is_refused(port: int) -> None:
    """Of chunks that never end no more is read than the limit."""
    text = (
        f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"

    found = send(port, text.encode() + chunk * 6, chunk * 10)

    assert b" 413 " in found.splitlines()[0]


def test_chunks_are_read(port: int) -> None:
    """A body in chunks that is not too long is answered."""
    given = ask(port, "POST", PREDICT, iter([BODY[:20], BODY[20:]]))

    assert given.status == 200


def test_a_body_that_ends_early_is_no_fault(port: int, endpoints: Endpoints) -> None:
    """A client that goes in the middle of its body breaks nothing."""
    del endpoints
    text = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(f"{text}Content-Length: 500\r\n\r\n".encode() + b'{"rec')

    assert ask(port, "POST", PREDICT, BODY).status == 200


def test_strange_host_changes_nothing(port: int) -> None:
    """The host's name that a client claims is in no answer."""
    given = ask(port, "GET", f"{MOUNT}/openapi.json", None, {"Host": "evil.example"})

    assert given.status == 200
    assert b"evil.example" not in given.body


def test_dependencies_of_fastapi_let_in_whom_the_host_lets_in(endpoints: Endpoints) -> None:
    """Without the host's leave nothing is read and nothing predicted."""

    def user(login: str = "") -> None:
        if login != "right":
            raise HTTPException(401)

    app = FastAPI()
    router = mlembed_fastapi.router(endpoints, dependencies=[Depends(user)])
    app.include_router(router, prefix=MOUNT)

    with uvicorned(app) as port, capture_predictions() as made:
        assert ask(port, "POST", PREDICT, BODY).status == 401
        assert ask(port, "GET", f"{MOUNT}/health/live").status == 401
        assert made == []
        assert ask(port, "POST", f"{PREDICT}?login=right", BODY).status == 200


def test_before_request_of_flask_lets_in_whom_the_host_lets_in(endpoints: Endpoints) -> None:
    """As for FastAPI."""
    blueprint = mlembed_flask.blueprint(endpoints)

    @blueprint.before_request
    def user() -> None:
        if flask_request.args.get("login") != "right":
            abort(401)

    app = Flask("host")
    app.register_blueprint(blueprint, url_prefix=MOUNT)

    with werkzeuged(app) as port, capture_predictions() as made:
        assert ask(port, "POST", PREDICT, BODY).status == 401
        assert ask(port, "GET", f"{MOUNT}/health/live").status == 401
        assert made == []
        assert ask(port, "POST", f"{PREDICT}?login=right", BODY).status == 200


@pytest.mark.parametrize("framework", ["fastapi", "flask"])
def test_the_peer_is_throttled(models: dict[str, mlembed.Model], framework: str) -> None:
    """By default a client is its address; Retry-After tells when to come back."""
    limits = Limits(rate=Rate(per_second=0.01, burst=2))

    with serving(framework, Endpoints(models, limits)) as port:
        given = [ask(port, "POST", PREDICT, BODY) for _ in range(3)]

    assert [answer.status for answer in given] == [200, 200, 429]
    assert 90 < int(given[2].headers["retry-after"]) <= 100


@pytest.mark.parametrize("framework", ["fastapi", "flask"])
def test_the_host_may_say_who_asks(models: dict[str, mlembed.Model], framework: str) -> None:
    """A host that knows its callers better than by address names them."""
    endpoints = Endpoints(models, Limits(rate=Rate(per_second=0.01)))
    app: Any
    if framework == "fastapi":
        app = FastAPI()
        named = mlembed_fastapi.router(endpoints, client=lambda r: r.headers["x-user"])
        app.include_router(named, prefix=MOUNT)
    else:
        app = Flask("host")
        blueprint = mlembed_flask.blueprint(endpoints, client=lambda r: r.headers["x-user"])
        app.register_blueprint(blueprint, url_prefix=MOUNT)

    with uvicorned(app) if framework == "fastapi" else werkzeuged(app) as port:
        statuses = [
            ask(port, "POST", PREDICT, BODY, JSON | {"x-user": user}).status for user in "aab"
        ]

    assert statuses == [200, 429, 200]


@pytest.mark.parametrize("mount", ["", "/a/b"])
def test_the_mount_may_be_anywhere(endpoints: Endpoints, mount: str) -> None:
    """At the root, or deep below it, paths are the same and the description names the mount."""
    fast, flask = FastAPI(openapi_url=None), Flask("host", static_folder=None)
    fast.include_router(mlembed_fastapi.router(endpoints), prefix=mount)
    flask.register_blueprint(mlembed_flask.blueprint(endpoints), url_prefix=mount or None)

    with uvicorned(fast) as one, werkzeuged(flask) as other:
        for port in (one, other):
            described = json.loads(ask(port, "GET", f"{mount}/openapi.json").body)
            assert described["servers"] == [{"url": mount or "/"}]
            assert ask(port, "POST", f"{mount}/models/toy/predict", BODY).status == 200


def test_gunicorn_serves_the_blueprint(registry: FileRegistry, tmp_path: Path) -> None:
    """Forked after loading, with chunks and with lengths, each worker answers and ends."""
    del registry
    (tmp_path / "host.py").write_text(
        "import os, mlembed, mlembed_flask\n"
        "from flask import Flask\n"
        "from mlembed.endpoints import Endpoints, Limits, Rate\n"
        "folder = os.environ['TOY_FOLDER']\n"
        "model = mlembed.load('toy', registry=folder + '/registry',\n"
        "    settings=mlembed.Settings(log_dir=folder + '/log', poll_seconds=0))\n"
        "model.version\n"
        "app = Flask('host')\n"
        "limits = Limits(max_bytes=20_000, rate=Rate(per_second=1000, burst=1000))\n"
        "app.register_blueprint(\n"
        "    mlembed_flask.blueprint(Endpoints({'toy': model}, limits)), url_prefix='/ml')\n"
    )
    paths = f"{tmp_path}:{ROOT}:{ROOT / 'integrations'}:{ROOT / 'tests'}"
    options = ("--preload", "--workers", "2", "--threads", "2", "host:app")

    with server(tmp_path, *GUNICORN, *options, PYTHONPATH=paths) as process:
        port = port_of(process)
        for _ in range(5):
            assert ask(port, "POST", PREDICT, BODY).status == 200
            assert ask(port, "POST", PREDICT, iter([BODY[:20], BODY[20:]])).status == 200
        long = ask(port, "POST", PREDICT, iter([b" " * 1000] * 100))
        assert long.status == 413
        assert end(process) == 0


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import mlembed.endpoints", {"fastapi", "starlette", "flask", "werkzeug", "django"}),
        ("import mlembed_fastapi", {"flask", "werkzeug", "django"}),
        ("import mlembed_flask", {"fastapi", "starlette", "django"}),
    ],
)
def test_no_framework_is_loaded_for_another(code: str, absent: set[str]) -> None:
    """A host of one framework needs no other."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'integrations'}", "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert not {name.partition(".")[0] for name in done.stdout.split()} & absent
