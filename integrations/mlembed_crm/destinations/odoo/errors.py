"""Judge what Odoo answers: a fault of one record, of the moment, or of the way it is asked.

Its messages and tracebacks repeat the record's values, so none is shown: only the name of the
exception.
"""

from __future__ import annotations

import http
import json
import re
from typing import TYPE_CHECKING

from mlembed_crm.destinations.answers import require_accepted
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from mlembed_crm.destinations.endpoint import Answer

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_MOST = 100
# What a value that the field cannot hold raises inside Odoo, which answers 500 then.
_OF_VALUES = {"ValueError", "TypeError", "KeyError"}
_KEY = "it refuses the API key, which lives for three months at most; make a new one in Odoo"
_DATABASE = (
    "HTTP 404: it has no such database, or no JSON-2 API; is it Odoo 19 or later, on a plan with "
    "an external API, and the name right?"
)


def require_good(answer: Answer, record: str, *, reading: bool) -> None:
    """Return if the call was made.

    Args:
        answer: To judge.
        record: The model that was called.
        reading: Whether it changed nothing; then no value can be the reason of a refusal.

    Raises:
        DeliveryError: If it was not.
    """
    status, name = answer.status, exception_of(answer)
    reason = f"HTTP {status}{f' {name}' if name else ''}"
    if status == http.HTTPStatus.UNAUTHORIZED:
        raise DeliveryError(f"HTTP 401: {_KEY}", status=status, stops=True)
    if status == http.HTTPStatus.FORBIDDEN:
        raise _forbidden(name, reason, status, reading=reading)
    if status == http.HTTPStatus.NOT_FOUND:
        raise _not_found(name, reason, record, status)
    if status == http.HTTPStatus.CONFLICT:
        raise DeliveryError(f"{reason}: somebody else writes it", status=status)
    if status == http.HTTPStatus.INTERNAL_SERVER_ERROR and name in _OF_VALUES and not reading:
        raise DeliveryError(
            f"{reason}: a field cannot hold its value", permanent=True, status=status
        )
    try:
        require_accepted(status, answer.headers)
    except DeliveryError as error:
        raise DeliveryError(
            f"{error.reason}: {name}" if name else error.reason,
            retry_after=error.retry_after,
            permanent=error.permanent,
            status=status,
            stops=error.stops,
            unknown=error.unknown,
        ) from None


def exception_of(answer: Answer) -> str:
    """Return the class of the exception that an answer tells, without its module; or nothing."""
    if answer.status < http.HTTPStatus.BAD_REQUEST:
        return ""
    try:
        name = json.loads(answer.body)["name"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return ""
    if not isinstance(name, str) or len(name) > _MOST or not _NAME.fullmatch(name):
        return ""
    return name.rpartition(".")[2]


def odd(answer: Answer) -> DeliveryError:
    """Return the error for an answer that is none to what was asked."""
    return DeliveryError("the answer is none of Odoo's", status=answer.status, unknown=True)


def _forbidden(name: str, reason: str, status: int, *, reading: bool) -> DeliveryError:
    if name != "AccessError":
        return DeliveryError(f"{reason}: {_KEY}", status=status, stops=True)
    why = f"{reason}: the key's user has no right to this; give it"
    return DeliveryError(why, permanent=not reading, status=status, stops=reading)


def _not_found(name: str, reason: str, record: str, status: int) -> DeliveryError:
    if name == "MissingError":
        return DeliveryError(f"{reason}: the record is gone", permanent=True, status=status)
    if name:
        why = f"{reason}: it has no model '{record[:80]}'; correct the name, or install its app"
        return DeliveryError(why, permanent=True, status=status)
    return DeliveryError(_DATABASE, status=status, stops=True)
