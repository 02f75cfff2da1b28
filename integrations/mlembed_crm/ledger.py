"""Look into the SQLite outbox, and keep in it what is not an action: pauses, cursors, history."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlembed_crm.action import STATES, Action, State
from mlembed_crm.database import Database
from mlembed_crm.errors import OutboxError, UnknownActionError
from mlembed_crm.outboxes import MAX_LEAD_SECONDS, MAX_LEASE_SECONDS, MAX_WAIT_SECONDS
from mlembed_crm.rows import FORGETTABLE, PRUNABLE, actions_of
from mlembed_crm.schema import CLAIMABLE

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection

NEVER_SENT = ("held", "superseded", "remembered")

_PRUNED_AT_ONCE = 1_000

LISTED = """SELECT * FROM mlembed_action
    WHERE (:state IS NULL OR state = :state)
      AND (:destinations IS NULL OR destination IN (SELECT value FROM json_each(:destinations)))
    ORDER BY sequence LIMIT :limit"""


class Ledger:
    """What people and commands see of the outbox in the file *path*; arguments as for `Outbox`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        busy_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path).absolute()
        self.is_new = not self.path.exists()
        self._clock = clock
        self._database = Database(self.path, busy_seconds)

    def list(
        self,
        state: State | None = None,
        limit: int | None = 100,
        destinations: Collection[str] | None = None,
    ) -> tuple[Action, ...]:
        """Return the oldest *limit* actions: all, those in *state*, those of *destinations*."""
        most = -1 if limit is None else limit
        values = {"state": state, "limit": most, "destinations": _listed(destinations)}
        with self._database.read() as cursor:
            return actions_of(cursor.execute(LISTED, values))

    def get(self, action_id: str) -> Action:
        """Return one action.

        Raises:
            UnknownActionError: If there is none of that id.
        """
        with self._database.read() as cursor:
            query = "SELECT * FROM mlembed_action WHERE id = ?"
            found = actions_of(cursor.execute(query, (action_id,)))
        if not found:
            raise unknown(self.path, action_id)
        return found[0]

    def due(self, destinations: Collection[str]) -> tuple[Action, ...]:
        """Return what a delivery to *destinations* would send now; leases and changes nothing."""
        with self._database.read() as cursor:
            values = claim_values(self._clock(), -1, destinations)
            return actions_of(cursor.execute(CLAIMABLE, values))

    def counts(self) -> dict[State, int]:
        """Return how many actions are in each state."""
        with self._database.read() as cursor:
            found = cursor.execute("SELECT state, count(*) FROM mlembed_action GROUP BY state")
            return {**dict.fromkeys(STATES, 0), **dict(found)}

    def counts_by_destination(self) -> dict[str, dict[State, int]]:
        """Return how many actions are in each state, by the name of their destination."""
        counts: dict[str, dict[State, int]] = {}
        with self._database.read() as cursor:
            rows = cursor.execute(
                """SELECT destination, state, count(*) FROM mlembed_action
                   GROUP BY destination, state ORDER BY destination"""
            )
            for name, state, count in rows:
                counts.setdefault(name, dict.fromkeys(STATES, 0))[state] = count
        return counts

    def attempts(self, action_id: str) -> tuple[dict[str, Any], ...]:
        """Return the attempts to deliver an action, the oldest first, in plain types."""
        with self._database.read() as cursor:
            rows = cursor.execute(
                """SELECT started, seconds, result, status, detail FROM mlembed_action_attempt
                   WHERE action = ? ORDER BY rowid""",
                (action_id,),
            )
            names = [column[0] for column in rows.description]
            return tuple(dict(zip(names, row, strict=True)) for row in rows)

    def destinations(self) -> tuple[str, ...]:
        """Return the names of the destinations that actions wait for, sorted."""
        with self._database.read() as cursor:
            rows = cursor.execute(
                "SELECT DISTINCT destination FROM mlembed_action WHERE state = 'pending' ORDER BY 1"
            )
            return tuple(name for (name,) in rows)

    def pauses(self) -> dict[str, tuple[float, str]]:
        """Return until when, and why, each destination that is left alone is."""
        now = self._clock()
        with self._database.read() as cursor:
            rows = cursor.execute(
                """SELECT destination, until, reason FROM mlembed_pause
                   WHERE until > ? AND until <= ? ORDER BY 1""",
                (now, now + MAX_WAIT_SECONDS),
            )
            return {name: (until, reason) for name, until, reason in rows}

    def cursor(self, name: str) -> str:
        """Return how far outcomes were read under *name*; empty where they never were."""
        with self._database.read() as cursor:
            query = "SELECT cursor FROM mlembed_action_cursor WHERE name = ?"
            found = cursor.execute(query, (name,)).fetchone()
            return found[0] if found else ""

    def keep_cursor(self, name: str, cursor: str) -> None:
        """Keep how far outcomes were read under *name*."""
        with self._database.write() as writing:
            writing.execute(
                """INSERT INTO mlembed_action_cursor (name, cursor) VALUES (?, ?)
                   ON CONFLICT (name) DO UPDATE SET cursor = excluded.cursor""",
                (name, cursor),
            )

    def resume(self, destination: str) -> bool:
        """End the pause of *destination*; return whether there was one."""
        with self._database.write() as cursor:
            cursor.execute("DELETE FROM mlembed_pause WHERE destination = ?", (destination,))
            return cursor.rowcount == 1

    def prune(self, keep_seconds: float) -> int:
        """Delete what was settled longer ago than *keep_seconds*; return how many.

        What was given up stays. Of an action whose rule still remembers it, the memory does. It goes
        a few at a time, so that nobody waits for it.
        """
        forget = "UPDATE mlembed_action SET state = 'remembered', payload = '{}', slot = ''"
        pruned = 0
        for found, change in ((FORGETTABLE, forget), (PRUNABLE, "DELETE FROM mlembed_action")):
            while n := self._prune_some(found, change, keep_seconds):
                pruned += n if found is PRUNABLE else 0
        return pruned

    def _prune_some(self, found: str, change: str, keep_seconds: float) -> int:
        now = self._clock()
        values = {"before": now - keep_seconds, "now": now, "limit": _PRUNED_AT_ONCE}
        with self._database.write() as cursor:
            ids = json.dumps([name for (name,) in cursor.execute(found, values)])
            these = "IN (SELECT value FROM json_each(?))"
            cursor.execute(f"DELETE FROM mlembed_action_attempt WHERE action {these}", (ids,))  # noqa: S608
            cursor.execute(f"{change} WHERE id {these}", (ids,))
            return cursor.rowcount

    def now(self) -> float:
        """Return the Unix time by the outbox's clock."""
        return self._clock()

    def close(self) -> None:
        """Close this thread's connection; the outbox opens another when it is used again."""
        self._database.close()


def claim_values(now: float, limit: int, destinations: Collection[str] | None) -> dict[str, object]:
    """Return the values of the statement that finds what may be claimed.

    Args:
        now: Unix time.
        limit: Most actions; -1 for all.
        destinations: Only theirs; None for all.
    """
    return {
        "now": now,
        "max_wait": MAX_WAIT_SECONDS,
        "max_lease": MAX_LEASE_SECONDS,
        "max_lead": MAX_LEAD_SECONDS,
        "destinations": _listed(destinations),
        "limit": limit,
    }


def not_sent(where: object, action: Action) -> OutboxError:
    """Return the error that *action* is in a state from which it is not sent."""
    why = {
        "held": "it is held back for the control group of its rule",
        "superseded": "a newer value of the same fields went instead",
    }.get(action.state, "only that its rule acted is remembered of it")
    return OutboxError(f"outbox {where}: action {action.id} is not sent again: {why}")


def unknown(path: Path, action_id: str) -> UnknownActionError:
    """Return the error that there is no such action."""
    return UnknownActionError(
        f"outbox {path}: no such action {action_id!r}. Its ids: mlembed actions list {path.name}"
    )


def _listed(names: Collection[str] | None) -> str | None:
    return None if names is None else json.dumps(list(names))
