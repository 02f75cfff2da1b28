"""Say for people what an effect's figures mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlembed_crm.effect import Effect

NAMES = ("treated", "control")
HEAD = ("rule", "group", "actions", "sent", "entities", "outcomes", "outcome", "95 %")


def sentence(effect: Effect) -> str:
    """Say in one sentence what a rule brought, and how sure that is."""
    if not effect.control.n_entities:
        return "nobody is held back yet; a rule with control=0.1 measures its effect"
    if effect.uplift is None:
        of = [
            name
            for name, group in (("treated", effect.treated), ("control group", effect.control))
            if not group.n_outcomes
        ]
        return f"no outcome is known of the {' and the '.join(of)}"
    points = f"{100 * effect.uplift:+.1f} percentage points"
    difference = points if effect.kind == "share" else number(effect.uplift, effect, sign=True)
    uplift = f"{difference} for whom the action was meant"
    if effect.verdict == "insufficient":
        return f"{uplift}; too few outcomes for an interval"
    proven = "not distinguishable from none" if effect.verdict == "open" else effect.verdict
    return f"{uplift}, 95 % interval {interval(effect.low, effect.high, effect)}: {proven}"


def rows(effect: Effect) -> list[list[str]]:
    """Return a row for each group: its name, counts, mean outcome and interval."""
    return [
        [
            *(effect.rule, name, str(group.n_actions), str(group.n_sent)),
            *(str(group.n_entities), str(group.n_outcomes)),
            *(number(group.mean, effect), interval(group.low, group.high, effect)),
        ]
        for name, group in zip(NAMES, (effect.treated, effect.control), strict=True)
    ]


def number(value: float | None, effect: Effect, *, sign: bool = False) -> str:
    """Return an outcome, or a difference of two, as percent where outcomes are true or false."""
    if value is None:
        return "-"
    plus = "+" if sign else ""
    return f"{value:{plus}.1%}" if effect.kind == "share" else f"{value:{plus}.4g}"


def interval(low: float | None, high: float | None, effect: Effect) -> str:
    """Return the ends of an interval."""
    if low is None or high is None:
        return "-"
    return f"{number(low, effect)} to {number(high, effect)}"
