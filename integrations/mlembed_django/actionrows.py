"""An action as the outbox's table keeps it, and which of its rows may be sent now."""

from __future__ import annotations

import json
import math
import uuid
from typing import TYPE_CHECKING, Any, cast

from django.db.models import Exists, Min, OuterRef, Q

from mlembed_crm.action import Action, State, payload_text
from mlembed_crm.errors import OutboxError
from mlembed_crm.memory import Memory, memory_id
from mlembed_crm.outboxes import MAX_LEAD_SECONDS, MAX_LEASE_SECONDS, MAX_WAIT_SECONDS
from mlembed_django.models import NAME_LENGTH, Delivery
from mlembed_django.rows import fitted, is_odd

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from django.db.models import QuerySet


_CHUNK = 500


def row_of(action: Action, now: float, memory: Memory | None = None) -> Delivery:
    """Return the row of a new *action*, and of what its rule remembers of it.

    Raises:
        PayloadError: If its payload is no JSON.
        OutboxError: If its score is no finite number.
    """
    payload = payload_text(action.payload)
    if not math.isfinite(action.score):
        raise OutboxError(f"rule '{action.rule}': an action needs a finite score")
    if action.key is not None and is_odd(action.key):
        raise OutboxError(
            f"rule '{action.rule}': a key with NUL or half a surrogate pair cannot be kept; give "
            "another"
        )
    whole = "" if action.key is None else fitted(action.key, len(action.key))
    key = fitted(action.key or "")
    return Delivery(
        uuid=uuid.UUID(action.id),
        rule=fitted(action.rule, NAME_LENGTH),
        model=fitted(action.model, NAME_LENGTH),
        version=fitted(action.version, 64),
        prediction=fitted(action.prediction_id, 64),
        key=key,
        long_key="" if key == whole else whole,
        score=action.score,
        label=json.dumps(action.label),
        reason=action.reason,
        trace=action.trace,
        destination=fitted(action.destination, NAME_LENGTH),
        record=fitted(action.record, NAME_LENGTH),
        id_field=fitted(action.id_field, NAME_LENGTH),
        slot=action.slot,
        payload=payload,
        created=action.created,
        state=action.state,
        next_attempt=action.next_attempt,
        quiet=action.quiet,
        queued=now,
        settled=0.0 if action.state == "pending" else now,
        **_remembered(action, memory),
    )


def _remembered(action: Action, memory: Memory | None) -> dict[str, Any]:
    if memory is None:
        return {}
    return {
        "memory": memory_id(action.rule, action.key or ""),
        "seen": json.dumps(memory.label),
        "armed": memory.armed,
        "quiet_until": memory.quiet_until,
    }


def memory_of(row: Delivery) -> Memory:
    """Return what the rule of *row* remembers."""
    return Memory(str(row.uuid), json.loads(row.seen), row.armed, row.quiet_until)


def action_of(row: Delivery) -> Action:
    """Return the action that *row* keeps."""
    return Action(
        id=str(row.uuid),
        rule=row.rule,
        model=row.model,
        version=row.version,
        prediction_id=row.prediction,
        key=row.long_key or row.key or None,
        score=row.score,
        label=json.loads(row.label),
        reason=row.reason,
        trace=row.trace,
        destination=row.destination,
        record=row.record,
        id_field=row.id_field,
        payload=json.loads(row.payload),
        created=row.created,
        state=cast("State", row.state),
        attempts=row.attempts,
        next_attempt=row.next_attempt,
        lease_until=row.lease_until,
        unsettled=row.lease_until > 0,
        quiet=row.quiet,
        last_error=row.last_error,
        queued=row.queued,
        settled=row.settled,
    )


def is_held(now: float) -> Q:
    """Return the condition that a delivery holds a row; a time that a clock made absurd is past."""
    return Q(lease_until__gt=now, lease_until__lte=now + MAX_LEASE_SECONDS)


def pending(using: str, destination: str) -> QuerySet[Delivery]:
    """Return what waits for a destination: one alone, so that an index gives them in their order."""
    return Delivery.objects.using(using).filter(state="pending", destination=destination)


def due(using: str, now: float, destination: str) -> QuerySet[Delivery]:
    """Return what may be sent to *destination* by its own time, the oldest first.

    A time that a clock set back has made absurd counts as past. What must wait for another of its
    key is `unblocked`'s to know.

    Args:
        using: Alias of the database.
        now: Unix time.
        destination: One alone.
    """
    later = Q(next_attempt__gt=now, next_attempt__lte=now + MAX_WAIT_SECONDS)
    return pending(using, destination).exclude(is_held(now)).exclude(later).order_by("pk")


def unblocked(using: str, now: float, destination: str, rows: Sequence[Delivery]) -> list[Delivery]:
    """Return those of *rows* that follow nothing: the oldest of their key, while no other is sent."""
    keys = sorted({row.key for row in rows if row.key})
    first: dict[str, int] = {}
    held: set[str] = set()
    for start in range(0, len(keys), _CHUNK):
        # One look at an index; a condition on each row would let a planner read the table for each.
        some = keys[start : start + _CHUNK]
        beside = pending(using, destination).filter(key__in=some).order_by()
        first |= dict(beside.values_list("key").annotate(Min("pk")))
        held |= set(beside.filter(is_held(now)).values_list("key", flat=True))
    return [
        row for row in rows if not row.key or (first.get(row.key) == row.pk and row.key not in held)
    ]


def is_first(using: str, destination: str) -> Q:
    """Return the condition that a row is the oldest of its key that waits for a destination."""
    older = pending(using, destination).filter(key=OuterRef("key"), pk__lt=OuterRef("pk"))
    return Q(key="") | Q(~Exists(older.order_by()))


def superseded(using: str, now: float, pks: Collection[int]) -> QuerySet[Delivery]:
    """Return those of *pks* that wait although a newer value of the same fields waits or went."""
    return _obsolete(using, now).filter(pk__in=pks)


def outdated(using: str, now: float, destination: str) -> QuerySet[Delivery]:
    """Return what waits for its next attempt although a newer value of the same fields waits or went."""
    later = Q(next_attempt__gt=0.0) & Q(next_attempt__gt=now)
    return _obsolete(using, now).filter(later, destination=destination)


def _obsolete(using: str, now: float) -> QuerySet[Delivery]:
    every = Delivery.objects.using(using)
    later = Q(created__gt=OuterRef("created")) | Q(
        created=OuterRef("created"), pk__gt=OuterRef("pk")
    )
    # What a host made whose clock ran ahead replaces nothing.
    made = every.filter(created__lte=now + MAX_LEAD_SECONDS, state__in=("pending", "sent"))
    newer = made.filter(later, slot=OuterRef("slot"))
    waiting = every.filter(slot__gt="", state="pending").exclude(is_held(now))
    return waiting.filter(Exists(newer)).order_by()
