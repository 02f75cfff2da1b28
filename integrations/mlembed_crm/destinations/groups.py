"""Group the actions of a batch by the records that they are about.

What is written together is of one kind of record, found by one field. Each action keeps its place,
so that its answer is never given for another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlembed_crm.action import Action
    from mlembed_crm.destinations import Receipt

    Answers = dict[int, Receipt | DeliveryError]
    Group = list[tuple[int, Action]]


def grouped(
    actions: Sequence[Action], unfit: Callable[[Action], DeliveryError | None]
) -> tuple[Mapping[tuple[str, str], Group], Answers]:
    """Return the actions and their places, by kind of record and the field of its key.

    Args:
        actions: To group.
        unfit: Returns why an action cannot be written; None if it can.

    Returns:
        The groups, and by their places the errors of those that are in none.
    """
    groups: dict[tuple[str, str], Group] = {}
    answers: Answers = {}
    for at, action in enumerate(actions):
        error = unfit(action)
        if error is None:
            groups.setdefault((action.record, action.id_field), []).append((at, action))
        else:
            answers[at] = error
    return groups, answers


def no_record(action: Action) -> DeliveryError | None:
    """Return why *action* is about no record; None if it is about one."""
    if not action.record:
        return DeliveryError("an event is no record; give the rule an upsert", permanent=True)
    if not action.key:
        return DeliveryError("it has no key; call predict(record, key=...)", permanent=True)
    return None
