"""What a rule remembers of an entity, and what it makes of the next prediction."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from mlembed_crm.action import digest
from mlembed_crm.outboxes import MAX_WAIT_SECONDS

if TYPE_CHECKING:
    from mlembed_crm.rules import Rule

Verdict = Literal["act", "note", "rearm", "relabel", ""]


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """The last action of a rule for an entity, as far as the next depends on it.

    Attributes:
        action_id: The action's id.
        label: The label that was seen last, where the rule is about labels; else None.
        armed: Whether the rule may act again.
        quiet_until: Unix time before which it does not act.
    """

    action_id: str
    label: bool | str | None = None
    armed: bool = True
    quiet_until: float = 0.0


def memory_id(rule: str, key: str) -> str:
    """Return the name under which an outbox finds what *rule* remembers of *key*."""
    return digest(rule, key)


def verdict(
    rule: Rule,
    score: float,
    label: bool | str | None,  # noqa: FBT001  a label may be one
    moment: float,
    memory: Memory | None,
) -> Verdict:
    """Say what *rule* does about a prediction.

    Args:
        rule: Of any condition; a `top` acts on what reaches its bound, and a run chooses of that.
        score: The prediction's, finite.
        label: The prediction's.
        moment: When it was made, Unix time.
        memory: What the rule remembers of the entity; None for one that it has not met.

    Returns:
        `act`, `note` (remember an entity that is met for the first time), `rearm`, `relabel` or,
        for nothing at all, an empty text.
    """
    when = rule.when
    # A prediction may come after those that were made later, as in a batch that is stamped when it
    # begins; a cooldown that a clock which ran ahead by more than a day has made counts as over.
    latest = moment + rule.cooldown_seconds + MAX_WAIT_SECONDS
    quiet = memory is not None and moment < memory.quiet_until <= latest
    if when.kind == "label":
        return _of_label(when.label, label, memory, quiet=quiet)
    if not when.acts(score):
        back = memory is not None and not memory.armed and when.rearms(score)
        return "rearm" if back else ""
    fires = memory is None or memory.armed or not when.crossing
    return "act" if fires and not quiet else ""


def _of_label(wanted: Any, label: Any, memory: Memory | None, *, quiet: bool) -> Verdict:
    if label is None:
        return ""
    if memory is None:
        return "note"
    if memory.label is None:  # what another condition of the same rule left
        return "relabel"
    if memory.label == label or quiet:  # a change that comes in the quiet acts when it is over
        return ""
    return "act" if wanted in {None, label} else "relabel"


def remembered(rule: Rule, action_id: str, label: Any, moment: float) -> Memory:
    """Return what *rule* remembers once it has acted."""
    quiet_until = moment + rule.cooldown_seconds if rule.cooldown_seconds else 0.0
    seen = label if rule.when.kind == "label" else None
    return Memory(action_id, seen, not rule.when.crossing, quiet_until)


def renewed(memory: Memory, say: Verdict, label: Any) -> Memory:
    """Return *memory* as a verdict of `rearm` or `relabel` changes it."""
    if say == "rearm":
        return dataclasses.replace(memory, armed=True)
    return dataclasses.replace(memory, label=label)


def noted(action_id: str, label: Any) -> Memory:
    """Return what is remembered of an entity that was met, and for which nothing was done."""
    return Memory(action_id, label)
