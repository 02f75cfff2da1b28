"""Verify what HubSpot itself sends: webhooks and cards, signed with the app's client secret (v3).

The signature covers the method, the URL, the exact bytes of the body and the time of sending.
Receivers need this alone; importing it loads no HTTP library.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

from mlembed.errors import SettingsError
from mlembed_crm.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SIGNATURE, TIMESTAMP = "x-hubspot-signature-v3", "x-hubspot-request-timestamp"

# HubSpot signs the URL with these decoded, and with everything else left as it was sent.
_DECODED = re.compile("%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
_MAX_DIGITS = 15


def verify_hubspot(
    secret: str | Sequence[str],
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    tolerance_seconds: float = 300.0,
) -> Any:
    """Check that HubSpot sent the request, and now; return its body parsed, None if it is empty.

    The same event may arrive twice: act once on an `eventId`.

    Args:
        secret: The app's client secret, or several while it is being rotated: any may match.
        method: Of the request.
        url: As HubSpot called it, with `https`, the public host and the query: behind a proxy,
            that is not what the application sees of itself.
        headers: Of the request; names in any case.
        body: The exact bytes that arrived.
        tolerance_seconds: Greatest difference between HubSpot's clock and this one.

    Raises:
        VerificationError: If a header is missing or malformed, the time is off, the signature does
            not match, or the body is no JSON.
        SettingsError: If there is no secret.
    """
    keys = _keys(secret)
    lowered = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (SIGNATURE, TIMESTAMP) if not lowered.get(name)]
    if missing:
        raise VerificationError(f"HubSpot: the headers lack {', '.join(missing)}")
    sent = lowered[TIMESTAMP]
    if not (sent.isascii() and sent.isdecimal() and len(sent) <= _MAX_DIGITS):
        raise VerificationError(f"HubSpot: {TIMESTAMP} is no count of milliseconds")
    given = lowered[SIGNATURE].encode("utf-8", "surrogatepass")
    signed = _signed(method, url, body, sent)
    # Every secret is tried, so that the time taken tells nothing about which one matched.
    matches = [hmac.compare_digest(_signature(key, signed), given) for key in keys]
    if not any(matches):
        raise VerificationError(
            "HubSpot: the signature does not match; look at the client secret, and whether the URL "
            "is the public one that HubSpot calls"
        )
    if abs(time.time() - int(sent) / 1000) > tolerance_seconds:
        raise VerificationError(
            f"HubSpot: it was sent more than {tolerance_seconds:g} s from now; it is a replay, or "
            "a clock is wrong"
        )
    return _parsed(body)


def _keys(secret: str | Sequence[str]) -> list[bytes]:
    texts = [secret] if isinstance(secret, str) else list(secret)
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise SettingsError("HubSpot: the client secret must be a text that is not empty")
    return [text.encode() for text in texts]


def _signed(method: str, url: str, body: bytes, timestamp: str) -> bytes:
    decoded = _DECODED.sub(lambda found: urllib.parse.unquote(found[0]), url)
    head = f"{method.upper()}{decoded}".encode("utf-8", "surrogatepass")
    return head + body + timestamp.encode()


def _signature(key: bytes, signed: bytes) -> bytes:
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())


def _parsed(body: bytes) -> Any:
    if not body:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise VerificationError("HubSpot: the body is signed but is no JSON") from error
