"""A login goes to the registry's own house and nowhere else, and tokens live as long as they say."""

from __future__ import annotations

import base64
import io
import json
import socket
import time
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from mlembed.errors import MlembedError, RegistryError
from mlembed.registry.http.transport import Transport
from mlembed.registry.oci.dockerlogin import Login
from mlembed.registry.oci.tokens import Tokens, read_challenges, require_realm
from registry.hostile import Answer, Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlembed.registry.http.credentials import Credentials
    from registry.hostile import Asked

SECRET = "hunter2:with:colons"  # noqa: S105  a bait
USER = f"alice:{SECRET}"
BASIC = "Basic " + base64.b64encode(USER.encode()).decode()
MANIFEST = "/v2/team/toy/manifests/x"


class House:
    """A registry and its token server, which lets nobody in but by the tokens it gave.

    Attributes:
        registry: Asks for tokens, and remembers what was asked.
        server: Gives them.
        login: Who asks.
        told: What the token server says besides the token.
        realm: What the registry names as the token server.
        given: Tokens that are good, with the scopes they are good for.
        tokens: Credentials of the client that was opened last.
    """

    def __init__(self, registry: Server, server: Server) -> None:
        self.registry, self.server = registry, server
        self.login = Login(USER)
        self.told: dict[str, Any] = {}
        self.realm = f"{server.url}/token"
        self.given: dict[str, str] = {}
        server.routes["/token"] = self.give
        for path in (MANIFEST, "/v2/team/toy/blobs/uploads/", "/v2/other/manifests/x"):
            registry.routes[path] = self.guard

    def give(self, asked: Asked) -> Answer:
        """Answer with a new token."""
        token = f"token-{len(self.given)}"
        self.given[token] = parse_qs(urlsplit(asked.path).query)["scope"][0]
        return Answer(body=json.dumps({"token": token, **self.told}).encode())

    def guard(self, asked: Asked) -> Answer:
        """Let in who bears a token for what is asked, and challenge others."""
        repository = asked.path.removeprefix("/v2/").rpartition("/")[0].rpartition("/")[0]
        repository = repository.removesuffix("/blobs")
        actions = {"GET": "pull", "POST": "pull,push", "DELETE": "delete"}[asked.method]
        scope = f"repository:{repository}:{actions}"
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if set(actions.split(",")) <= set(self.given.get(token, "").rpartition(":")[2].split(",")):
            return Answer(body=b"x")
        told = f'Bearer realm="{self.realm}",service="a \\"registry\\"",scope="{scope}"'
        return Answer(401, {"WWW-Authenticate": told})

    def connect(self, origin: str, credentials: Credentials | None) -> Transport:
        """Return a transport that gives up soon."""
        return Transport(origin, credentials, timeout_seconds=2.0, deadline_seconds=5.0)

    def open(self) -> Transport:
        """Return a new client of the registry."""
        self.tokens = Tokens(self.registry.url, lambda: self.login, self.connect)
        return self.connect(self.registry.url, self.tokens)

    def asked(self) -> list[dict[str, list[str]]]:
        """Return the queries that the token server was asked."""
        return [parse_qs(urlsplit(asked.path).query) for asked in self.server.asked]


@pytest.fixture
def house() -> Iterator[House]:
    """Return a running registry with its token server."""
    with Server() as registry, Server() as server:
        yield House(registry, server)


def test_a_token_is_asked_for_and_kept(house: House) -> None:
    """The password goes to the token server once, the token to the registry, and is used again."""
    client = house.open()
    for _ in range(3):
        assert client.get(MANIFEST, max_bytes=9).body == b"x"
    client.close()

    assert house.asked() == [{"service": ['a "registry"'], "scope": ["repository:team/toy:pull"]}]
    assert [asked.headers.get("authorization") for asked in house.server.asked] == [BASIC]
    shown = [asked.headers.get("authorization") for asked in house.registry.asked]
    assert shown == [None, *["Bearer token-0"] * 3]


def test_a_token_is_for_one_scope(house: House) -> None:
    """Pull and push, and each repository, have a token of their own; one to push pulls as well."""
    client = house.open()
    client.get(MANIFEST, max_bytes=9)
    client.send("POST", "/v2/team/toy/blobs/uploads/", content=io.BytesIO(b"blob"))
    client.get("/v2/other/manifests/x", max_bytes=9)
    client.send("DELETE", MANIFEST)
    for _ in range(2):
        client.get(MANIFEST, max_bytes=9)
        client.send("POST", "/v2/team/toy/blobs/uploads/")
    client.close()

    assert [asked["scope"][0] for asked in house.asked()] == [
        "repository:team/toy:pull",
        "repository:team/toy:pull,push",
        "repository:other:pull",
        "repository:team/toy:delete",
    ]


def test_nobody_gets_a_token_too(house: House) -> None:
    """Who has no login asks without one, as for public models."""
    house.login = Login()
    client = house.open()
    assert client.get(MANIFEST, max_bytes=9).status == 200
    client.close()

    assert [asked.headers.get("authorization") for asked in house.server.asked] == [None]


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ({}, 54.0),
        ({"expires_in": 300}, 270.0),
        ({"expires_in": 0.5}, 0.45),
        ({"expires_in": 10**15}, 3_240.0),
        *[({"expires_in": bad}, 54.0) for bad in (0, -1, "300", True, None)],
    ],
    ids=str,
)
def test_a_token_lives_as_long_as_it_says(
    house: House, told: dict[str, Any], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine tenths of the announced time a token is used, a minute's where nothing is announced."""
    house.told = told
    client, now = house.open(), time.monotonic()
    monkeypatch.setattr("mlembed.registry.oci.tokens.time.monotonic", lambda: now)
    client.get(MANIFEST, max_bytes=9)
    counts = []
    for later in (seconds - 0.01, seconds + 0.01):
        monkeypatch.setattr("mlembed.registry.oci.tokens.time.monotonic", lambda x=later: now + x)
        client.get(MANIFEST, max_bytes=9)
        counts.append((len(house.server.asked), len(house.registry.asked)))
    client.close()

    # The new token is fetched before the registry has to ask for it.
    assert counts == [(1, 3), (2, 4)]
    assert len(house.tokens._tokens) == 1


def test_a_revoked_token_is_replaced(house: House) -> None:
    """A token that is refused before its time is replaced by a new one, once."""
    client = house.open()
    client.get(MANIFEST, max_bytes=9)
    house.given.clear()
    assert client.get(MANIFEST, max_bytes=9).status == 200
    house.registry.routes[MANIFEST] = Answer(401, {"WWW-Authenticate": challenge(house)})
    with pytest.raises(RegistryError, match=r"refuses these credentials \(401\)"):
        client.get(MANIFEST, max_bytes=9)
    client.close()

    assert len(house.server.asked) == 3


def challenge(house: House, **changes: str) -> str:
    """Return a challenge as text."""
    about = {"realm": house.realm, "service": "s", "scope": "repository:team/toy:pull", **changes}
    return "Bearer " + ",".join(f'{key}="{text}"' for key, text in about.items())


@pytest.mark.parametrize("scope", ["", "registry:catalog:*", "repository:a:pull repository:b:pull"])
def test_a_scope_may_be_none_or_several(house: House, scope: str) -> None:
    """Without a scope the repository is asked for, and several scopes are asked for singly."""
    house.given[""] = ""
    house.registry.routes[MANIFEST] = lambda asked: (
        Answer(body=b"x")
        if "authorization" in asked.headers
        else Answer(401, {"WWW-Authenticate": challenge(house, scope=scope)})
    )
    client = house.open()
    for _ in range(2):
        assert client.get(MANIFEST, max_bytes=9).status == 200
    client.close()

    wanted = scope.split() or ["repository:team/toy:pull,push"]
    assert [asked["scope"] for asked in house.asked()] == [wanted]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404),
        Answer(200, body=b""),
        Answer(200, body=b"[]"),
        Answer(200, body=b'{"token":"a","token":"b"}'),
        Answer(200, body=b'{"token":""}'),
        Answer(200, body=b'{"token":1}'),
        Answer(200, body=b'{"token":"hunter2\\r\\nX: 1"}'),
        Answer(200, body=b'{"token":"' + b"hunter2" * 100_000 + b'"}'),
        Answer(401, body=b"hunter2"),
        Answer(200, {"Content-Encoding": "gzip"}, b"hunter2"),
    ],
    ids=lambda answer: f"{answer.status}-{bytes(answer.body)[:12]!r}",
)
def test_what_is_no_token_is_refused(house: House, answer: Answer) -> None:
    """A token server that answers anything else is an error that shows no secret."""
    house.server.routes["/token"] = answer
    client = house.open()
    with pytest.raises(RegistryError, match=r"token|REGISTRY_AUTH|4 bytes|compresses") as caught:
        client.get(MANIFEST, max_bytes=9)
    client.close()

    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_secrets_are_in_no_repr(house: House) -> None:
    """Neither password nor token is shown by what holds them."""
    tokens = Tokens(house.registry.url, lambda: house.login, house.connect)
    client = house.connect(house.registry.url, tokens)
    client.get(MANIFEST, max_bytes=9)
    client.close()

    for thing in (tokens, tokens._tokens, house.login, client):
        assert not [word for word in ("hunter2", "token-0") if word in repr(thing)]


GOOD = [
    ("https://registry.example.com", "https://registry.example.com/token"),
    ("https://registry.example.com:5000", "https://registry.example.com/token"),
    ("https://registry.example.com", "https://auth.example.com/token?a=b"),
    ("https://registry.example.com", "https://example.com/jwt/auth"),
    ("https://registry.example.co.uk", "https://auth.example.co.uk/token"),
    ("https://registry-1.docker.io", "https://auth.docker.io/token"),
    ("http://127.0.0.1:5000", "http://localhost:5001/token"),
    ("http://[::1]:5000", "http://[::1]:5001/token"),
]
EVIL = [
    ("https://registry.example.com", "https://evil.org/token"),
    ("https://registry.example.com", "http://registry.example.com/token"),
    ("https://registry.example.com", "http://localhost/token"),
    ("https://registry.example.com", "https://localhost/token"),
    ("https://registry.example.com", "https://registry.example.com@evil.org/token"),
    ("https://registry.example.com", "https://evil.org\\@registry.example.com.evil.org/token"),
    ("https://registry.example.com", "https://registry.example.com.evil.org/token"),
    ("https://registry.example.com", "https://notexample.com/token"),
    ("https://registry.example.com", "https://com/token"),
    ("https://registry.example.com", "ftp://registry.example.com/token"),
    ("https://registry.example.com", "//registry.example.com/token"),
    ("https://registry.example.com", "/token"),
    ("https://registry.example.com", "https://[x/token"),
    ("https://registry.example.co.uk", "https://evil.co.uk/token"),
    ("https://10.0.0.1", "https://99.9.0.1/token"),
    ("https://registry", "https://auth/token"),
    ("https://registry-1.docker.io.evil.org", "https://auth.docker.io/token"),
    ("http://127.0.0.1:5000", "http://auth.example.com/token"),
    ("http://127.0.0.1:5000", "https://127.0.0.2/token"),
]


@pytest.mark.parametrize(("registry", "realm"), GOOD)
def test_realms_of_one_house_are_trusted(registry: str, realm: str) -> None:
    """The registry's own host, its neighbours, Docker's pair and loopback may give tokens."""
    assert realm.startswith(require_realm(realm, registry).removesuffix(":443"))


@pytest.mark.parametrize(("registry", "realm"), EVIL)
def test_realms_of_others_are_refused(registry: str, realm: str) -> None:
    """A token server elsewhere, or one that is not protected, is named and refused."""
    with pytest.raises(RegistryError, match="no credentials are sent there") as caught:
        require_realm(realm, registry)

    host = urlsplit(realm).hostname if "[" not in realm else None
    wanted = host if host and realm.startswith("http") else "no host that can exist"
    assert f"sends for tokens to {wanted}" in str(caught.value)


def test_a_hostile_realm_sees_nothing(house: House) -> None:
    """A registry that names a foreign token server gets nobody even to knock there."""
    with socket.create_server(("127.0.0.2", 0)) as evil:
        evil.settimeout(0.0)
        place = f"127.0.0.2:{evil.getsockname()[1]}"
        for realm in (f"http://{place}/token", f"http://127.0.0.1@{place}/token"):
            house.realm = realm
            client = house.open()
            with pytest.raises(RegistryError, match="no credentials are sent there"):
                client.get(MANIFEST, max_bytes=9)
            client.close()
        with pytest.raises(BlockingIOError):
            evil.accept()

    assert not [asked for asked in house.registry.asked if "authorization" in asked.headers]


def test_a_token_server_is_not_left_by_a_path(house: House) -> None:
    """A realm whose path looks like a host is asked at its own host."""
    house.server.routes["/example.org/token"] = house.give  # http.server drops a slash
    house.realm = f"{house.server.url}//example.org/token"
    client = house.open()
    assert client.get(MANIFEST, max_bytes=9).status == 200
    client.close()

    assert house.server.asked[0].path.startswith("/example.org/token?")


def test_basic_is_shown_where_it_is_asked_for(house: House) -> None:
    """A registry that wants user and password gets them from the second request on."""
    guard = Answer(401, {"WWW-Authenticate": 'Basic realm="registry"'})
    house.registry.routes[MANIFEST] = lambda asked: (
        Answer(body=b"x") if asked.headers.get("authorization") == BASIC else guard
    )
    client = house.open()
    for _ in range(2):
        assert client.get(MANIFEST, max_bytes=9).status == 200
    house.login = Login("alice:wrong")
    house.registry.routes[MANIFEST] = guard
    for match in ("refuses these credentials", "refuses these credentials"):
        with pytest.raises(RegistryError, match=match):
            client.get(MANIFEST, max_bytes=9)
    client.close()

    shown = [asked.headers.get("authorization") for asked in house.registry.asked]
    wrong = "Basic " + base64.b64encode(b"alice:wrong").decode()
    assert shown == [None, BASIC, BASIC, BASIC, wrong, wrong]
    assert house.server.asked == []


def test_a_registry_may_change_what_it_asks_for(house: House) -> None:
    """A registry that wanted a password, and now wants tokens, gets them."""
    bearer = house.registry.routes[MANIFEST]
    guard = Answer(401, {"WWW-Authenticate": 'Basic realm="registry"'})
    house.registry.routes[MANIFEST] = lambda asked: (
        Answer(body=b"x") if asked.headers.get("authorization") == BASIC else guard
    )
    client = house.open()
    assert client.get(MANIFEST, max_bytes=9).status == 200
    house.registry.routes[MANIFEST] = bearer
    assert client.get(MANIFEST, max_bytes=9).status == 200
    client.close()

    assert house.registry.asked[-1].headers["authorization"] == "Bearer token-0"


def test_a_login_that_is_a_token_is_the_token(house: House) -> None:
    """Where the login is a token itself, no token server is asked."""
    house.login = Login("my-token")
    house.given["my-token"] = "repository:team/toy:pull"
    client = house.open()
    assert client.get(MANIFEST, max_bytes=9).status == 200
    client.close()

    assert house.server.asked == []


def test_other_origins_get_no_header(house: House) -> None:
    """What was learnt of the registry is shown to nobody else, whatever the path."""
    tokens = Tokens(house.registry.url, lambda: house.login, house.connect)
    client = house.connect(house.registry.url, tokens)
    client.get(MANIFEST, max_bytes=9)
    client.close()
    told: list[Mapping[str, str]] = [
        tokens.header(f"{url}{MANIFEST}", "GET") for url in (house.registry.url, house.server.url)
    ]

    assert told == [{"Authorization": "Bearer token-0"}, {}]


def test_a_note_is_told_where_a_login_is_wanted(house: House) -> None:
    """Where docker keeps the login in a helper, who may not write or read hears of it."""
    house.login = Login(note="docker keeps the login in a helper")
    client = house.open()
    assert client.get(MANIFEST, max_bytes=9).status == 200
    with pytest.raises(RegistryError, match=r"in a helper\. Set MLEMBED_REGISTRY_AUTH"):
        client.send("POST", "/v2/team/toy/blobs/uploads/")
    house.server.routes["/token"] = Answer(401)
    with pytest.raises(RegistryError, match=r"in a helper\. Set MLEMBED_REGISTRY_AUTH"):
        client.get("/v2/other/manifests/x", max_bytes=9)
    house.registry.routes[MANIFEST] = Answer(401, {"WWW-Authenticate": "Basic realm=x"})
    with pytest.raises(RegistryError, match=r"in a helper\. Set MLEMBED_REGISTRY_AUTH"):
        client.get(MANIFEST, max_bytes=9)
    house.login = Login()
    with pytest.raises(RegistryError, match=r"credentials.*\(401\).*MLEMBED_REGISTRY_AUTH"):
        client.get(MANIFEST, max_bytes=9)
    client.close()


@pytest.mark.parametrize(
    ("text", "offers"),
    [
        ("", {}),
        ("Basic", {"basic": {}}),
        ('Bearer realm="https://a/b?c=d",scope="x:y:pull,push"', {
            "bearer": {"realm": "https://a/b?c=d", "scope": "x:y:pull,push"}
        }),
        ("bearer Realm=https://a , SERVICE = b", {"bearer": {"realm": "https://a", "service": "b"}}),
        ('Basic realm="a, Bearer realm=b", Bearer realm="c"', {
            "basic": {"realm": "a, Bearer realm=b"}, "bearer": {"realm": "c"}
        }),
        ('Bearer realm="a\\"b"', {"bearer": {"realm": 'a"b'}}),
        ('Bearer realm="a",realm="b"', {"bearer": {"realm": "a"}}),
        ('Negotiate abc==, Bearer realm="a"', {"negotiate": {"abc": "="}, "bearer": {"realm": "a"}}),
        ('Bearer realm="open', {"bearer": {"realm": ""}}),
        ("realm=a", {}),
    ],
)  # fmt: skip
def test_challenges_are_read(text: str, offers: dict[str, dict[str, str]]) -> None:
    """Schemes and their parameters are told apart, quoted or not, in any case and order."""
    assert read_challenges(text) == offers


def test_a_long_challenge_is_cut() -> None:
    """A header of a megabyte is read in no time, up to a bound."""
    begun = time.monotonic()
    read_challenges('Bearer realm="' + '\\"' * 500_000)
    read_challenges("a=," * 300_000)

    assert time.monotonic() - begun < 2.0


def test_many_scopes_are_forgotten(house: House) -> None:
    """A registry that asks for ever new scopes fills no memory."""
    scopes = iter(range(1_000))
    house.registry.routes[MANIFEST] = lambda asked: (
        Answer(body=b"x")
        if "authorization" in asked.headers
        else Answer(401, {"WWW-Authenticate": challenge(house, scope=f"a:b:{next(scopes)}")})
    )
    tokens = Tokens(house.registry.url, lambda: house.login, house.connect)
    client = house.connect(house.registry.url, tokens)
    for _ in range(80):
        with pytest.raises(MlembedError):
            client.get(MANIFEST, max_bytes=9)
    client.close()

    assert len(tokens._tokens) == 64
