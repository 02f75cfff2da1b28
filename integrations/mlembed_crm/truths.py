"""Read in a business system what came of a prediction: the deal was won, the customer left.

What is read is the state of records that have changed since the last look, in the order of their
changes, so that a look that was cut short goes on where it was.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from mlembed.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Value: TypeAlias = "bool | float | str"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Where a business system holds the outcome of a prediction.

    Attributes:
        record: Its kind of record, such as `deals`, `Opportunity` or `sale.opportunity`.
        key: The field that holds the key of the entity, as given to `predict(..., key=...)`; the
            key of a number is its text, `42` whether it is given as 42 or as 42.0.
        field: The field that tells the outcome.
        values: The outcome for each value of that field, by its text, which is `true` or `false` for
            a boolean; a record whose value is none of them has no outcome yet. Empty where the
            field itself holds a number or a boolean.
        prediction_id: The field in which the prediction's id was written; empty where there is
            none, and the outcome is that of the entity.
    """

    record: str
    key: str
    field: str
    values: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    prediction_id: str = ""

    def __post_init__(self) -> None:
        for name in ("record", "key", "field"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise SettingsError(f"Truth: {name} must be a text that is not empty")

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields to read of a record."""
        named = (self.key, self.field, self.prediction_id)
        return tuple(dict.fromkeys(name for name in named if name))

    def found(self, values: Mapping[str, Any], observed: float) -> Found | None:
        """Return the outcome that a record tells; None where it tells none, or not of whom.

        Args:
            values: Of `fields`, as the system gave them.
            observed: When the record changed, Unix time.
        """
        value = values.get(self.field)
        key, prediction_id = _key(values.get(self.key)), values.get(self.prediction_id)
        if value is None or not (key or prediction_id):
            return None
        if self.values:
            value = self.values.get(_text(value), self.values.get(str(value)))
        if not isinstance(value, (bool, int, float, str)) or value == "":
            return None
        return Found(key, str(prediction_id or ""), value, observed)


class Found(NamedTuple):
    """One outcome.

    Attributes:
        key: Of the entity; empty where only the prediction is known.
        prediction_id: Of the prediction; empty where only the entity is known.
        value: What happened.
        observed: When the record told so, Unix time.
    """

    key: str
    prediction_id: str
    value: Value
    observed: float


class Page(NamedTuple):
    """Some of the changes.

    Attributes:
        found: The outcomes among them, the oldest change first.
        cursor: Where to go on.
        more: Whether there is more to read now.
    """

    found: Sequence[Found]
    cursor: str
    more: bool


class Readable(Protocol):
    """A destination whose records can be read again."""

    def changes(self, truth: Truth, cursor: str, /) -> Page:
        """Return the next page of changes.

        A record may be given twice, but none is passed over: of two that changed at the same
        moment, neither is behind a cursor before both were given.

        Args:
            truth: What to read.
            cursor: Of the page before; empty at the very beginning.

        Raises:
            DeliveryError: If it cannot be read; `stops` if somebody must act.
        """
        ...


def _key(value: Any) -> str:
    """Return the key that a field holds, empty where it holds none: 0 is one, False is not."""
    return "" if value is None or isinstance(value, bool) else _text(value)


def _text(value: Any) -> str:
    """Return *value* as it is written by whoever knows no types: `true`, `42`."""
    if isinstance(value, bool):
        return str(value).lower()
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if is_whole else value)
