"""Judge the status line and headers of an HTTP answer, the same way for every destination."""

from __future__ import annotations

import datetime as dt
import email.utils
import http
import time
from typing import TYPE_CHECKING

from mlembed_crm.errors import DeliveryError
from mlembed_crm.outboxes import MAX_RETRY_AFTER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping


RATE_LIMIT_SECONDS = 60.0  # where a service says nothing of how long

_RETRIED = {408, 425, 429}
_REDIRECTS = range(300, 400)
_REFUSALS = range(400, 500)
_FAILURES = range(500, 600)
_STOPS = {
    401: "it refuses the credentials, or the signature",
    403: "its credentials do not allow this",
    410: "it wants no more of this",
}
_NOWHERE = {
    404: "there is nothing at this address",
    405: "there is nothing at this address that takes a POST",
}
_MAX_DIGITS = 12


def require_accepted(status: int, headers: Mapping[str, str], *, one_address: bool = False) -> None:
    """Return if *status* says that the action was taken.

    Args:
        status: 2xx is taken; 401, 403 and 410 stop the destination; 408, 425, 429 and what is
            neither 2xx nor 4xx is tried again; every other 4xx is final.
        headers: Of the answer; `Retry-After` is honoured. 429 without one is a pause of a minute.
        one_address: Whether everything goes to the same address, so that 404 and 405 are about
            that and stop the destination as well.

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
        raise DeliveryError(
            f"{reason}: redirects are not followed; give the final URL", status=status
        )
    stops = _STOPS | _NOWHERE if one_address else _STOPS
    if status in stops:
        raise DeliveryError(f"{reason}: {stops[status]}", status=status, stops=True)
    if status in _REFUSALS and status not in _RETRIED:
        raise DeliveryError(reason, permanent=True, status=status)
    pause_seconds = retry_after(headers.get("retry-after"), time.time())
    if status == http.HTTPStatus.TOO_MANY_REQUESTS and pause_seconds is None:
        pause_seconds = RATE_LIMIT_SECONDS
    unknown = status in _FAILURES and status != http.HTTPStatus.SERVICE_UNAVAILABLE
    raise DeliveryError(reason, retry_after=pause_seconds, status=status, unknown=unknown)


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
        date = http_date(value)
        if date is None:
            return None
        seconds = date.timestamp() - now
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def http_date(text: str) -> dt.datetime | None:
    """Return the time that a header such as `Date` tells; None if it is malformed or empty."""
    try:
        date = email.utils.parsedate_to_datetime(text)
        return date.astimezone(dt.UTC) if date.tzinfo else date.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError):  # such as a zone of a million hours
        return None
