"""Say what predictions become: on which a rule acts, for whom, what it sends and when."""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import math
from typing import TYPE_CHECKING, Any, TypeAlias

from mlembed.errors import SettingsError
from mlembed_crm.action import Action, action_id, payload_text
from mlembed_crm.conditions import Condition
from mlembed_crm.quiet import QuietHours
from mlembed_crm.trace import current_trace
from mlembed_crm.upsert import Upsert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mlembed.serving.prediction import Prediction

Payload: TypeAlias = "Mapping[str, Any] | Callable[[Prediction], Mapping[str, Any]]"

_SHARES = 1 << 64


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """One decision that predictions of a model may cause.

    Attributes:
        name: Stable: what it did is remembered, and ids are made, under it.
        model: Name of the model, without alias or version.
        when: The condition on the score or the label.
        destination: Name of the destination, as given to `Delivery`.
        payload: What an event carries: a mapping, or a function from the prediction to one.
        upsert: The fields of a record that are set, instead of an event. A newer value replaces
            one that waits for the same fields of the same record; events are sent each.
        cooldown_seconds: How long it does not act again for the same entity.
        control: Share of the entities, in [0, 1), that are held back, always the same, so that the
            effect of the rule can be measured; what they would have got is recorded, not sent.
        quiet: When nothing is sent.
    """

    name: str
    model: str
    when: Condition
    destination: str = "default"
    payload: Payload = dataclasses.field(default_factory=dict)
    upsert: Upsert | None = None
    cooldown_seconds: float = 0.0
    control: float = 0.0
    quiet: QuietHours | None = None

    def __post_init__(self) -> None:
        for field in ("name", "model", "destination"):
            if not isinstance(getattr(self, field), str) or not getattr(self, field):
                raise SettingsError(f"Rule: {field} must be a text that is not empty")
        self._check_what()
        self._check_when()
        if not callable(self.payload):
            payload_text(self.payload)

    def _check_what(self) -> None:
        named = f"Rule '{self.name}'"
        if "@" in self.model:
            raise SettingsError(
                f"{named}: model is a name without '@', as in Prediction.model; "
                "a rule holds for every version"
            )
        if not isinstance(self.when, Condition):
            raise SettingsError(
                f"{named}: when must be rises_above(...), falls_below(...), score_at_least(...), "
                "every_score(), label_changes(...) or top(...)"
            )
        if self.upsert is not None and not isinstance(self.upsert, Upsert):
            raise SettingsError(f"{named}: upsert must be Upsert(record, key, fields)")
        if self.upsert is not None and self.payload:
            raise SettingsError(f"{named}: give a payload or an upsert, not both")

    def _check_when(self) -> None:
        named = f"Rule '{self.name}'"
        for number in (self.cooldown_seconds, self.control):
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise SettingsError(f"{named}: cooldown_seconds and control are numbers")
        if not 0 <= self.cooldown_seconds < math.inf:
            raise SettingsError(f"{named}: cooldown_seconds must be 0 or more, and finite")
        if self.quiet is not None and not isinstance(self.quiet, QuietHours):
            raise SettingsError(f"{named}: quiet must be QuietHours(start, end, zone)")
        if not 0 <= self.control < 1:
            raise SettingsError(f"{named}: control is a share in [0, 1), such as 0.1")

    @property
    def remembers(self) -> bool:
        """Whether it needs to know what it did for each entity, and so its key."""
        return self.when.follows or self.cooldown_seconds > 0

    @property
    def needs_key(self) -> bool:
        """Whether it can do nothing about a prediction without a key."""
        return self.remembers or self.control > 0 or self.upsert is not None

    def holds_back(self, key: str) -> bool:
        """Tell whether the entity *key* is in the control group."""
        if not self.control:
            return False
        digest = hashlib.sha256(f"{self.name}\x00{key}".encode(errors="surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") < self.control * _SHARES

    def best(self, predictions: Iterable[Prediction]) -> list[Prediction]:
        """Return the predictions of a run that a `top` acts on, the highest score first."""
        return heapq.nlargest(self.when.k, predictions, key=lambda prediction: prediction.score)

    def action(self, prediction: Prediction) -> Action:
        """Return the action that *prediction* causes; whatever the payload raises is raised."""
        if self.upsert is not None:
            payload: Mapping[str, Any] = self.upsert.payload(prediction)
        else:
            payload = self.payload(prediction) if callable(self.payload) else self.payload
        key, created = key_of(prediction), prediction.time_ns / 1e9
        held = key is not None and self.holds_back(key)
        return Action(
            id=action_id(self.name, self.destination, prediction.id),
            rule=self.name,
            model=prediction.model,
            version=prediction.version,
            prediction_id=prediction.id,
            key=key,
            score=float(prediction.score),
            label=prediction.label,
            reason=prediction.reason,
            destination=self.destination,
            payload=payload,
            record="" if self.upsert is None else self.upsert.record,
            id_field="" if self.upsert is None else self.upsert.key,
            trace=current_trace(),
            created=created,
            state="held" if held else "pending",
            next_attempt=0.0 if self.quiet is None else self.quiet.ends(created),
            quiet="" if self.quiet is None else self.quiet.text,
        )

    def note(self, prediction: Prediction) -> Action:
        """Return what remembers that *prediction* was the first of its entity; never sent."""
        return Action(
            id=action_id(self.name, self.destination, prediction.id),
            rule=self.name,
            model=prediction.model,
            version=prediction.version,
            prediction_id=prediction.id,
            key=key_of(prediction),
            score=float(prediction.score),
            label=prediction.label,
            reason=prediction.reason,
            destination=self.destination,
            payload={},
            created=prediction.time_ns / 1e9,
            state="remembered",
        )


def key_of(prediction: Prediction) -> str | None:
    """Return the entity's key as text; None where there is none, or an empty one."""
    key = prediction.key
    return None if key is None or not str(key) else str(key)
