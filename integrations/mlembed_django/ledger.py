"""Look into the site's outbox, and keep in it what is no action: pauses, cursors, history."""

from __future__ import annotations

import contextlib
import time
import uuid
from typing import TYPE_CHECKING, Any

from django.db import Error, transaction
from django.db.models import Count

from mlembed_crm.errors import OutboxError, UnknownActionError
from mlembed_crm.outboxes import MAX_WAIT_SECONDS
from mlembed_django.actionrows import action_of, due, unblocked
from mlembed_django.inserting import explained
from mlembed_django.locking import lock_writes
from mlembed_django.models import NAME_LENGTH, Attempt, Cursor, Delivery, DestinationState
from mlembed_django.queued import STATES, listed_actions
from mlembed_django.rows import fitted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from django.db.models import QuerySet

    from mlembed_crm.action import Action


class Ledger:
    """What people and commands see of the outbox in the database *using*.

    Args:
        using: Alias of the database.
        clock: Unix time in seconds.
    """

    def __init__(self, using: str = "default", *, clock: Callable[[], float] = time.time) -> None:
        self.using = using
        self._clock = clock

    def list(
        self,
        state: str | None = None,
        limit: int | None = 100,
        destinations: Collection[str] | None = None,
    ) -> tuple[Action, ...]:
        """Return the oldest *limit* actions: all, those in *state*, those of *destinations*."""
        with self._explained():
            return tuple(listed_actions(self.using, state, destinations, limit))

    def get(self, action_id: str) -> Action:
        """Return one action.

        Raises:
            UnknownActionError: If there is none of that id.
        """
        with self._explained():
            found = self._one(action_id).first()
            self._require(found)
        return action_of(found)  # type: ignore[arg-type]  # it is there

    def due(self, destinations: Collection[str]) -> tuple[Action, ...]:
        """Return what a delivery to *destinations* would send now; leases and changes nothing."""
        with self._explained():
            now = self._clock()
            left = sorted(set(destinations) - self.pauses().keys())
            rows = (
                row
                for name in left
                for row in unblocked(self.using, now, name, list(due(self.using, now, name)))
            )
            return tuple(action_of(row) for row in sorted(rows, key=lambda row: row.pk))

    def counts_by_destination(self) -> dict[str, dict[str, int]]:
        """Return how many actions are in each state, by the name of their destination."""
        counts: dict[str, dict[str, int]] = {}
        with self._explained():
            found = self._all().order_by("destination").values_list("destination", "state")
            for name, state, count in found.annotate(Count("pk")):
                counts.setdefault(name, dict.fromkeys(STATES, 0))[state] = count
        return counts

    def attempts(self, action_id: str) -> tuple[dict[str, Any], ...]:
        """Return the attempts to deliver an action, the oldest first, in plain types."""
        names = ("started", "seconds", "result", "status", "detail")
        with self._explained():
            tried = Attempt.objects.using(self.using).filter(delivery__in=self._one(action_id))
            rows = tried.order_by("started", "pk").values(*names)
            return tuple({**row, "status": row["status"] or 0} for row in rows)

    def pauses(self) -> dict[str, tuple[float, str]]:
        """Return until when, and why, each destination that is left alone is."""
        now = self._clock()
        with self._explained():
            rows = DestinationState.objects.using(self.using).filter(
                paused_until__gt=now, paused_until__lte=now + MAX_WAIT_SECONDS
            )
            return {row.destination: (row.paused_until, row.why) for row in rows}

    def cursor(self, name: str) -> str:
        """Return how far outcomes were read under *name*; empty where they never were."""
        with self._explained():
            found = Cursor.objects.using(self.using).filter(name=fitted(name, NAME_LENGTH))
            return found.values_list("cursor", flat=True).first() or ""

    def keep_cursor(self, name: str, cursor: str) -> None:
        """Keep how far outcomes were read under *name*."""
        with self._explained(), transaction.atomic(self.using):
            lock_writes(self.using, Cursor)
            rows = Cursor.objects.using(self.using)
            rows.update_or_create(name=fitted(name, NAME_LENGTH), defaults={"cursor": cursor})

    def counts(self) -> dict[str, int]:
        """Return how many actions are in each state."""
        with self._explained():
            found = self._all().order_by().values_list("state").annotate(Count("pk"))
            return {**dict.fromkeys(STATES, 0), **dict(found)}

    def destinations(self) -> tuple[str, ...]:
        """Return the names of the destinations that actions wait for, sorted."""
        with self._explained():
            pending = self._all().filter(state="pending").order_by("destination")
            return tuple(pending.values_list("destination", flat=True).distinct())

    def now(self) -> float:
        """Return the Unix time by the outbox's clock."""
        return self._clock()

    def __repr__(self) -> str:
        return f"DjangoOutbox({self.using!r})"

    def _all(self) -> QuerySet[Delivery]:
        return Delivery.objects.using(self.using)

    def _one(self, action_id: str | uuid.UUID) -> QuerySet[Delivery]:
        try:
            return self._all().filter(uuid=uuid.UUID(str(action_id)))
        except ValueError:
            return self._all().none()

    def _require(self, found: object) -> None:
        if not found:
            raise UnknownActionError(
                f"outbox in database '{self.using}': no such action. Its ids: "
                "manage.py mlembed_deliver --list pending"
            )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Error as error:
            why = explained(error, self.using)
            raise OutboxError(f"outbox in database '{self.using}': {why}") from error
