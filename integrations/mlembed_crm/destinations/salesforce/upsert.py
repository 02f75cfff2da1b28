"""Write records of Salesforce by their external ids, 200 a call or by a job for many.

Of a call that is refused for the sake of one record, the others are written all the same. Results
stand in the order of the request; an answer that is longer or shorter is not believed at all.
"""

from __future__ import annotations

import http
import json
from typing import TYPE_CHECKING, Any

from mlembed_crm.destinations import Receipt
from mlembed_crm.destinations.salesforce.answers import codes_of, names_in, refusal, row_error
from mlembed_crm.destinations.salesforce.bulk import fits, load
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed_crm.action import Action
    from mlembed_crm.destinations.endpoint import Answer
    from mlembed_crm.destinations.salesforce.answers import Result
    from mlembed_crm.destinations.salesforce.login import Session

ROWS = 200

# Said of the fields that are set, and so of every record that sets the same.
_OF_THE_FIELDS = {"INVALID_FIELD", "INVALID_FIELD_FOR_INSERT_UPDATE", "INVALID_TYPE", "NOT_FOUND"}


class Writing:
    """One batch on its way.

    Attributes:
        halted: Why nothing more of it is sent; None where all may be.
    """

    def __init__(self, session: Session, base: str, ends: float) -> None:
        self._session = session
        self._base = base
        self._ends = ends
        self.halted: DeliveryError | None = None

    def group(self, actions: Sequence[Action], *, bulk: bool) -> list[Result]:
        """Write actions of one record and key field."""
        done: list[Result | None] = [None] * len(actions)
        if bulk:
            places = [place for place, action in enumerate(actions) if fits(action)]
            loaded = self._load([actions[place] for place in places])
            for place, result in zip(places, loaded, strict=True):
                done[place] = result
        left = [place for place, result in enumerate(done) if result is None]
        for start in range(0, len(left), ROWS):
            places = left[start : start + ROWS]
            told = self._upsert([actions[place] for place in places])
            for place, result in zip(places, told, strict=True):
                done[place] = result
        return [result for result in done if result is not None]

    def _load(self, actions: Sequence[Action]) -> list[Result | None]:
        if self.halted is not None:
            return [self.halted] * len(actions)
        if not actions:
            return []
        try:
            return load(self._session, self._base, actions, self._ends)
        except DeliveryError as error:
            return [*self._failed(error, actions)]

    def _upsert(self, actions: Sequence[Action]) -> list[Result]:
        """Write at most 200; of those that are refused together, each is found that can be."""
        if self.halted is not None:
            return [self.halted] * len(actions)
        path, content = upsert_request(self._base, actions)
        try:
            answer = self._session.call("PATCH", path, self._ends, content=content)
            if answer.status in range(200, 300):
                return upserted(answer, len(actions))
        except DeliveryError as error:
            return self._failed(error, actions)
        refused = refusal(answer, [actions[0].id_field, *_fields(actions)])
        if not refused.permanent:
            return self._failed(refused, actions)
        parts = _parts(actions, of_fields=not _OF_THE_FIELDS.isdisjoint(codes_of(answer)))
        if len(parts) == 1:
            return [refused] * len(actions)
        told: dict[str, Result] = {}
        for part in parts:
            told.update(zip((action.id for action in part), self._upsert(part), strict=True))
        return [told[action.id] for action in actions]

    def _failed(self, error: DeliveryError, actions: Sequence[Action]) -> list[Result]:
        """Return the error for each, and send no more where that is of no use."""
        if error.stops:
            self.halted = error
        elif error.retry_after is not None or not error.reached:
            reason = error.reason.removeprefix("not sent: ")
            pause = error.retry_after or 0.0
            self.halted = DeliveryError(f"not sent: {reason}", pause, status=error.status)
        return [error] * len(actions)


def upsert_request(base: str, actions: Sequence[Action]) -> tuple[str, bytes]:
    """Return the path and the body that write *actions*, of one record and key field."""
    record, id_field = actions[0].record, actions[0].id_field
    rows = [
        {**action.payload, id_field: action.key, "attributes": {"type": record}}
        for action in actions
    ]
    content = json.dumps({"allOrNone": False, "records": rows}, separators=(",", ":"))
    return f"{base}/composite/sobjects/{record}/{id_field}", content.encode("ascii")


def upserted(answer: Answer, n_records: int) -> list[Result]:
    """Return what an answer tells of each record, in the order of the request.

    Raises:
        DeliveryError: If it does not tell of each; then it is not known of any.
    """
    told = answer.json()
    if not isinstance(told, list) or len(told) != n_records:
        count = len(told) if isinstance(told, list) else "no"
        raise DeliveryError(
            f"{count} results for {n_records} records", status=answer.status, unknown=True
        )
    return [_upserted_row(row, answer.status) for row in told]


def _upserted_row(row: Any, status: int) -> Result:
    success = row.get("success") if isinstance(row, dict) else None
    if success is True:
        made, name = row.get("created") is True, row.get("id")
        code = http.HTTPStatus.CREATED if made else http.HTTPStatus.OK
        return Receipt(int(code), name if isinstance(name, str) else "")
    errors = row.get("errors") if success is False else None
    if not isinstance(errors, list) or not all(isinstance(error, dict) for error in errors):
        return DeliveryError("the result of this record is malformed", status=status, unknown=True)
    codes = names_in(error.get("statusCode") for error in errors)
    lists = [error.get("fields") for error in errors]
    names = names_in(name for found in lists if isinstance(found, list) for name in found)
    said = " ".join(str(error.get("message")) for error in errors)
    return row_error(codes, [f"'{name}'" for name in names], said, status)


def _parts(actions: Sequence[Action], *, of_fields: bool) -> list[list[Action]]:
    """Divide what was refused together: by the fields that are set, or else into halves."""
    if not of_fields:
        half = len(actions) // 2
        return [part for part in ([*actions[:half]], [*actions[half:]]) if part]
    alike: dict[frozenset[str], list[Action]] = {}
    for action in actions:
        alike.setdefault(frozenset(action.payload), []).append(action)
    return list(alike.values())


def _fields(actions: Sequence[Action]) -> list[str]:
    return list(dict.fromkeys(name for action in actions for name in action.payload))
