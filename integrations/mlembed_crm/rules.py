"""Say which predictions become actions.

A crossing rule acts once for an entity when its score crosses the threshold, and again only after
the score went back past `reset`. Comparisons are strict: a score that only touches a bound has
neither crossed nor gone back, and a score that is no number changes nothing.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mlembed.errors import SettingsError
from mlembed_crm.action import Action, action_id, payload_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlembed.serving.prediction import Prediction

Kind = Literal["rises_above", "falls_below", "at_least"]
Payload: TypeAlias = "Mapping[str, Any] | Callable[[Prediction], Mapping[str, Any]]"


@dataclasses.dataclass(frozen=True, slots=True)
class Condition:
    """When a rule acts; made by `rises_above`, `falls_below` and `score_at_least`.

    Attributes:
        kind: Which of the three.
        threshold: The score to cross or reach.
        reset: The score to go back past before it acts again; the threshold for `at_least`.
    """

    kind: Kind
    threshold: float
    reset: float

    @property
    def crossing(self) -> bool:
        """Whether it acts once an entity until the score went back."""
        return self.kind != "at_least"

    def acts(self, score: float) -> bool:
        """Whether *score* is past the threshold."""
        if self.kind == "rises_above":
            return score > self.threshold
        if self.kind == "falls_below":
            return score < self.threshold
        return score >= self.threshold

    def rearms(self, score: float) -> bool:
        """Whether *score* is back past `reset`, so that the next crossing acts."""
        if self.kind == "rises_above":
            return score < self.reset
        return self.kind == "falls_below" and score > self.reset


def rises_above(threshold: float, reset: float | None = None) -> Condition:
    """Act once an entity when its score rises above *threshold*.

    The first score ever seen of an entity counts as risen if it is above.

    Args:
        threshold: In the units of the score.
        reset: The score must fall below it before the rule acts again; the threshold by default.

    Raises:
        SettingsError: If a bound is not finite, or *reset* is above *threshold*.
    """
    reset = _bounds("rises_above", threshold, reset)
    if reset > threshold:
        raise SettingsError("rises_above: reset must not be above threshold; swap or drop it")
    return Condition("rises_above", threshold, reset)


def falls_below(threshold: float, reset: float | None = None) -> Condition:
    """Act once an entity when its score falls below *threshold*; mirrors `rises_above`.

    Raises:
        SettingsError: If a bound is not finite, or *reset* is below *threshold*.
    """
    reset = _bounds("falls_below", threshold, reset)
    if reset < threshold:
        raise SettingsError("falls_below: reset must not be below threshold; swap or drop it")
    return Condition("falls_below", threshold, reset)


def score_at_least(threshold: float) -> Condition:
    """Act on every prediction whose score is *threshold* or more.

    Raises:
        SettingsError: If *threshold* is not finite.
    """
    return Condition("at_least", threshold, _bounds("score_at_least", threshold, None))


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """One decision that predictions of a model may cause.

    Attributes:
        name: Stable: crossings are remembered and ids are made under it.
        model: Name of the model, without alias or version.
        when: The condition on the score.
        destination: Name of the destination, as given to `Delivery`.
        payload: What to send along: a mapping, or a function from the prediction to one.
    """

    name: str
    model: str
    when: Condition
    destination: str = "default"
    payload: Payload = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for field in ("name", "model", "destination"):
            if not isinstance(getattr(self, field), str) or not getattr(self, field):
                raise SettingsError(f"Rule: {field} must be a text that is not empty")
        if "@" in self.model:
            raise SettingsError(
                f"Rule '{self.name}': model is a name without '@', as in Prediction.model; "
                "a rule holds for every version"
            )
        if not isinstance(self.when, Condition):
            raise SettingsError(
                f"Rule '{self.name}': when must be rises_above(...), falls_below(...) or "
                "score_at_least(...)"
            )
        if not callable(self.payload):
            payload_text(self.payload)

    def action(self, prediction: Prediction) -> Action:
        """Return the action that *prediction* causes; whatever the payload raises is raised."""
        payload = self.payload(prediction) if callable(self.payload) else self.payload
        return Action(
            id=action_id(self.name, self.destination, prediction.id),
            rule=self.name,
            model=prediction.model,
            version=prediction.version,
            prediction_id=prediction.id,
            key=key_of(prediction),
            score=float(prediction.score),
            destination=self.destination,
            payload=payload,
            created=prediction.time_ns / 1e9,
        )


def key_of(prediction: Prediction) -> str | None:
    """Return the entity's key as text; None where there is none, or an empty one."""
    key = prediction.key
    return None if key is None or not str(key) else str(key)


def _bounds(name: str, threshold: float, reset: float | None) -> float:
    reset = threshold if reset is None else reset
    for bound in (threshold, reset):
        if isinstance(bound, bool) or not isinstance(bound, (int, float)):
            raise SettingsError(f"{name}: expected numbers, such as {name}(0.8)")
        if not math.isfinite(bound):
            raise SettingsError(f"{name}: bounds must be finite")
    return reset
