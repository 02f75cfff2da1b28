"""What HubSpot signs verifies, and nothing else does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any

import pytest

from mlembed.errors import SettingsError
from mlembed_crm.destinations.hubspot import verify_hubspot
from mlembed_crm.destinations.hubspot.signature import SIGNATURE, TIMESTAMP
from mlembed_crm.errors import VerificationError

SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"  # noqa: S105  of the tests
URL = "https://www.example.com/hook?who=a%40b.co&what=x%20y"
BODY = b'[{"eventId":1,"subscriptionId":12345,"objectId":123}]'
# Made by HubSpot's own Python client 12.0, of the URL with %40 decoded and %20 left.
SENT, GOLDEN = "1800000000123", "5LBH+6HxbQ4GSpQGy3Z3PCdAgXVqt4XFMfVIcFpjN0s="


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be the moment at which the golden request was sent."""
    monkeypatch.setattr("time.time", lambda: int(SENT) / 1000)


def headers(**changed: str) -> dict[str, str]:
    """Return the headers of the golden request."""
    return {"X-HubSpot-Signature-v3": GOLDEN, "X-HubSpot-Request-Timestamp": SENT, **changed}


def signed(url: str = URL, body: bytes = BODY, sent: str | None = None) -> dict[str, str]:
    """Return the headers of a request that HubSpot sends now; *url* as it signs it."""
    sent = sent or str(round(time.time() * 1000))
    digest = hmac.new(SECRET.encode(), f"POST{url}".encode() + body + sent.encode(), hashlib.sha256)
    return {SIGNATURE: base64.b64encode(digest.digest()).decode(), TIMESTAMP: sent}


@pytest.mark.usefixtures("now")
def test_verify_takes_what_hubspots_own_client_signs() -> None:
    """A signature made by the vendor's code verifies, and the body is given parsed."""
    assert verify_hubspot(SECRET, "post", URL, headers(), BODY)[0]["eventId"] == 1


@pytest.mark.usefixtures("now")
def test_verify_takes_any_of_several_secrets() -> None:
    """While a secret is rotated, the old and the new one verify."""
    assert verify_hubspot(["new", SECRET], "POST", URL, headers(), BODY)


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize(
    "changed",
    [
        {"secret": "another"},
        {"method": "PUT"},
        {"url": URL.replace("https", "http")},
        {"url": URL + "&more=1"},
        {"body": BODY + b" "},
        {"headers": headers(**{"X-HubSpot-Request-Timestamp": "1800000000124"})},
        {"headers": headers(**{"X-HubSpot-Signature-v3": GOLDEN.lower()})},
        {"headers": headers(**{"X-HubSpot-Signature-v3": "\udc80é"})},
    ],
)
def test_verify_refuses_whatever_was_changed(changed: dict[str, Any]) -> None:
    """Method, URL, body and time are all signed, and only the secret's holder can."""
    request = {"secret": SECRET, "method": "POST", "url": URL, "headers": headers(), "body": BODY}

    with pytest.raises(VerificationError, match="does not match"):
        verify_hubspot(**{**request, **changed})


@pytest.mark.parametrize(
    ("sent", "as_signed"),
    [
        ("https://h/%3A%2F%3F%40%21%24%27%28%29%2A%2C%3B", "https://h/:/?@!$'()*,;"),
        ("https://h/%3a%2f", "https://h/:/"),
        ("https://h/%253A?a=%26%3D%20", "https://h/%253A?a=%26%3D%20"),
    ],
)
def test_verify_decodes_the_url_as_hubspot_does(sent: str, as_signed: str) -> None:
    """Twelve characters are decoded, once; all others stay as they were sent."""
    assert verify_hubspot(SECRET, "POST", sent, signed(as_signed), BODY)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_verify_refuses_a_replay(seconds: int) -> None:
    """What is older than five minutes, or from the future, is refused, though signed well."""
    sent = str(round((time.time() + seconds) * 1000))

    with pytest.raises(VerificationError, match="replay"):
        verify_hubspot(SECRET, "POST", URL, signed(URL.replace("%40", "@"), sent=sent), BODY)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({SIGNATURE: ""}, "lack x-hubspot-signature-v3"),
        ({TIMESTAMP: ""}, "lack x-hubspot-request-timestamp"),
        ({TIMESTAMP: "soon"}, "no count of milliseconds"),
        ({TIMESTAMP: "-5"}, "no count of milliseconds"),
        ({TIMESTAMP: "٣"}, "no count of milliseconds"),
        ({TIMESTAMP: "9" * 5000}, "no count of milliseconds"),
    ],
)
def test_verify_refuses_malformed_headers(changed: dict[str, str], problem: str) -> None:
    """A header that is missing or malformed is told of, and nothing breaks."""
    with pytest.raises(VerificationError, match=problem):
        verify_hubspot(SECRET, "POST", URL, {**signed(), **changed}, BODY)


def test_verify_gives_nothing_of_an_empty_body() -> None:
    """A request without a body, as for a card, verifies."""
    assert verify_hubspot(SECRET, "POST", "https://h/", signed("https://h/", b""), b"") is None


def test_verify_refuses_a_body_that_is_no_json() -> None:
    """A signed body that cannot be read is an error of verification, not a crash."""
    with pytest.raises(VerificationError, match="no JSON"):
        verify_hubspot(SECRET, "POST", "https://h/", signed("https://h/", b"{"), b"{")


@pytest.mark.parametrize("secret", ["", [], ["good", ""], [None]])
def test_verify_refuses_an_empty_secret(secret: Any) -> None:
    """With an empty secret, anyone could sign."""
    with pytest.raises(SettingsError, match="client secret"):
        verify_hubspot(secret, "POST", URL, signed(), BODY)
