"""Say on which predictions a rule acts.

Comparisons are strict: a score that only touches a bound has neither crossed nor gone back, and a
score that is no number changes nothing.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from mlembed.errors import SettingsError

Kind = Literal["rises_above", "falls_below", "at_least", "every", "label", "top"]


@dataclasses.dataclass(frozen=True, slots=True)
class Condition:
    """When a rule acts; made by the functions of this module.

    Attributes:
        kind: Which of them.
        threshold: The score to cross or reach.
        reset: The score to go back past before it acts again; the threshold for `at_least`.
        label: The label to change to; None for any.
        k: How many of a run.
    """

    kind: Kind
    threshold: float = -math.inf
    reset: float = -math.inf
    label: bool | str | None = None
    k: int = 0

    @property
    def crossing(self) -> bool:
        """Whether it acts once an entity until the score went back."""
        return self.kind in {"rises_above", "falls_below"}

    @property
    def follows(self) -> bool:
        """Whether it needs to know what each entity was before."""
        return self.crossing or self.kind == "label"

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


def every_score() -> Condition:
    """Act on every prediction that has a score, as for a field that is kept up to date."""
    return Condition("every")


def label_changes(to: bool | str | None = None) -> Condition:  # noqa: FBT001  a label may be one
    """Act when an entity's label is another than that of its prediction before.

    The first label ever seen of an entity is remembered, and no change. One that abstains has no
    label, and changes nothing. What changes in a cooldown acts when it is over, unless it has gone
    back by then.

    Args:
        to: Act only on a change to this label.
    """
    if to is not None and not isinstance(to, (bool, str)):
        raise SettingsError("label_changes: to must be True, False or the name of a class")
    return Condition("label", label=to)


def top(k: int, at_least: float | None = None) -> Condition:
    """Act on the *k* greatest scores of a run, as of the night's scoring; of equals, the first.

    Outside of a run, `Actions.run`, it never acts.

    Args:
        k: How many.
        at_least: A score below it is never among them.

    Raises:
        SettingsError: If *k* is no number of actions, or *at_least* is not finite.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise SettingsError("top: k must be a number of actions, such as top(20)")
    least = -math.inf if at_least is None else _bounds("top", at_least, None)
    return Condition("top", least, least, k=k)


def _bounds(name: str, threshold: float, reset: float | None) -> float:
    reset = threshold if reset is None else reset
    for bound in (threshold, reset):
        if isinstance(bound, bool) or not isinstance(bound, (int, float)):
            raise SettingsError(f"{name}: expected numbers, such as {name}(0.8)")
        if not math.isfinite(bound):
            raise SettingsError(f"{name}: bounds must be finite")
    return reset
