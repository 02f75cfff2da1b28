"""Decide for a whole batch what a rule does, before anything is written."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from mlembed_crm.memory import Memory, memory_id, noted, remembered, renewed, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlembed_crm.rules import Rule
    from mlembed_django.batches import BatchRows


@dataclasses.dataclass(slots=True)
class Step:
    """One action of a batch.

    Attributes:
        place: Its row.
        say: `act`, or `note` for an entity that is only remembered.
        memory: What the rule remembers of its entity by the end of the batch, but for the action's
            id; None where it remembers nothing.
    """

    place: int
    say: Literal["act", "note"]
    memory: Memory | None = None


@dataclasses.dataclass(slots=True)
class Plan:
    """What a rule does about a batch.

    Attributes:
        steps: The actions, in the order of the rows.
        renewed: What it remembers otherwise of entities that it does not act for.
    """

    steps: list[Step]
    renewed: list[Memory]


def planned(
    rule: Rule, rows: BatchRows, places: Sequence[int], before: Mapping[str, Memory]
) -> Plan:
    """Return what *rule* does about the *places* of a batch, each with a key.

    Args:
        rule: One that remembers.
        rows: The batch.
        places: In their order.
        before: What the rule remembers, by `memory_id`.
    """
    now: dict[str, Memory] = dict(before)
    last: dict[str, Step] = {}
    steps: list[Step] = []
    moment = rows.batch.time_ns / 1e9
    for place in places:
        name = memory_id(rule.name, rows.key_of(place) or "")
        label, memory = rows.labels[place], now.get(name)
        say = verdict(rule, float(rows.scores[place]), label, moment, memory)
        if say in {"act", "note"}:
            acted = say == "act"
            now[name] = remembered(rule, "", label, moment) if acted else noted("", label)
            step = Step(place, "act" if acted else "note", now[name])
            steps.append(step)
            last[name] = step
        elif say and memory is not None:
            changed = renewed(memory, say, label)
            now[name] = changed
            if name in last:
                last[name].memory = changed
    changed_only = [
        memory for name, memory in now.items() if name not in last and memory != before[name]
    ]
    return Plan(steps, changed_only)
