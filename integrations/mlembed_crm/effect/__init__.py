"""Tell what actions brought: how it went for whom they were sent, and for whom they were held back.

Who is held back is drawn from the key alone, so both groups are alike but for the action, and the
difference of their outcomes is what it brought. An action that was to be sent counts whether it
arrived or not: what hinders a delivery may also bear on the outcome. Each entity counts once, in the
group of its first action: where the share that is held back was changed, one may have been in both.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal

from mlembed.monitoring.shares import Z_95, wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mlembed_crm.action import Action

_LEAST = 30  # below, the normal approximation of a mean's interval is not to be trusted


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The entities that were treated alike.

    Attributes:
        n_actions: Actions of the group that were for them. What was done for them as if they were of
            the other group is counted nowhere.
        n_sent: Of them, those that arrived.
        n_entities: How many they are.
        n_outcomes: Of them, those whose outcome is known.
        mean: Mean of their outcomes, the share that is true where outcomes are; None without any.
        low: Lower end of its 95 % interval; None where it cannot be told.
        high: Upper end.
    """

    n_actions: int
    n_sent: int
    n_entities: int
    n_outcomes: int
    mean: float | None
    low: float | None
    high: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one rule brought.

    Attributes:
        rule: Its name.
        treated: Whom its actions were for.
        control: Who was held back.
        uplift: Mean outcome of the former less that of the latter; None where one is not known.
        low: Lower end of its 95 % interval; None where it cannot be told.
        high: Upper end.
        verdict: `higher`, `lower`, `open` (the interval holds 0) or `insufficient`.
        kind: `share` where outcomes are true or false, `mean` where they are numbers.
    """

    rule: str
    treated: Group
    control: Group
    uplift: float | None
    low: float | None
    high: float | None
    verdict: Literal["higher", "lower", "open", "insufficient"]
    kind: Literal["share", "mean"]

    def to_json(self) -> dict[str, Any]:
        """Describe it in plain JSON types."""
        return dataclasses.asdict(self)


def effects(
    actions: Iterable[Action], outcome_of: Callable[[Action], bool | float | None]
) -> tuple[Effect, ...]:
    """Return what each rule brought, in the order of their names.

    The interval of a share is Wilson's score interval, that of the difference of two shares
    Newcombe's hybrid of both (Newcombe, Statistics in Medicine 17, 1998, method 10). That of a mean,
    and of the difference of two, is the normal one with unequal variances, from 30 outcomes on.

    Args:
        actions: All there are; those of which only the memory is left are passed over.
        outcome_of: The outcome of an action's entity, None where it is not known.
    """
    by_rule: dict[str, list[Action]] = {}
    for action in actions:
        if action.state != "remembered":
            by_rule.setdefault(action.rule, []).append(action)
    return tuple(
        _effect(rule, *_groups(by_rule[rule]), outcome_of=outcome_of) for rule in sorted(by_rule)
    )


def _effect(
    rule: str,
    treated: list[Action],
    held: list[Action],
    *,
    outcome_of: Callable[[Action], bool | float | None],
) -> Effect:
    found = [_outcomes(some, outcome_of) for some in (treated, held)]
    values = [[value for value in some.values() if value is not None] for some in found]
    is_share = all(isinstance(value, bool) for some in values for value in some)
    ends = [(_share if is_share else _mean)(some) for some in values]
    groups = [
        Group(
            n_actions=len(some),
            n_sent=sum(action.state == "sent" for action in some),
            n_entities=len(outcomes),
            n_outcomes=len(known),
            mean=mean,
            low=low,
            high=high,
        )
        for some, outcomes, known, (mean, low, high) in zip(
            (treated, held), found, values, ends, strict=True
        )
    ]
    uplift, low, high = _difference(*groups, is_share=is_share)
    return Effect(
        rule=rule,
        treated=groups[0],
        control=groups[1],
        uplift=uplift,
        low=low,
        high=high,
        verdict=_verdict(low, high),
        kind="share" if is_share else "mean",
    )


def _groups(actions: Sequence[Action]) -> tuple[list[Action], list[Action]]:
    """Return the actions of who was treated first, and of who was held back first, the oldest first."""
    groups: tuple[list[Action], list[Action]] = ([], [])
    first: dict[str, bool] = {}
    for action in sorted(actions, key=lambda each: each.created):
        is_held = action.state == "held"
        if first.setdefault(_entity(action), is_held) == is_held:
            groups[is_held].append(action)
    return groups


def _outcomes(
    actions: Sequence[Action], outcome_of: Callable[[Action], bool | float | None]
) -> dict[str, bool | float | None]:
    """Return the outcome of each entity, of its first action that has one."""
    found: dict[str, bool | float | None] = {}
    for action in actions:
        entity = _entity(action)
        if found.get(entity) is None:
            found[entity] = outcome_of(action)
    return found


def _entity(action: Action) -> str:
    return action.key or action.id


Ends = tuple[float | None, float | None, float | None]


def _share(values: Sequence[float]) -> Ends:
    if not values:
        return None, None, None
    return sum(values) / len(values), *wilson(sum(values), len(values))


def _mean(values: Sequence[float]) -> Ends:
    if not values:
        return None, None, None
    n = len(values)
    unit = math.frexp(max(map(abs, values)))[1]  # neither a sum nor a square is beyond doubles
    parts = [math.ldexp(value, -unit) for value in values]
    middle = math.fsum(parts) / n
    mean = math.ldexp(middle, unit)
    if n < _LEAST:
        return mean, None, None
    variance = math.fsum((part - middle) ** 2 for part in parts) / (n - 1)
    half = math.ldexp(Z_95 * math.sqrt(variance / n), unit)
    low, high = mean - half, mean + half
    return (mean, low, high) if math.isfinite(low - high) else (mean, None, None)


def _difference(treated: Group, control: Group, *, is_share: bool) -> Ends:
    if treated.mean is None or control.mean is None:
        return None, None, None
    uplift = treated.mean - control.mean
    if not math.isfinite(uplift):
        return None, None, None
    if treated.low is None or treated.high is None or control.low is None or control.high is None:
        return uplift, None, None
    below = math.hypot(treated.mean - treated.low, control.high - control.mean)
    above = math.hypot(treated.high - treated.mean, control.mean - control.low)
    if not is_share:
        low, high = uplift - below, uplift + above
        return (uplift, low, high) if math.isfinite(low - high) else (uplift, None, None)
    return uplift, max(-1.0, uplift - below), min(1.0, uplift + above)


def _verdict(
    low: float | None, high: float | None
) -> Literal["higher", "lower", "open", "insufficient"]:
    if low is None or high is None:
        return "insufficient"
    if low > 0:
        return "higher"
    return "lower" if high < 0 else "open"
