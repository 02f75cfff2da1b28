"""Read the outbox as people and tests look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Q

from mlembed_crm import action
from mlembed_django.actionrows import action_of
from mlembed_django.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from mlembed_crm.action import Action

STATES = (*action.STATES, "discarded")


def listed_actions(
    using: str,
    state: str | None = None,
    destinations: Collection[str] | None = None,
    limit: int | None = None,
) -> Iterator[Action]:
    """Yield the oldest *limit* actions in the database *using*.

    Args:
        using: Alias of the database.
        state: Only those in it.
        destinations: Only theirs.
        limit: Most of them; all by default.
    """
    chosen = Q() if state is None else Q(state=state)
    if destinations is not None:
        chosen &= Q(destination__in=destinations)
    yield from _actions(using, chosen, limit)


def _actions(using: str, chosen: Q, limit: int | None) -> Iterator[Action]:
    yield from map(action_of, Delivery.objects.using(using).filter(chosen).order_by("pk")[:limit])
