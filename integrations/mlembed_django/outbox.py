"""Keep actions in the site's own database until they are delivered.

What is queued joins the transaction that the caller has open, so an action and the rows it is about
commit or roll back together. An action is one delivery's at a time by a conditional UPDATE, which
every database does alike, and no transaction is open while it is sent.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, OperationalError, connections, transaction
from django.db.models import Q

from mlembed.errors import SettingsError
from mlembed_crm.errors import OutboxError
from mlembed_crm.ledger import NEVER_SENT, not_sent
from mlembed_crm.memory import memory_id
from mlembed_crm.outboxes import MAX_LEASE_SECONDS, MAX_RETRY_AFTER_SECONDS, MAX_WAIT_SECONDS
from mlembed_django.actionrows import memory_of, row_of
from mlembed_django.leasing import ERROR_LENGTH, hold, settle, take
from mlembed_django.ledger import Ledger
from mlembed_django.locking import lock_writes, needs_lock
from mlembed_django.models import NAME_LENGTH, Delivery, DestinationState
from mlembed_django.rows import fitted

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Iterator, Sequence

    from mlembed_crm.action import Action
    from mlembed_crm.memory import Memory
    from mlembed_crm.outboxes import Attempt as Tried


class DjangoOutbox(Ledger):
    """The actions in the database *using*, for `mlembed_crm.Actions` and `mlembed_crm.Delivery`.

    Args:
        using: Alias of the database.
        clock: Unix time in seconds.
    """

    def enqueue(
        self, action: Action, *, memory: Memory | None = None, before: Memory | None = None
    ) -> bool:
        """Queue *action* in the caller's transaction, or in one of its own, by one INSERT.

        Args:
            action: What to deliver, or to hold.
            memory: What its rule remembers of its entity from here on; None for nothing.
            before: What the rule remembered so far, and what decided this.

        Returns:
            Whether it was queued: False where the same id is there already, or another was faster
            with this entity.

        Raises:
            PayloadError: If the payload is no JSON.
            OutboxError: If it cannot be written; nothing is changed then, and the caller's
                transaction goes on.
        """
        if memory is not None and action.key is None:
            raise OutboxError("enqueue: an action that is remembered for an entity needs its key")
        row = row_of(action, self._clock(), memory)
        with self._explained():
            try:
                with transaction.atomic(self.using):
                    if before is not None:
                        self._one(before.action_id).update(memory=None)
                    row.save(using=self.using, force_insert=True)
            except IntegrityError:
                return False
        return True

    def recall(self, rule: str, key: str) -> Memory | None:
        """Return what *rule* remembers of *key*; None where it has never acted."""
        return self.recall_all([memory_id(rule, key)]).get(memory_id(rule, key))

    def recall_all(self, ids: Collection[str]) -> dict[str, Memory]:
        """Return what rules remember, by `memory_id`, of as many as *ids* names."""
        self._lock()
        with self._explained(), self.savepoint():
            rows = self._all().filter(memory__in=ids)
            return {str(row.memory): memory_of(row) for row in rows.order_by()}

    def recall_rule(self, rule: str, most: int) -> dict[str, Memory] | None:
        """Return all that *rule* remembers, by `memory_id`; None where that is more than *most*."""
        self._lock()
        with self._explained(), self.savepoint():
            rows = self._all().filter(rule=fitted(rule, NAME_LENGTH), memory__isnull=False)
            found = list(rows.order_by()[: most + 1])
        return {str(row.memory): memory_of(row) for row in found} if len(found) <= most else None

    def _lock(self) -> None:
        """Take SQLite's lock before what decides on a write is read.

        Where it is refused, there may be nothing to write; if there is, that fails and says so.
        """
        if needs_lock(self.using):
            with contextlib.suppress(OperationalError), self.savepoint():
                lock_writes(self.using, Delivery)

    def renew(self, memory: Memory) -> None:
        """Replace what a rule remembers, but for what it did."""
        self.renew_all([memory])

    def renew_all(self, memories: Sequence[Memory]) -> None:
        """Replace what rules remember, by one UPDATE for those that are alike."""
        alike: dict[tuple[Any, ...], list[str]] = {}
        for each in memories:
            state = json.dumps(each.label), each.armed, each.quiet_until
            alike.setdefault(state, []).append(each.action_id)
        with self._explained(), self.savepoint():
            for (seen, armed, quiet_until), ids in alike.items():
                rows = self._all().filter(uuid__in=ids)
                rows.update(seen=seen, armed=armed, quiet_until=quiet_until)

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Keep the caller's transaction usable whatever fails inside; outside of one, do nothing."""
        if connections[self.using].in_atomic_block:
            with transaction.atomic(self.using):
                yield
        else:
            yield

    def claim(
        self,
        limit: int = 1,
        lease_seconds: float = 120.0,
        destinations: Collection[str] | None = None,
    ) -> tuple[Action, ...]:
        """Take up to *limit* actions that are due, for this caller alone; as `Outbox.claim`.

        For one key and destination only the oldest pending action can be taken, and none while
        another is being sent.
        """
        if not 0 < lease_seconds <= MAX_LEASE_SECONDS:
            raise SettingsError(f"claim: lease_seconds must be in (0, {MAX_LEASE_SECONDS:g}]")
        claimed: list[Action] = []
        with self._explained():
            self._renew_connection()
            now = self._clock()
            names = self.destinations() if destinations is None else destinations
            for name in sorted(set(names) - self.pauses().keys()):
                if len(claimed) < limit:
                    lease = (now, now + lease_seconds)
                    claimed += take(self.using, name, limit - len(claimed), lease)
        return tuple(claimed)

    def settle(self, attempts: Sequence[Tried]) -> None:
        """Record what became of actions, and keep each attempt; each action as a whole.

        An attempt at an action whose lease ended, and which another delivery has taken since,
        changes nothing; but taken is taken.
        """
        with self._explained():
            settle(self.using, attempts, self._clock())

    def hold(self, actions: Sequence[Action], lease_seconds: float) -> bool:
        """Hold *actions* for as long again, from now; return whether they all are still held."""
        with self._explained():
            return hold(self.using, actions, self._clock() + lease_seconds)

    def pause(self, destination: str, until: float, reason: str = "") -> None:
        """Let nobody claim an action of *destination* before the Unix time *until*, a day at most.

        A pause that is longer stays; `resume` ends it.
        """
        now = self._clock()
        name, why = fitted(destination, NAME_LENGTH), fitted(reason, ERROR_LENGTH)
        change = {"paused_until": min(until, now + MAX_RETRY_AFTER_SECONDS), "why": why}
        with self._explained():
            states = DestinationState.objects.using(self.using)
            shorter = Q(paused_until__lt=until) | Q(paused_until__gt=now + MAX_WAIT_SECONDS)
            if not states.filter(shorter, destination=name).update(**change):
                new = DestinationState(destination=name, **change)
                states.bulk_create([new], ignore_conflicts=True)

    def resume(self, destination: str) -> bool:
        """End the pause of *destination*; return whether there was one."""
        name = fitted(destination, NAME_LENGTH)
        with self._explained():
            states = DestinationState.objects.using(self.using)
            return bool(states.filter(destination=name).delete()[0])

    def redeliver(self, action_id: str | uuid.UUID) -> None:
        """Queue an action again, under the same id and with all its attempts.

        Raises:
            UnknownActionError: If there is no such action.
            OutboxError: If it is held back, superseded, or only remembered.
        """
        fresh = {"state": "pending", "attempts": 0, "next_attempt": 0.0, "settled": 0.0}
        with self._explained(), transaction.atomic(self.using):
            one = self._one(action_id).exclude(state__in=NEVER_SENT)
            # The lease of an attempt that is running goes on.
            one.exclude(state="pending").update(lease_until=0.0, lease="")
            found = one.update(**fresh, queued=self._clock())
        if not found:
            raise not_sent(f"in database '{self.using}'", self.get(str(action_id)))

    def discard(self, action_id: str | uuid.UUID) -> bool:
        """Never send an action that waits or was given up; return False for one that was sent.

        One that is being sent at this moment may still arrive, and is marked as sent then.

        Raises:
            UnknownActionError: If there is no such action.
        """
        with self._explained():
            one = self._one(action_id)
            self._require(one.exists())
            left = one.filter(state__in=("pending", "dead"))
            return bool(left.update(state="discarded", lease_until=0.0, settled=self._clock()))

    def prune(self, keep_seconds: float) -> int:
        """Delete the actions that were sent or discarded longer ago; return how many."""
        from mlembed_django.pruning import prune_deliveries

        with self._explained():
            return prune_deliveries(self.using, self._clock() - keep_seconds)

    def _renew_connection(self) -> None:
        """Let go of a connection that a restart of the database broke."""
        connection = connections[self.using]
        if connection.errors_occurred and not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
