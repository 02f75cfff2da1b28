"""`POST models/NAME/outcome`: what really happened, whenever it is known."""

from __future__ import annotations

import datetime as dt
import functools
from typing import TYPE_CHECKING, Any

from mlembed.endpoints.messages import json_answer
from mlembed.endpoints.problems import Problem
from mlembed.endpoints.reading import json_type, key_of, typed
from mlembed.endpoints.steps import Work

if TYPE_CHECKING:
    from mlembed.endpoints.call import Call
    from mlembed.endpoints.steps import Steps

_FIELDS = ("id", "value", "key", "observed_at", "revision")
_END_REVISION = 2**31  # databases keep it in 32 bits


def outcome(call: Call) -> Steps:
    """Take the report; it is joined to its prediction later, so 202 says no more than that."""
    model, body = call.asked(), (yield from call.body(_FIELDS))
    value = body.get("value")
    if type(value) not in (bool, int, float, str):
        raise Problem(
            "request", f"'value' is {json_type(value)}, expected true, false, a number or a class"
        )
    revision = typed(body, "revision", int, 0)
    if not 0 <= revision < _END_REVISION:
        raise Problem("request", "'revision' must be a whole number, 0 or more")
    report = functools.partial(
        model.outcome,
        typed(body, "id", str, ""),
        value,
        key=key_of(body.get("key")) or "",
        observed_at=_moment(body),
        revision=revision,
    )
    yield Work(report)
    return json_answer({"accepted": True}, 202)


def _moment(body: dict[str, Any]) -> dt.datetime | None:
    text = typed(body, "observed_at", str)
    if text is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
        if moment.utcoffset() is not None:
            return moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        pass
    raise Problem(
        "request", "'observed_at' must be an ISO 8601 time with a zone, as 2026-01-02T03:04:05Z"
    )
