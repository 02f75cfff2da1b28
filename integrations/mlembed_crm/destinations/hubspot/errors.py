"""Say what an error of HubSpot means for an action, in words that show no value of a record.

HubSpot's messages repeat what was sent. Only its codes are shown, and the names of fields, if they
are among those that were sent.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mlembed_crm.destinations.answers import require_accepted, retry_after
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from mlembed_crm.destinations.endpoint import Answer

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.]{1,63}")
_QUOTED = re.compile(r'["\'`](\w{1,100})["\'`]', re.ASCII)
_MOST_SHOWN = 5

_PERMANENT = {
    "FORBIDDEN",
    "NOT_FOUND",
    "OBJECT_ALREADY_EXISTS",
    "OBJECT_NOT_FOUND",
    "VALIDATION_ERROR",
}
_STOPPING = {"BANNED", "EXPIRED_AUTHENTICATION", "INVALID_AUTHENTICATION", "MISSING_SCOPES"}
_PROBLEMS = {
    "INVALID_BOOLEAN",
    "INVALID_DATE",
    "INVALID_DATE_TIME",
    "INVALID_DOUBLE",
    "INVALID_EMAIL",
    "INVALID_INTEGER",
    "INVALID_LONG",
    "INVALID_OPTION",
    "MAX_LENGTH_EXCEEDED",
    "PROPERTY_DOESNT_EXIST",
    "READ_ONLY_VALUE",
    "REQUIRED_FIELD",
}
_PAUSES_SECONDS = {"TEN_SECONDLY_ROLLING": 10.0, "SECONDLY": 1.0, "DAILY": 3600.0}
_BURST_SECONDS = 10.0
_RATE_LIMITED, _LOCKED, _MIGRATING = 429, 423, 477
_WAITS_SECONDS = {_LOCKED: 2.0, _MIGRATING: 3600.0}


def require_taken(answer: Answer, fields: Iterable[str] = ()) -> None:
    """Return if HubSpot took the call; its rows may still tell of errors.

    Args:
        answer: What it answered.
        fields: The names of the fields that were sent.

    Raises:
        DeliveryError: If it did not; `stops` where it refuses the token, `permanent` where it
            refuses what was sent, with `retry_after` where it asks for less.
    """
    if answer.status == _RATE_LIMITED or answer.status in _WAITS_SECONDS:
        raise _told_to_wait(answer)
    try:
        require_accepted(answer.status, answer.headers)
    except DeliveryError as error:
        raise _explained(error, _body(answer), frozenset(fields)) from None


def row_error(row: Mapping[str, Any], fields: Iterable[str], status: int) -> DeliveryError:
    """Return the error that one row of an answer tells of.

    Args:
        row: As HubSpot gave it.
        fields: The names of the fields that were sent.
        status: Of the whole answer.
    """
    category = row.get("category")
    category = category.upper() if isinstance(category, str) else ""
    words = _words(row, frozenset(fields)) or "an error without a category"
    return DeliveryError(
        f"HTTP {status} with {words}",
        retry_after=_BURST_SECONDS if category == "RATE_LIMITS" else None,
        permanent=category in _PERMANENT,
        status=status,
        stops=category in _STOPPING,
    )


def _told_to_wait(answer: Answer) -> DeliveryError:
    policy = _code(_body(answer).get("policyName"))
    seconds = retry_after(answer.headers.get("retry-after"), time.time())
    if seconds is None:
        default = _WAITS_SECONDS.get(answer.status, _BURST_SECONDS)
        seconds = _PAUSES_SECONDS.get(policy, default)
    what = {_LOCKED: "it is locked", _MIGRATING: "the account is moving"}
    reason = f"HTTP {answer.status}: {what.get(answer.status, 'the limit of calls is reached')}"
    if policy:
        reason += f" ({policy})"
    return DeliveryError(reason, retry_after=seconds, status=answer.status)


def _explained(
    error: DeliveryError, body: Mapping[str, Any], fields: frozenset[str]
) -> DeliveryError:
    words, reason = _words(body, fields), error.reason
    if words:
        reason += f" ({words})"
    if error.stops:
        reason += "; check the token and the scopes of the private app"
    # A refusal that is not HubSpot's own, such as a proxy's page, says nothing about the action.
    foreign = error.permanent and not body
    if foreign:
        reason += " without an error of HubSpot's"
    return DeliveryError(
        reason,
        retry_after=error.retry_after,
        permanent=error.permanent and not foreign,
        status=error.status,
        stops=error.stops,
        unknown=error.unknown or foreign,
    )


def _body(answer: Answer) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except DeliveryError:
        return {}
    return body if isinstance(body, Mapping) else {}


def _words(row: Mapping[str, Any], fields: frozenset[str]) -> str:
    """Return the codes of an error, and those of *fields* that it names."""
    nested = row.get("errors")
    every = [row, *(one for one in _list(nested) if isinstance(one, Mapping))]
    quoted = {word for one in every for word in _QUOTED.findall(str(one.get("message", "")))}
    for one in every:
        context = one.get("context")
        if isinstance(context, Mapping):
            quoted.update(str(name) for name in _list(context.get("propertyName")))
    codes = [_code(one.get(name)) for one in every for name in ("category", "subCategory", "code")]
    codes += sorted(quoted & _PROBLEMS)
    names = [f"'{name}'" for name in sorted(quoted & fields)]
    shown = [*dict.fromkeys(code for code in codes if code)][:_MOST_SHOWN]
    return ", ".join([*shown, *names[:_MOST_SHOWN]])


def _code(value: Any) -> str:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else ""


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]
