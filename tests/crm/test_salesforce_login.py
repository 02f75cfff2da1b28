"""Logging in to Salesforce: both flows, tokens that expire, and where a token may go."""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from crm.fakes.salesforce import (
    CLIENT,
    SECRET,
    Organization,
    connect,
    keys,
    lead,
    organization,
    refuse,
    say,
)
from mlembed.errors import MissingExtraError, SettingsError
from mlembed_crm.destinations import Receipt
from mlembed_crm.destinations.salesforce import Salesforce
from mlembed_crm.destinations.salesforce.login import by_key, service_url
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crm.fakes.salesforce import Script

USER = "integration@example.com"
DOMAIN = "https://acme.my.salesforce.com"


def pem(key: Any, password: bytes | None = None) -> str:
    """Return a private key as text."""
    sealing: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        sealing = serialization.BestAvailableEncryption(password)
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    text: bytes = key.private_bytes(kind, form, sealing)
    return text.decode()


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    """Return an RSA key."""
    return rsa.generate_private_key(65_537, 2048)


@pytest.fixture
def server() -> Iterator[Organization]:
    """Return a running organization."""
    with organization() as running:
        yield running


def failure(server: Organization, **settings: Any) -> DeliveryError:
    """Return the error that a send raises."""
    with pytest.raises(DeliveryError) as caught:
        connect(server, **settings).send([lead()])
    assert SECRET not in str(caught.value) + repr(caught.value.args)
    return caught.value


def test_login_by_secret_is_a_form(server: Organization) -> None:
    """The secret goes into the body of the token call and nowhere else."""
    connect(server).send([lead()])

    (method, path, body), *others = server.calls
    assert (method, path) == ("POST", "/services/oauth2/token")
    assert urllib.parse.parse_qs(body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": [CLIENT],
        "client_secret": [SECRET],
    }
    assert not any(SECRET in f"{path}{body!r}" for _, path, body in others)


def test_login_by_key_shows_no_secret(server: Organization, key: rsa.RSAPrivateKey) -> None:
    """The assertion is signed, short-lived, and says for whom, from whom and to whom."""
    server.public_key, server.audience = key.public_key(), server.url

    (told,) = connect(server, private_key=pem(key), username=USER, login_url=server.url).send(
        [lead()]
    )

    (claims,) = server.claims
    assert isinstance(told, Receipt)
    assert set(claims) == {"iss", "sub", "aud", "exp"}
    assert (claims["iss"], claims["sub"]) == (CLIENT, USER)
    assert 60 < claims["exp"] - time.time() <= 180


@pytest.mark.parametrize(
    ("domain", "login_url", "audience", "door"),
    [
        (DOMAIN, None, "https://login.salesforce.com", DOMAIN),
        (
            "https://acme--dev.sandbox.my.salesforce.com",
            None,
            "https://test.salesforce.com",
            "https://acme--dev.sandbox.my.salesforce.com",
        ),
        (DOMAIN, "https://test.salesforce.com", *["https://test.salesforce.com"] * 2),
    ],
)
def test_by_key_names_its_audience(
    key: rsa.RSAPrivateKey, domain: str, login_url: str | None, audience: str, door: str
) -> None:
    """Sandboxes have an audience of their own, and a login URL is also the audience."""
    login = by_key(domain, CLIENT, USER, pem(key), login_url)

    claims = jwt.decode(login.form()["assertion"], options={"verify_signature": False})
    assert (login.url, claims["aud"]) == (door, audience)


@pytest.mark.parametrize(
    "private_key",
    [
        "no key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(rsa.generate_private_key(65_537, 2048), b"sealed"),
    ],
    ids=["text", "broken", "elliptic", "sealed"],
)
def test_salesforce_refuses_a_key_that_cannot_sign(private_key: str) -> None:
    """A key that cannot sign is told when it is configured, without showing it."""
    with pytest.raises(SettingsError, match="PEM") as caught:
        Salesforce(DOMAIN, client_id=CLIENT, private_key=private_key, username=USER)

    assert private_key.strip() not in str(caught.value)


def test_salesforce_names_the_extra(
    key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without PyJWT the flow with a key says what to install."""
    monkeypatch.setitem(sys.modules, "jwt", None)

    with pytest.raises(MissingExtraError, match=r"mlembed\[salesforce\]"):
        Salesforce(DOMAIN, client_id=CLIENT, private_key=pem(key), username=USER)


def test_send_logs_in_again_once_when_the_token_expires(server: Organization) -> None:
    """An expired session costs one login, and the batch is taken."""
    crm = connect(server)
    crm.send([lead("1")])
    server.expire()

    (told,) = crm.send([lead("2")])

    assert isinstance(told, Receipt)
    assert server.logins == 2


def test_send_stops_when_the_new_token_is_refused_too(server: Organization) -> None:
    """A second refusal is not answered with a third login: that would lock the account."""
    server.broken = True

    error = failure(server)

    assert error.stops
    assert server.logins == 2


def test_workers_share_one_login(server: Organization) -> None:
    """Threads that are refused together ask for one token together."""
    crm = connect(server)
    server.login_seconds = 0.05
    crm.send([lead("first")])
    server.expire()
    ready = threading.Barrier(8)

    def work(number: int) -> None:
        ready.wait()
        crm.send([lead(f"{number}")])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert server.logins == 2
    assert len(keys(server)) == 9


def test_send_stops_when_the_secret_is_wrong(server: Organization) -> None:
    """A refused login stops the destination, and says what to check."""
    error = failure(server, client_secret="another")  # noqa: S106

    assert error.stops
    assert not error.permanent
    assert "invalid_client" in str(error)
    assert "client_id" in str(error)
    assert "another" not in str(error)


@pytest.mark.parametrize(
    ("script", "stops", "pause"),
    [
        (say(400, b'{"error": "unknown_error", "error_description": "retry"}'), False, None),
        (
            say(400, b'{"error":"invalid_grant","error_description":"login rate exceeded"}'),
            *(False, 3600),
        ),
        (say(400, b'{"error":"invalid_grant","error_description":"expired"}'), True, None),
        (say(404, b"<html>"), True, None),
        (say(401, b"<html>"), True, None),
        (say(302, b"x", Location="http://127.0.0.1:1/"), False, None),
        (say(503, b"<html>", Retry_After="7"), False, 7),
        (refuse(500, "x"), False, None),
        (say(200, b"<html>"), False, None),
        (say(200, b'{"access_token": 7}'), False, None),
        (say(200, b'{"access_token": "a\\r\\nX-Evil: 1"}'), False, None),
        (say(200, b"[]"), False, None),
    ],
)
def test_login_judges_what_is_no_token(
    server: Organization, script: Script, stops: Any, pause: float | None
) -> None:
    """Bad credentials stop; what may pass is tried again; nothing else is called."""
    server.login_scripts.append(script)

    error = failure(server)

    assert (error.stops, error.retry_after) == (stops, pause)
    assert not error.permanent
    assert server.paths == []


@pytest.mark.parametrize(
    ("told", "url"),
    [
        (None, DOMAIN),
        (DOMAIN, DOMAIN),
        (f"{DOMAIN}/", DOMAIN),
        ("https://na139.salesforce.com", "https://na139.salesforce.com"),
        ("https://ACME.cloud.Force.com", "https://acme.cloud.force.com"),
        ("https://acme.my.salesforce.com:443", DOMAIN),
    ],
)
def test_service_url_goes_where_salesforce_is(told: Any, url: str) -> None:
    """The service may be elsewhere, as long as it is Salesforce's."""
    assert service_url(told, DOMAIN) == url


@pytest.mark.parametrize(
    "told",
    [
        "https://evil.example",
        "https://salesforce.com.evil.example",
        "https://evilsalesforce.com",
        "https://evil.example/.salesforce.com",
        "https://evil.example#.salesforce.com",
        "https://evil.example?.salesforce.com",
        "https://acme.my.salesforce.com@evil.example",
        "https://evil.example\\.salesforce.com",
        "https://user@acme.my.salesforce.com",
        "http://acme.my.salesforce.com",
        "https://acme.my.salesforce.com:8443",
        "https://acme.my.salesforce.com/path",
        "//acme.my.salesforce.com",
        "acme.my.salesforce.com",
        "ftp://acme.my.salesforce.com",
        "https://\u2100.salesforce.com",
        "https://a\x00.salesforce.com",
        "",
        7,
        ["https://acme.my.salesforce.com"],
    ],
)
def test_service_url_goes_nowhere_else(told: Any) -> None:
    """A token is not sent to a host that is not Salesforce's, however it is written."""
    with pytest.raises(DeliveryError) as caught:
        service_url(told, DOMAIN)

    assert caught.value.stops
    assert "evil" not in str(caught.value)


def test_send_takes_the_token_nowhere_else(server: Organization) -> None:
    """A login that names another host gets no call with its token."""
    with organization() as other:
        server.instance_url = other.url

        error = failure(server)

        assert error.stops
        assert other.calls == []


def test_login_shows_nothing_in_tracebacks_of_errors(server: Organization) -> None:
    """Neither the error nor what it comes from repeats what the service said."""
    server.login_scripts.append(
        say(400, json.dumps({"error": f"not {SECRET}", "error_description": SECRET}).encode())
    )

    error: BaseException | None = failure(server)

    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__ or error.__context__
