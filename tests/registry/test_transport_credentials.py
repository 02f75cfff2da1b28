"""Credentials go to the origin they are for, and to no other, however a server redirects."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import pytest

from mlembed.errors import RegistryError
from mlembed.registry.http.transport import Response, Static, Transport
from registry.hostile import Answer, Server, redirect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TOKEN = "hunter2-token"  # noqa: S105  a bait
SIGNED = "X-Signature=hunter2-signature"


@pytest.fixture
def server() -> Iterator[Server]:
    """Return the registry, which has one document."""
    with Server() as running:
        running.routes["/doc"] = Answer(body=b"x")
        yield running


@pytest.fixture
def other() -> Iterator[Server]:
    """Return a server on another port, which has it too."""
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


class Renewed:
    """Credentials that are no good until a challenge was answered, and not always then."""

    def __init__(self, good: str = "Bearer good") -> None:
        self._good = good
        self._now = ""
        self.challenges: list[Response] = []
        self.asked: list[tuple[str, str]] = []

    def header(self, url: str, method: str, /) -> Mapping[str, str]:
        """Return the token there is."""
        self.asked.append((url, method))
        return {"Authorization": self._now} if self._now else {}

    def challenged(self, response: Response, /) -> bool:
        """Take the token."""
        self.challenges.append(response)
        self._now = self._good
        return True


class Careless:
    """Credentials that would go anywhere, so that the transport alone holds them back."""

    def header(self, _url: str, _method: str, /) -> Mapping[str, str]:
        """Return the token, wherever it goes."""
        return {"Authorization": TOKEN}

    def challenged(self, _response: Response, /) -> bool:
        """Want to try again."""
        return True


def guarded(asked: object) -> Answer:
    """Answer who bears the good token, and challenge others."""
    headers = getattr(asked, "headers", {})
    if headers.get("authorization") == "Bearer good":
        return Answer(body=b"x")
    return Answer(401, {"WWW-Authenticate": 'Bearer realm="https://auth/token",service="toy"'})


def test_static_is_a_token_or_a_user(server: Server) -> None:
    """A colon tells a user with a password from a token."""
    for authorization in (TOKEN, "user:pass word:ü"):
        made = Transport(server.url, Static(server.url, authorization))
        made.get("/doc", max_bytes=1)
        made.close()

    token, user = (asked.headers["authorization"] for asked in server.asked)
    assert token == f"Bearer {TOKEN}"
    assert base64.b64decode(user.removeprefix("Basic ")).decode() == "user:pass word:ü"


def test_static_is_for_one_origin() -> None:
    """Every spelling of its origin is served, and no other scheme, host or port."""
    static = Static("https://Registry.example/root", TOKEN)

    for url in (
        "https://registry.example/x",
        "https://registry.example:443/",
        "https://REGISTRY.example",
    ):
        assert static.header(url, "GET") == {"Authorization": f"Bearer {TOKEN}"}
    for url in (
        "http://registry.example/",
        "https://registry.example:444/",
        "https://registry.example.evil/",
    ):
        assert static.header(url, "GET") == {}
    abroad = Static("https://b\u00fccher.example/", TOKEN)
    assert abroad.header("https://xn--bcher-kva.example/x", "GET")
    assert not static.challenged(Response(401, {}, b"", "https://registry.example/"))


def test_credentials_stay_with_their_origin(server: Server, other: Server) -> None:
    """Another port is another origin: nothing that says who asks goes there, nor back again."""
    server.routes |= {
        "/away": redirect(f"{other.url}/doc"),
        "/round": redirect(f"{other.url}/back"),
        "/here": redirect("/doc"),
    }
    other.routes["/back"] = redirect(f"{server.url}/doc")
    made = transport(server)
    secret = {"X-Amz-Security-Token": "hunter2", "Cookie": "hunter2", "X-Plain": "kept"}

    for path in ("/here", "/away", "/round"):
        assert made.get(path, headers=secret, max_bytes=1).body == b"x"
    made.close()

    bearing = [("authorization" in a.headers, "cookie" in a.headers) for a in server.asked]
    assert bearing == [(True, True)] * 4 + [(False, False)]
    assert len(other.asked) == 2
    for asked in other.asked:
        assert "hunter2" not in str(asked)
        assert asked.headers["x-plain"] == "kept"


def test_credentials_are_held_back_by_the_transport(server: Server, other: Server) -> None:
    """Careless credentials do no harm: abroad they are not asked, at whichever step of a call."""
    server.routes |= {"/away": redirect(f"{other.url}/hop"), "/back": redirect("/doc")}
    other.routes |= {
        "/hop": redirect("/hop2"),
        "/hop2": redirect(f"{server.url}/back"),
        "/401": Answer(401),
    }
    made = Transport(server.url, Careless())
    made.get("/away", max_bytes=1)
    made.get(f"{other.url}/doc", max_bytes=1)
    made.get(f"{other.url}/hop", max_bytes=1)
    with pytest.raises(RegistryError, match="wants credentials"):
        made.get(f"{other.url}/401", max_bytes=1)
    made.close()

    told = [(asked.path, "authorization" in asked.headers) for asked in server.asked]
    assert told == [("/away", True), *[("/back", False), ("/doc", False)] * 2]
    assert [asked.path for asked in other.asked] == [
        "/hop",
        "/hop2",
        "/doc",
        "/hop",
        "/hop2",
        "/401",
    ]
    assert not any("authorization" in asked.headers for asked in other.asked)


def test_credentials_are_not_sent_to_where_a_call_begins(server: Server, other: Server) -> None:
    """A whole URL of another origin is asked without them, though it may lead home."""
    other.routes["/home"] = redirect(f"{server.url}/doc")
    made = transport(server)
    made.get(f"{other.url}/doc", max_bytes=1)
    made.get(f"{other.url}/home", max_bytes=1)
    made.send("PUT", f"{other.url}/doc", content=b"blob")
    made.get(f"{other.url}/doc", max_bytes=1, headers={"Authorization": "mine"})
    made.close()

    told = [asked.headers.get("authorization") for asked in (*other.asked, *server.asked)]
    assert told == [None, None, None, "mine", None]


def test_cookies_are_not_kept(server: Server) -> None:
    """What a server wants remembered is forgotten."""
    server.routes["/doc"] = Answer(headers={"Set-Cookie": "id=1; Path=/"}, body=b"x")
    server.routes["/go"] = redirect("/doc")
    made = transport(server)
    for path in ("/doc", "/go"):
        made.get(path, max_bytes=1)
    made.close()

    assert not any("cookie" in asked.headers for asked in server.asked)


def test_a_challenge_is_answered_once(server: Server) -> None:
    """Credentials learn from a 401 and the call goes on; a second 401 is an error."""
    server.routes["/doc"] = guarded
    for good in ("Bearer good", "Bearer bad"):
        renewed = Renewed(good)
        made = Transport(server.url, renewed)
        if good == "Bearer good":
            assert made.get("/doc", max_bytes=1).body == b"x"
            assert made.send("PUT", "/doc", content=io.BytesIO(b"blob")).status == 200
        else:
            with pytest.raises(RegistryError, match=r"/doc refuses these credentials \(401\)"):
                made.get("/doc", max_bytes=1)
        made.close()

        assert [response.status for response in renewed.challenges] == [401]
        assert renewed.challenges[0].headers["www-authenticate"].startswith("Bearer realm=")
        assert renewed.asked[0] == (f"{server.url}/doc", "GET")


def test_a_challenge_from_elsewhere_is_not_answered(server: Server, other: Server) -> None:
    """A host that a redirect leads to cannot ask for credentials."""
    other.routes["/doc"] = guarded
    server.routes["/away"] = redirect(f"{other.url}/doc")
    renewed = Renewed()
    made = Transport(server.url, renewed)
    with pytest.raises(RegistryError, match="wants credentials"):
        made.get("/away", max_bytes=1)
    made.close()

    assert renewed.challenges == []
    assert renewed.asked == [(f"{server.url}/away", "GET")]
