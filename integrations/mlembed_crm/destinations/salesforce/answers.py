"""Judge what Salesforce refuses, a whole call or one record of it.

It is judged and shown by codes and names of fields: messages may repeat the values of a record.
"""

from __future__ import annotations

import http
import re
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from mlembed_crm.destinations.answers import require_accepted, retry_after
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mlembed_crm.destinations import Receipt
    from mlembed_crm.destinations.endpoint import Answer

Result: TypeAlias = "Receipt | DeliveryError"

TRANSIENT = frozenset(
    {
        "PROCESSING_HALTED",
        "QUERY_TIMEOUT",
        "REQUEST_RUNNING_TOO_LONG",
        "SERVER_UNAVAILABLE",
        "UNABLE_TO_LOCK_ROW",
        "UNKNOWN_EXCEPTION",
    }
)
LIMITS = frozenset({"REQUEST_LIMIT_EXCEEDED", "STORAGE_LIMIT_EXCEEDED"})
DAILY_PAUSE_SECONDS = 3600.0

_PAUSE_SECONDS = 60.0
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_MAX_NAMES = 5


def accepted(answer: Answer, names: Collection[str] = ()) -> Answer:
    """Return an answer that is a success.

    Args:
        answer: To judge.
        names: Fields that are named in the error if the service mentions them.

    Raises:
        DeliveryError: If it is a refusal.
    """
    if answer.status in range(200, 300):
        return answer
    raise refusal(answer, names)


def refusal(answer: Answer, names: Collection[str] = ()) -> DeliveryError:
    """Return what the refusal of a whole call means."""
    codes, said = codes_of(answer), answer.body.decode(errors="replace")
    try:
        require_accepted(answer.status, answer.headers)
        error = DeliveryError(f"HTTP {answer.status}", status=answer.status)
    except DeliveryError as judged:
        error = judged
    about = ", ".join([*codes, *mentioned(said, names)])
    error = changed(error, reason=f"{error.reason} ({about})" if about else error.reason)
    pause = retry_after(answer.headers.get("retry-after"), time.time())
    if LIMITS.intersection(codes):
        # Of the same code, but over within seconds: too many long calls at once.
        usual = _PAUSE_SECONDS if "Concurrent" in said else DAILY_PAUSE_SECONDS
        paused = usual if pause is None else pause
        return changed(error, retry_after=paused, permanent=False, stops=False)
    if TRANSIENT.intersection(codes):
        return changed(error, permanent=False, stops=False)
    if answer.status == http.HTTPStatus.MULTIPLE_CHOICES:
        reason = f"{error.reason}: several records have that key; make the field unique"
        return changed(error, reason=reason, permanent=True)
    return error


def row_error(codes: Sequence[str], names: Sequence[str], said: str, status: int) -> DeliveryError:
    """Return what it means that Salesforce refused one row.

    Args:
        codes: Its error codes.
        names: The fields that they are about.
        said: The messages, which are not shown; a trigger's may repeat the code that made it fail.
        status: Of the answer.
    """
    about = f": {', '.join(names)}" if names else ""
    reason = f"Salesforce refuses the record with {', '.join(codes) or 'no code'}{about}"
    words = {*codes, *re.findall(r"[A-Z][A-Z_]+", said)}
    if LIMITS.intersection(codes):
        return DeliveryError(reason, DAILY_PAUSE_SECONDS, status=status)
    return DeliveryError(reason, permanent=TRANSIENT.isdisjoint(words), status=status)


def changed(error: DeliveryError, **changes: Any) -> DeliveryError:
    """Return *error* with other attributes."""
    return DeliveryError(**{**vars(error), **changes})


def codes_of(answer: Answer) -> list[str]:
    """Return the error codes of an answer, such as `INVALID_FIELD`; never its messages."""
    try:
        told = answer.json()
    except DeliveryError:
        return []
    every = [
        item for item in (told if isinstance(told, list) else [told]) if isinstance(item, dict)
    ]
    return names_in(item.get("errorCode") or item.get("error") for item in every)


def names_in(values: Any) -> list[str]:
    """Return those of *values* that are names, a few of them, each once."""
    names = [value for value in values if isinstance(value, str) and _CODE.fullmatch(value)]
    return list(dict.fromkeys(names))[:_MAX_NAMES]


def mentioned(text: str, names: Collection[str]) -> list[str]:
    """Return which of *names*, all of them ours, stand in *text*."""
    words = set(re.findall(r"[A-Za-z][A-Za-z0-9_]*", text))
    return [f"'{name}'" for name in names if name in words][:_MAX_NAMES]
