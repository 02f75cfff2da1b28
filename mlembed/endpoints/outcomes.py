"""`POST models/NAME/outcome`: what really happened, whenever it is known.

What monitoring could not read as the truth is refused: it would replace what was reported before.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import re
from typing import TYPE_CHECKING, Any

from mlembed.endpoints.messages import json_answer
from mlembed.endpoints.models import in_service
from mlembed.endpoints.problems import Problem
from mlembed.endpoints.reading import json_type, key_of, typed
from mlembed.endpoints.steps import Work
from mlembed.monitoring.outcomes import labels_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from mlembed.bundle.manifest import Task
    from mlembed.endpoints.call import Call
    from mlembed.endpoints.steps import Step, Steps
    from mlembed.serving.model import Model

_FIELDS = ("id", "value", "key", "observed_at", "revision")
_END_REVISION = 2**31  # databases keep it in 32 bits
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:/[0-9]{1,10})?", re.IGNORECASE)
_MAX_TEXT, _MAX_NAMED = 255, 20


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
        _id(body),
        value,
        key=key_of(body.get("key")) or "",
        observed_at=_moment(body),
        revision=revision,
    )
    _require_label(value, (yield from _task(model)))
    yield Work(report)
    return json_answer({"accepted": True}, 202)


def _task(model: Model) -> Generator[Step, Any, Task | None]:
    """Return what the model's scores mean; None where nothing of it can be loaded."""
    try:
        served = yield from in_service(model)
    except Exception:  # noqa: BLE001  the truth is taken while the registry is down
        return None
    return None if served is None else served.manifest.task


def _require_label(value: Any, task: Task | None) -> None:
    """Refuse what is no label of *task*, by what monitoring reads; the empty text is refused later.

    Raises:
        Problem: Of the kind `request`, with what is one.
    """
    classes = () if task is None else (task.positive, *task.classes)
    if isinstance(value, str) and len(value) > max(_MAX_TEXT, *map(len, classes), 0):
        raise Problem("request", f"'value' is longer than the {_MAX_TEXT} characters of a class")
    if task is None or value == "" or not math.isnan(labels_of(task, [value])[0]):
        return
    if task.kind == "multiclass":
        shown = ", ".join(task.classes[:_MAX_NAMED])
        more = f" and {len(task.classes) - _MAX_NAMED} more" * (len(task.classes) > _MAX_NAMED)
        raise Problem("request", f"'value' is no class of the model; they are: {shown}{more}")
    wanted = "a number" if task.kind == "regression" else "true, false, 0, 1 or a class"
    raise Problem("request", f"'value' is no label of the model, expected {wanted}")


def _id(body: dict[str, Any]) -> str:
    given: str = typed(body, "id", str, "")
    if given and not _ID.fullmatch(given):
        raise Problem(
            "request",
            "'id' must be as the prediction's answer has it, or leave it out and give 'key'",
        )
    return given


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
