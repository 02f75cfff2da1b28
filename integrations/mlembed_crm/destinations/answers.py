"""Judge the status line and headers of an HTTP answer, the same way for every destination."""

from __future__ import annotations

import datetime as dt
import email.utils
import http
import time
from typing import TYPE_CHECKING

from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_RETRY_AFTER_SECONDS = 86_400.0

_RETRIED = {408, 425, 429}
_REDIRECTS = range(300, 400)
_REFUSALS = range(400, 500)
_MAX_DIGITS = 12


def require_accepted(status: int, headers: Mapping[str, str]) -> None:
    """Return if *status* says that the action was taken.

    Args:
        status: 2xx is taken; 408, 425, 429 and what is neither 2xx nor 4xx is tried again; every
            other 4xx is final.
        headers: Of the answer; `Retry-After` is honoured.

    Raises:
        DeliveryError: If it was not taken. The body is not shown: it may repeat the record.
    """
    if http.HTTPStatus.OK <= status < http.HTTPStatus.MULTIPLE_CHOICES:
        return
    try:
        reason = f"HTTP {status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        reason = f"HTTP {status}"
    if status in _REDIRECTS:
        raise DeliveryError(f"{reason}: redirects are not followed; give the final URL")
    if status in _REFUSALS and status not in _RETRIED:
        raise DeliveryError(reason, permanent=True)
    raise DeliveryError(reason, retry_after=retry_after(headers.get("retry-after"), time.time()))


def retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, at most a day.

    Args:
        value: A count of seconds or an HTTP date; None where there is no such header.
        now: Unix time.

    Returns:
        Seconds, 0 for a date that is past; None if the header is absent or malformed.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdecimal():
        seconds = float(value) if len(value) <= _MAX_DIGITS else MAX_RETRY_AFTER_SECONDS
    else:
        try:
            date = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=dt.UTC)
        seconds = date.timestamp() - now
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
