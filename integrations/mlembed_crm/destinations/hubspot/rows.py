"""Write actions as rows of one HubSpot upsert, and find in its answer what became of each.

Rows are matched by the trace id that was sent, or by the key; never by their place. What belongs
to no action, or is said twice, is never taken for an answer.
"""

from __future__ import annotations

import dataclasses
import decimal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlembed_crm.destinations import Receipt
from mlembed_crm.destinations.hubspot.errors import row_error
from mlembed_crm.errors import DeliveryError, PayloadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlembed_crm.action import Action


def row(action: Action) -> dict[str, Any]:
    """Return the row of one action.

    Raises:
        PayloadError: If a field holds what HubSpot cannot; names the field.
    """
    return {
        "id": action.key,
        "idProperty": action.id_field,
        "objectWriteTraceId": action.id,
        "properties": {name: _text(name, value) for name, value in action.payload.items()},
    }


def outcomes(actions: Sequence[Action], body: Any, status: int) -> list[Receipt | DeliveryError]:
    """Return what became of each of *actions*, in their order.

    Args:
        actions: All of one kind of record and one id field.
        body: The answer, parsed.
        status: Its status code.

    Raises:
        DeliveryError: If the answer does not tell; `permanent` if it tells of errors, but not
            whose: then the batch is to be halved. What was taken is then sent again, which
            changes nothing.
    """
    fields = {actions[0].id_field, *(name for action in actions for name in action.payload)}
    if not isinstance(body, Mapping):
        raise _unclear(status, "an answer without rows")
    if body.get("status") == "error":
        raise row_error(body, fields, status)
    if body.get("status", "COMPLETE") != "COMPLETE":
        raise _unclear(status, "a batch that is not complete")
    told = _Told(actions, status)
    for each in _rows(body, "results", status):
        told.take(each)
    for each in _rows(body, "errors", status):
        told.refuse(each, row_error(each, fields, status))
    return told.answers()


@dataclasses.dataclass(slots=True)
class _Told:
    """What the rows of an answer tell so far, by the action's place."""

    actions: Sequence[Action]
    status: int
    found: dict[int, Receipt | DeliveryError] = dataclasses.field(default_factory=dict)
    nameless: list[Receipt] = dataclasses.field(default_factory=list)
    errors: list[DeliveryError] = dataclasses.field(default_factory=list)
    surplus: int = 0

    def take(self, each: Mapping[str, Any]) -> None:
        """Note a row that was written."""
        receipt = Receipt(self.status, str(each.get("id", "")))
        trace, properties = each.get("objectWriteTraceId"), each.get("properties")
        key = properties.get(self.actions[0].id_field) if isinstance(properties, Mapping) else None
        places = self._places([trace]) if trace else self._keyed([key])
        if len(places) == 1:
            self._note(places[0], receipt)
        elif trace:
            self.surplus += 1
        else:
            self.nameless.append(receipt)

    def refuse(self, each: Mapping[str, Any], error: DeliveryError) -> None:
        """Note a row that was not."""
        context = each.get("context")
        context = context if isinstance(context, Mapping) else {}
        places = self._places(_each(context, "objectWriteTraceId"))
        places = places or self._keyed([*_each(context, "ids"), *_each(context, "id")])
        for place in places:
            self._note(place, error)
        if not places:
            self.errors.append(error)

    def answers(self) -> list[Receipt | DeliveryError]:
        """Return what became of each action."""
        left = [place for place in range(len(self.actions)) if place not in self.found]
        if self.surplus or len(self.nameless) > len(left) - bool(self.errors):
            raise _unclear(self.status, "rows that belong to none of the actions")
        if self.errors and len(left) == 1:
            self.found[left[0]] = self.errors[0]
        elif self.errors:
            raise next((error for error in self.errors if error.permanent), self.errors[0])
        elif len(self.nameless) == len(left):
            # As many as are left were written, so all were, though not which is which.
            alone = len(left) == 1
            for place, receipt in zip(left, self.nameless, strict=True):
                self.found[place] = receipt if alone else Receipt(self.status)
        missing = _unclear(self.status, "no row of this action")
        return [self.found.get(place, missing) for place in range(len(self.actions))]

    def _note(self, place: int, answer: Receipt | DeliveryError) -> None:
        before = self.found.get(place)
        if before is None:
            self.found[place] = answer
        elif isinstance(before, Receipt) or isinstance(answer, Receipt):
            self.found[place] = _unclear(self.status, "two rows of this action")

    def _places(self, traces: Iterable[Any]) -> list[int]:
        wanted = {trace for trace in traces if isinstance(trace, str)}
        return [place for place, action in enumerate(self.actions) if action.id in wanted]

    def _keyed(self, keys: Iterable[Any]) -> list[int]:
        wanted = {key for key in keys if isinstance(key, str)}
        same = [place for place, one in enumerate(self.actions) if one.key in wanted]
        if same:
            return same
        # HubSpot gives back e-mail addresses in lower case.
        folded = {_folded(key) for key in wanted}
        return [place for place, one in enumerate(self.actions) if _folded(one.key) in folded]


def _folded(key: str | None) -> str:
    return (key or "").strip().casefold()


def _rows(body: Mapping[str, Any], name: str, status: int) -> list[Mapping[str, Any]]:
    rows = body.get(name) or []
    if not isinstance(rows, list) or not all(isinstance(each, Mapping) for each in rows):
        raise _unclear(status, f"'{name}' of an unexpected form")
    return rows


def _each(context: Mapping[str, Any], name: str) -> list[Any]:
    value = context.get(name)
    return value if isinstance(value, list) else [value]


def _unclear(status: int, what: str) -> DeliveryError:
    return DeliveryError(f"HTTP {status} with {what}", status=status, unknown=True)


def _text(name: str, value: Any) -> str:
    """Return *value* as HubSpot writes it: every one is a text, and an empty one clears."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format(decimal.Decimal(repr(value)), "f")
    if isinstance(value, (str, int)):
        return str(value)
    raise PayloadError(
        f"'{name}': a {type(value).__name__} fits no property of HubSpot; give text, a number, a "
        "boolean or None"
    )
