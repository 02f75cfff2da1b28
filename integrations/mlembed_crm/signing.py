"""Sign and verify webhooks as Standard Webhooks 1.0 has it.

The signature covers the id, the time of sending and the exact bytes of the body. Receivers need
`verify` alone; it loads no HTTP library.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

from mlembed.errors import SettingsError
from mlembed_crm.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"

_KEY_BYTES = range(24, 65)


def read_secrets(secret: str | Sequence[str]) -> tuple[bytes, ...]:
    """Return the signing keys of *secret*: `whsec_` and base64, one or several.

    Raises:
        SettingsError: If one is malformed; does not show it.
    """
    texts = (secret,) if isinstance(secret, str) else tuple(secret)
    if not texts:
        raise SettingsError("webhook secret: none is given; expected 'whsec_' and base64")
    return tuple(_read(text) for text in texts)


def sign(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature header: one `v1` signature a key, so that keys can be rotated."""
    return " ".join(f"v1,{_signature(key, message_id, str(timestamp), body)}" for key in keys)


def verify(
    secret: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    tolerance_seconds: float = 300.0,
) -> Any:
    """Check that *body* was sent by the holder of *secret*, and now; return it parsed.

    The same message may arrive twice: act once on an id (`event["id"]`).

    Args:
        secret: One secret or several; any may match.
        headers: Of the request; names in any case.
        body: The exact bytes that arrived.
        tolerance_seconds: Greatest difference between the sender's clock and this one.

    Raises:
        VerificationError: If a header is missing or malformed, the time is off, no signature
            matches, or the body is no JSON.
        SettingsError: If the secret is malformed.
    """
    keys = read_secrets(secret)
    lowered = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if not lowered.get(name)]
    if missing:
        raise VerificationError(f"webhook: the headers lack {', '.join(missing)}")
    sent = lowered[TIMESTAMP]
    if not (sent.isascii() and sent.isdecimal()):
        raise VerificationError(f"webhook: {TIMESTAMP} is no count of seconds")
    given = [
        part.removeprefix("v1,").encode()
        for part in lowered[SIGNATURE].split(" ")
        if part.startswith("v1,")
    ]
    expected = [_signature(key, lowered[ID], sent, body).encode() for key in keys]
    # Every pair is compared, so that the time taken tells nothing about which one matched.
    matches = [hmac.compare_digest(one, other) for one in expected for other in given]
    if not any(matches):
        raise VerificationError("webhook: no signature matches; look at the secret on both sides")
    if abs(time.time() - int(sent)) > tolerance_seconds:
        raise VerificationError(
            f"webhook: it was sent more than {tolerance_seconds:g} s from now; it is a replay, or "
            "a clock is wrong"
        )
    try:
        return json.loads(body)
    except ValueError as error:
        raise VerificationError("webhook: the body is signed but is no JSON") from error


def _read(text: str) -> bytes:
    problem = f"webhook secret: expected '{PREFIX}' and base64 of 24 to 64 random bytes"
    if not isinstance(text, str):
        raise SettingsError(problem)
    encoded = text.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SettingsError(problem) from None
    if len(key) not in _KEY_BYTES or not text.startswith(PREFIX):
        raise SettingsError(problem)
    return key


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    try:
        signed = f"{message_id}.{timestamp}.".encode() + body
    except UnicodeEncodeError as error:
        raise VerificationError("webhook: the id is no text") from error
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
