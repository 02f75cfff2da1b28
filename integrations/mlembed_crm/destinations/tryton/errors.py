"""Judge what Tryton answers: a fault of one record, of the moment, or of the way it is asked.

Its messages repeat the record's values, in the user's language, so none is shown: only the
exception's name, and the names of the fields that it says are not valid.
"""

from __future__ import annotations

import http
import re
from typing import TYPE_CHECKING, Any

from mlembed_crm.destinations.answers import require_accepted
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from mlembed_crm.destinations.endpoint import Answer

_FIELD = re.compile(r"[a-z_][a-z0-9_]{0,63}")
_MOST_FIELDS = 5
_WARNING = (
    "UserWarning: it asks a person to confirm; do this once in Tryton as this user, and let it "
    "ignore the warning from then on"
)
_LOGIN = "LoginException: it wants more than a password; give an application key"
_MAY_NOT_READ = "UserError: its user may not read this; give the user the rights"
_DATABASE = "HTTP 404: it has no such database; is it Tryton 8.0 or later, and the name right?"


def result_of(answer: Answer, *, several: bool, reading: bool = False) -> Any:
    """Return the result of a call by JSON-RPC.

    Args:
        answer: To judge.
        several: Whether the call was about more than one record.
        reading: Whether it changed nothing; then no value can be the reason of a refusal.

    Raises:
        DeliveryError: If it failed. Where Tryton broke down over several records, it is
            `permanent`, so that the one that breaks it is found; over one, it is tried again.
    """
    require_good(answer, reading=reading)
    told = answer.json()
    if isinstance(told, dict) and "error" in told:
        raise _error(told["error"], answer, several=several, reading=reading)
    if not isinstance(told, dict) or "result" not in told:
        raise odd(answer)
    return told["result"]


def require_good(answer: Answer, *, reading: bool = False) -> None:
    """Return if the status says that the call was made.

    Args:
        answer: To judge.
        reading: As for `result_of`.

    Raises:
        DeliveryError: If it was not.
    """
    status = answer.status
    if status == http.HTTPStatus.NOT_FOUND:
        raise DeliveryError(_DATABASE, status=status, stops=True)
    if status == http.HTTPStatus.BAD_REQUEST:  # what JSON-RPC calls a UserError
        why = _MAY_NOT_READ if reading else "HTTP 400: its rules do not allow this"
        raise DeliveryError(why, permanent=not reading, status=status, stops=reading)
    if status == http.HTTPStatus.LOCKED:
        raise DeliveryError("ConcurrencyException: somebody else writes it", status=status)
    require_accepted(status, answer.headers)


def odd(answer: Answer) -> DeliveryError:
    """Return the error for an answer that is none to what was asked."""
    return DeliveryError("the answer is none of Tryton's", status=answer.status, unknown=True)


def broken(answer: Answer, *, several: bool) -> DeliveryError:
    """Return the error for one that Tryton did not foresee."""
    why = "an error inside Tryton; see its log"
    return DeliveryError(why, permanent=several, status=answer.status, unknown=not several)


def unknown_model(record: str) -> DeliveryError:
    """Return the error for a kind of record that Tryton does not have."""
    return DeliveryError(
        f"it has no model '{record[:80]}'; correct the name, or activate its module",
        permanent=True,
    )


def _error(told: Any, answer: Answer, *, several: bool, reading: bool) -> DeliveryError:
    name, detail = (*told, None, None)[:2] if isinstance(told, list) else (None, None)
    status = answer.status
    if name == "UserError" and reading:
        return DeliveryError(_MAY_NOT_READ, status=status, stops=True)
    if name == "UserError":
        fields = _fields(detail)
        which = f": not valid: {', '.join(fields)}" if fields else ": its rules do not allow this"
        return DeliveryError(f"{name}{which}", permanent=True, status=status)
    if name == "UserWarning":
        return DeliveryError(_WARNING, permanent=True, status=status)
    if name == "ConcurrencyException":
        return DeliveryError(f"{name}: somebody else writes it", status=status)
    if name == "LoginException":
        return DeliveryError(_LOGIN, status=status, stops=True)
    return broken(answer, several=several)


def _fields(detail: Any) -> list[str]:
    """Return the fields that a validation names: it gives the domain and their definitions."""
    try:
        definitions = detail[2][1]
        names = [name for name in definitions if _FIELD.fullmatch(name)]
    except (IndexError, KeyError, TypeError):
        return []
    return names[:_MOST_FIELDS] if isinstance(definitions, dict) else []
