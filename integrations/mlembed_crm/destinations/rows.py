"""Match actions with the records that they are about, in a system that defines its fields.

A key is looked up, so that a record is found by any field. One that several records have is
refused: which of them was meant, nobody knows.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias

from mlembed_crm.errors import DeliveryError, PayloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlembed_crm.action import Action
    from mlembed_crm.destinations import Field
    from mlembed_crm.destinations.batch import Batch
    from mlembed_crm.destinations.groups import Group

    Definition = Mapping[str, Any]

Key: TypeAlias = "str | int"

SEVERAL = "several records have its key; name a field that is unique there"


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """An action, as a system takes it.

    Attributes:
        at: Its place among the actions.
        key: What identifies the record.
        values: What its fields are set to.
    """

    at: int
    key: Key
    values: Mapping[str, Any]


class Definitions:
    """What a system says of the fields of its kinds of record, as it was learned last.

    Args:
        ask: Returns the definitions of a kind, within the `time.monotonic` given.
        key: Returns a key as the field that identifies a record holds it.
        value: Returns a value as a field takes it. Both raise `PayloadError` if it cannot.
        field: Returns what the definition of the field so named says.
    """

    def __init__(
        self,
        ask: Callable[[str, float], Mapping[str, Any]],
        key: Callable[[str, Definition], Key],
        value: Callable[[Any, Definition], Any],
        field: Callable[[str, Definition], Field],
    ) -> None:
        self._ask, self._key, self._value, self._field = ask, key, value, field
        self._known: dict[str, Mapping[str, Any]] = {}

    def learn(self, record: str, ends: float) -> Mapping[str, Any]:
        """Return the definitions of a kind's fields, by name, as they are now."""
        fields = self._ask(record, ends)
        self._known[record] = fields
        return fields

    def describe(self, record: str, ends: float) -> Mapping[str, Field]:
        """Return what a kind's fields are, by name, as they are now."""
        fields = self.learn(record, ends)
        return {name: self._field(name, definition) for name, definition in fields.items()}

    def forget(self, record: str) -> None:
        """Learn a kind anew when it is needed: perhaps its fields are others by now."""
        self._known.pop(record, None)

    def rows(self, batch: Batch, record: str, group: Group) -> list[Row]:
        """Return the rows of a group; those that the kind does not take are answered."""
        known = record in self._known
        fields = self._known[record] if known else self.learn(record, batch.ends)
        rows, problems = self._split(group, fields)
        if problems and known:  # perhaps its fields are others by now
            rows, problems = self._split(group, self.learn(record, batch.ends))
        batch.answers.update(problems)
        return rows

    def _split(
        self, group: Group, fields: Mapping[str, Any]
    ) -> tuple[list[Row], dict[int, DeliveryError]]:
        rows: list[Row] = []
        problems: dict[int, DeliveryError] = {}
        for at, action in group:
            try:
                rows.append(self._row(at, action, fields))
            except DeliveryError as error:
                problems[at] = error
        return rows, problems

    def _row(self, at: int, action: Action, fields: Mapping[str, Any]) -> Row:
        problems: list[str] = []
        values: dict[str, Any] = {}
        key: Key = ""
        for name, value in ((action.id_field, action.key), *action.payload.items()):
            if name not in fields:
                problems.append(f"'{name}' is no field of it")
                continue
            try:
                if name == action.id_field:
                    key = self._key(str(action.key), fields[name])
                else:
                    values[name] = self._value(value, fields[name])
            except PayloadError as error:
                problems.append(f"'{name}' {error}")
        if problems:
            raise DeliveryError(f"{action.record}: {'; '.join(problems)}", permanent=True)
        return Row(at, key, values)


def matched(
    rows: Sequence[Row], found: Sequence[Mapping[str, Any]], id_field: str
) -> dict[int, int | DeliveryError]:
    """Return the id of the record of each of *rows* that has one, by the row's place.

    Args:
        rows: What was asked for.
        found: What was found, all of it.
        id_field: Holds the key.

    Raises:
        DeliveryError: If something was found that was not asked for.
    """
    ids: dict[Key, list[int]] = {row.key: [] for row in rows}
    for record in found:
        if record.get(id_field) not in ids:
            raise DeliveryError("it found what was not asked for", unknown=True)
        ids[record[id_field]].append(record["id"])
    return {
        row.at: ids[row.key][0]
        if len(ids[row.key]) == 1
        else DeliveryError(SEVERAL, permanent=True)
        for row in rows
        if ids[row.key]
    }
