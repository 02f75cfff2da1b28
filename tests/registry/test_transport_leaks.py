"""What is refused is told without the secrets that were in it, in errors and in logs."""

from __future__ import annotations

import io
import logging
import traceback
from typing import TYPE_CHECKING

import pytest

from mlembed.errors import MlembedError, RegistryError, SettingsError
from mlembed.registry.http.transport import Static, Transport
from registry.hostile import Answer, Server, redirect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "hunter2-token"  # noqa: S105  a bait
SIGNED = "X-Signature=hunter2-signature"


@pytest.fixture
def server() -> Iterator[Server]:
    """Return the registry, which has one document."""
    with Server() as running:
        running.routes["/doc"] = Answer(body=b"x")
        yield running


def transport(server: Server, ca_file: Path | None = None) -> Transport:
    """Return a transport that bears the token to *server*."""
    return Transport(
        server.url,
        Static(server.url, TOKEN),
        timeout_seconds=0.3,
        deadline_seconds=2.0,
        ca_file=ca_file,
    )


def test_static_refuses_what_cannot_be_sent() -> None:
    """A token with blanks or of other than ASCII is a settings error that does not show it."""
    for authorization in ("", "Bearer hunter2", "hunter2\n", "hünter2"):
        with pytest.raises(SettingsError, match="without the word Bearer") as caught:
            Static("https://h/", authorization)
        assert "nter2" not in str(caught.value)
    with pytest.raises(SettingsError, match="malformed"):
        Static("models", TOKEN)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_callers_hear_of_the_setting(server: Server, status: int) -> None:
    """Who is refused hears which variable to set, and whether it was set at all."""
    server.routes["/doc"] = Answer(status, body=b"hunter2")
    named, unnamed = transport(server), Transport(server.url)

    with pytest.raises(
        RegistryError, match=rf"refuses these credentials \({status}\).*REGISTRY_AUTH"
    ):
        named.get("/doc", max_bytes=1)
    with pytest.raises(
        RegistryError, match=rf"wants credentials \({status}\); set MLEMBED_REGISTRY"
    ):
        unnamed.get("/doc", max_bytes=1)
    named.close()
    unnamed.close()
    assert len(server.asked) == 2


def test_headers_that_http_cannot_carry_are_refused(server: Server) -> None:
    """A header with a line break is never sent, and the error does not show it."""
    made = transport(server)
    for headers in (
        {"X": "hunter2\r\nY: 1"},
        {"X": "hünter2"},
        {"X Y": "hunter2"},
        {"": "hunter2"},
    ):
        with pytest.raises(RegistryError, match="what HTTP cannot carry") as caught:
            made.get("/doc", headers=headers, max_bytes=1)
        assert "nter2" not in str(caught.value)
    made.close()
    assert server.asked == []


def echo(server: Server) -> Answer:
    """Return what a confused server does: it sends the request back as its answer."""
    return Answer(
        raw=f"GET / Authorization: Bearer {TOKEN}\r\n{server.url}?{SIGNED}\r\n\r\n".encode()
    )


def test_secrets_are_in_no_error(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """No message, traceback, repr or log line of ours shows a credential or a query.

    Below httpx, httpcore logs headers where a host turns its DEBUG on; that is the host's choice.
    """
    caplog.set_level(logging.DEBUG)
    server.routes |= {
        "/echo": echo(server),
        "/500": Answer(500, {"Retry-After": "0"}, TOKEN.encode()),
        "/403": Answer(403, {}, TOKEN.encode()),
        "/304": Answer(304),
        "/large": Answer(body=TOKEN.encode() * 100),
        "/gzip": Answer(headers={"Content-Encoding": TOKEN}),
        "/away": redirect(f"http://user:{TOKEN}@127.0.0.1:1/?{SIGNED}"),
        "/bad": redirect(f"http://[{TOKEN}]:x/?{SIGNED}"),
        "/loop": redirect(f"/loop?{SIGNED}"),
    }
    made = transport(server)
    texts = [repr(made), repr(Static(server.url, TOKEN)), str(Static(server.url, TOKEN))]
    texts.append(repr(made.get(f"/doc?{SIGNED}", max_bytes=1)))
    for path in [path for path in server.routes if path != "/doc"]:
        url = server.url.replace("://", f"://user:{TOKEN}@") + f"{path}?{SIGNED}#{TOKEN}"
        with pytest.raises(MlembedError) as caught:
            made.download(url, size=1, sha256="0" * 64, file=io.BytesIO())
        texts.append("".join(traceback.format_exception(caught.value)))
        with pytest.raises(MlembedError) as caught:
            made.send("POST" if path == "/echo" else "GET", url, max_bytes=1)
        texts += ["".join(traceback.format_exception(caught.value)), repr(caught.value)]
    made.close()

    assert not [text for text in texts if "hunter2" in text]
    assert not [r for r in caplog.records if r.name.startswith(("mlembed", "httpx"))]
    assert not [r for r in caplog.records if r.levelno > logging.DEBUG]
