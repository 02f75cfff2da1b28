"""Lease actions to one delivery at a time, and record what it made of them.

A lease is a conditional UPDATE, which every database does alike; no transaction is open while an
action is sent.
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction
from django.db.models import F

from mlembed_django.actionrows import action_of, due, is_first, outdated, superseded, unblocked
from mlembed_django.locking import lock_writes
from mlembed_django.models import Attempt, Delivery
from mlembed_django.rows import fitted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from django.db.models import QuerySet

    from mlembed_crm.action import Action
    from mlembed_crm.outboxes import Attempt as Tried

ERROR_LENGTH = 2_000

_FREE = {"lease_until": 0.0, "lease": ""}
_WINDOW, _FEW = 4, 50  # of few that are wanted, more are looked at: some may have to wait


def take(using: str, name: str, limit: int, lease: tuple[float, float]) -> tuple[Action, ...]:
    """Lease up to *limit* of what is due for a destination.

    Args:
        using: Alias of the database.
        name: The destination.
        limit: Most actions.
        lease: Now, and when the lease ends, as Unix times.
    """
    taken: list[Action] = []
    last = 0
    _pass_over_outdated(using, name, lease[0])
    while len(taken) < limit:
        look = _Look(using, name, lease, limit - len(taken))
        with transaction.atomic(using):
            lock_writes(using, Delivery)
            rows = look.window(last)
            if not rows:
                break
            left = look.supersede(rows)
            found = look.lease(unblocked(using, lease[0], name, left)[: look.limit])
        taken += found
        last = rows[-1].pk
    return tuple(taken)


def _pass_over_outdated(using: str, name: str, now: float) -> None:
    """Let no newer value wait for the next attempt at an older one."""
    found = outdated(using, now, name)
    if not found.exists():
        return
    with transaction.atomic(using):
        lock_writes(using, Delivery)
        pks = list(_unlocked(using, found).values_list("pk", flat=True))
        rows = Delivery.objects.using(using).filter(pk__in=pks).order_by()
        rows.update(state="superseded", settled=now)


def _unlocked(using: str, rows: QuerySet[Delivery]) -> QuerySet[Delivery]:
    """Lock *rows*, but for those that another has locked: whoever waits for nothing ends no cycle."""
    features = connections[using].features
    if features.has_select_for_update_skip_locked:
        of = ("self",) if features.has_select_for_update_of else ()
        return rows.select_for_update(skip_locked=True, of=of)
    return rows


class _Look:
    """One look at what is due, in a transaction."""

    def __init__(self, using: str, name: str, lease: tuple[float, float], limit: int) -> None:
        self._using = using
        self._name = name
        self._now, self._until = lease
        self.limit = limit

    def window(self, after: int) -> list[Delivery]:
        """Return the oldest rows that are due, after the primary key *after*.

        What comes behind a first window is looked at only where it is the oldest of its key: of a
        key that waits, thousands may.
        """
        rows = due(self._using, self._now, self._name).filter(pk__gt=after)
        if after:
            rows = rows.filter(is_first(self._using, self._name))
        # Workers need not queue for the same rows; the UPDATE is what decides.
        rows = _unlocked(self._using, rows)
        return list(rows[: self.limit * _WINDOW if self.limit < _FEW else self.limit])

    def supersede(self, rows: Sequence[Delivery]) -> list[Delivery]:
        """Pass over those of *rows* of which a newer value waits or went; return the others.

        No row of another worker is touched: two that wait for each other's would wait for ever.
        """
        slotted = [row.pk for row in rows if row.slot]
        older = superseded(self._using, self._now, slotted)
        pks = set(older.values_list("pk", flat=True)) if slotted else set()
        if pks:
            passed = Delivery.objects.using(self._using).filter(pk__in=pks).order_by()
            passed.update(state="superseded", settled=self._now)
        return [row for row in rows if row.pk not in pks]

    def lease(self, rows: list[Delivery]) -> list[Action]:
        """Lease *rows*; return those that nobody else was faster with."""
        owner = uuid.uuid4().hex
        pks = [row.pk for row in rows]
        mine = due(self._using, self._now, self._name).filter(pk__in=pks).order_by()
        changes = {"attempts": F("attempts") + 1, "lease_until": self._until}
        if pks and mine.update(**changes, lease=owner) < len(pks):
            kept = Delivery.objects.using(self._using).filter(pk__in=pks, lease=owner)
            left = set(kept.order_by().values_list("pk", flat=True))
            rows = [row for row in rows if row.pk in left]
        held: dict[str, Any] = {"lease_until": self._until, "lease": owner}
        return [
            dataclasses.replace(action_of(row), attempts=row.attempts + 1, **held) for row in rows
        ]


def hold(using: str, actions: Sequence[Action], until: float) -> bool:
    """Hold *actions* until a Unix time; return whether they all are still held under their lease."""
    leases = {action.lease for action in actions}
    every = Delivery.objects.using(using).filter(state="pending", lease__in=leases).order_by()
    held = 0
    for ids in _apart(using, [action.id for action in actions]):
        held += every.filter(uuid__in=ids).update(lease_until=until)
    return held == len(actions)


def settle(using: str, attempts: Sequence[Tried], now: float) -> None:
    """Record what became of actions, and keep each attempt.

    All are settled as one, but for those that a transaction of the host has locked.

    Args:
        using: Alias of the database.
        attempts: One an action.
        now: Unix time.
    """
    tried = {one.action.id: one for one in attempts}
    for ids in _apart(using, list(tried)):
        _settle(using, [tried[name] for name in ids], now)


def _settle(using: str, attempts: Sequence[Tried], now: float) -> None:
    every = Delivery.objects.using(using).order_by()
    sent = [one.action.id for one in attempts if one.result == "sent"]
    if sent:
        done = {"state": "sent", "last_error": "", "settled": now}
        every.filter(uuid__in=sent).update(**_FREE, **done)
    for one in attempts:
        if one.result == "sent":
            continue
        why = fitted(one.detail, ERROR_LENGTH)
        held = _held(every, one.action)
        if one.result == "failed":
            left = max(0, one.action.attempts - (0 if one.counted else 1))
            again = {"next_attempt": one.retry_at, "attempts": left}
            held.update(**_FREE, **again, last_error=why)
        else:
            held.update(**_FREE, state="dead", last_error=why, settled=now)
    _keep(using, [one for one in attempts if one.tried])


def _apart(using: str, ids: Sequence[str]) -> Iterator[list[str]]:
    """Yield *ids* in parts, each in a transaction: those that nobody has locked, then one by one.

    The host's transactions lock rows in an order of their own. Whoever waits for one row, and holds
    no other meanwhile, ends no cycle.
    """
    if not connections[using].features.has_select_for_update_skip_locked:
        with transaction.atomic(using):
            yield list(ids)
        return
    with transaction.atomic(using):
        rows = Delivery.objects.using(using).filter(uuid__in=ids).order_by()
        free = {str(found) for found in _unlocked(using, rows).values_list("uuid", flat=True)}
        yield [name for name in ids if name in free]
    for name in ids:
        if name not in free:
            with transaction.atomic(using):
                yield [name]


def _held(every: QuerySet[Delivery], action: Action) -> QuerySet[Delivery]:
    """Return *action*, unless another delivery has taken it since."""
    return every.filter(uuid=action.id, state="pending", lease=action.lease)


def _keep(using: str, attempts: Iterable[Tried]) -> None:
    """Keep the history; an action may have been pruned meanwhile."""
    tried = {uuid.UUID(one.action.id): one for one in attempts}
    rows = Delivery.objects.using(using).filter(uuid__in=tried).order_by()
    history = [
        Attempt(
            delivery_id=pk,
            started=tried[name].started,
            seconds=tried[name].seconds,
            result=tried[name].result,
            status=tried[name].status or None,
            detail=fitted(tried[name].detail, ERROR_LENGTH),
        )
        for name, pk in rows.values_list("uuid", "pk")
    ]
    Attempt.objects.using(using).bulk_create(history)
