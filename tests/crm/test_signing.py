"""Signatures: interoperable both ways, and refused where anything is off."""

from __future__ import annotations

import base64
import datetime as dt
import time
from typing import Any

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from crm.receiver import SECRET, action
from mlembed.errors import SettingsError
from mlembed_crm import signing, verify
from mlembed_crm.errors import VerificationError

OTHER = "whsec_" + base64.b64encode(b"another secret of the tests, long enough").decode()
BODY = action(key="Ünïcode").event()


def signed(body: bytes = BODY, secret: str | list[str] = SECRET, at: float = 0.0) -> dict[str, str]:
    """Return the headers of *body*, sent *at* seconds from now."""
    timestamp = int(time.time() + at)
    signature = signing.sign(signing.read_secrets(secret), "msg-1", timestamp, body)
    return {
        "Webhook-Id": "msg-1",
        "webhook-timestamp": str(timestamp),
        "WEBHOOK-SIGNATURE": signature,
    }


def test_sign_is_accepted_by_standardwebhooks() -> None:
    """An independent library verifies what this one signs."""
    event = standardwebhooks.Webhook(SECRET).verify(BODY, signed())

    assert event["subject"] == "Ünïcode"


def test_verify_accepts_what_standardwebhooks_signs() -> None:
    """This library verifies what an independent one signs."""
    now = dt.datetime.now(dt.UTC)
    headers = {
        "webhook-id": "msg-1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": standardwebhooks.Webhook(SECRET).sign("msg-1", now, BODY.decode()),
    }

    assert verify(SECRET, headers, BODY)["subject"] == "Ünïcode"


@given(body=st.text().map(lambda text: b'"' + text.encode(errors="replace").hex().encode() + b'"'))
def test_verify_returns_the_body_that_was_signed(body: bytes) -> None:
    """Any JSON body that was signed comes back parsed."""
    assert f'"{verify(SECRET, signed(body), body)}"'.encode() == body


@pytest.mark.parametrize("held", [SECRET, OTHER])
def test_sign_with_two_secrets_serves_both_while_they_rotate(held: str) -> None:
    """A receiver with the old or the new secret accepts, here and in the independent library."""
    headers = signed(secret=[SECRET, OTHER])

    assert verify(held, headers, BODY) == standardwebhooks.Webhook(held).verify(BODY, headers)


def test_verify_tries_every_secret_it_is_given() -> None:
    """A receiver that rotates accepts both."""
    assert verify([OTHER, SECRET], signed(), BODY)["type"] == "mlembed.action"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"WEBHOOK-SIGNATURE": "v1,AAAA"}, "no signature"),
        ({"WEBHOOK-SIGNATURE": "v1a,AAAA nonsense é"}, "no signature"),
        ({"WEBHOOK-SIGNATURE": "v1,é"}, "no signature"),
        ({"WEBHOOK-SIGNATURE": ""}, "lack webhook-signature"),
        ({"webhook-timestamp": "soon"}, "no count of seconds"),
        ({"webhook-timestamp": "-5"}, "no count of seconds"),
        ({"webhook-timestamp": "٣"}, "no count of seconds"),
        ({"Webhook-Id": "msg-2"}, "no signature"),
        ({"Webhook-Id": "\ud800"}, "no text"),
    ],
)
def test_verify_refuses_headers_that_were_changed(change: dict[str, str], says: str) -> None:
    """Each of the three headers is needed and covered by the signature."""
    with pytest.raises(VerificationError, match=says):
        verify(SECRET, {**signed(), **change}, BODY)


def test_verify_refuses_a_moved_timestamp() -> None:
    """A replayer cannot make an old message young: the time is signed."""
    headers = {**signed(at=-1000), "webhook-timestamp": str(int(time.time()))}

    with pytest.raises(VerificationError, match="no signature"):
        verify(SECRET, headers, BODY)


def test_verify_refuses_a_body_that_was_changed() -> None:
    """One other byte, and it is not what was sent."""
    with pytest.raises(VerificationError, match="no signature"):
        verify(SECRET, signed(), BODY.replace(b"0.9", b"0.1"))


@pytest.mark.parametrize("at", [-301, 400])
def test_verify_refuses_an_old_or_future_message(at: float) -> None:
    """A message kept and sent again after the tolerance is a replay."""
    with pytest.raises(VerificationError, match="replay"):
        verify(SECRET, signed(at=at), BODY)


def test_verify_accepts_a_replay_in_time_with_the_same_id() -> None:
    """Within the tolerance a repeat verifies: its id is how a receiver knows it."""
    headers = signed()

    assert verify(SECRET, headers, BODY) == verify(SECRET, headers, BODY)


def test_verify_refuses_a_signed_body_that_is_no_json() -> None:
    """A sender that signs nonsense is an error of the same kind."""
    with pytest.raises(VerificationError, match="no JSON"):
        verify(SECRET, signed(b"nonsense"), b"nonsense")


@pytest.mark.parametrize(
    "secret", ["", [], "whsec_", "whsec_short", "whsec_!!!!", SECRET.removeprefix("whsec_"), [7]]
)
def test_secret_that_is_malformed_is_refused_and_not_shown(secret: Any) -> None:
    """The error says what a secret looks like, and not what this one is."""
    with pytest.raises(SettingsError, match="webhook secret") as caught:
        signing.read_secrets(secret)

    assert "short" not in str(caught.value)
    assert caught.value.__cause__ is None
