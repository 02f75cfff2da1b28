"""Keep actions in a SQLite file until they are delivered.

An action and what its rule remembers of it are one row, so neither a crash nor a second process can
fire twice or lose one. Delivery is at least once: the id is what makes it once.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from typing import TYPE_CHECKING

from mlembed.errors import SettingsError
from mlembed_crm.errors import OutboxError
from mlembed_crm.ledger import Ledger, claim_values, not_sent
from mlembed_crm.memory import Memory, memory_id
from mlembed_crm.outboxes import MAX_LEASE_SECONDS, MAX_RETRY_AFTER_SECONDS, MAX_WAIT_SECONDS
from mlembed_crm.rows import SETTLE, actions_of, row_of, settled
from mlembed_crm.schema import CLAIMABLE, SUPERSEDE, SUPERSEDE_LATER

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from mlembed_crm.action import Action
    from mlembed_crm.outboxes import Attempt, Queue


class Outbox(Ledger):
    """The actions in the SQLite file *path*; share it between threads, processes and forks.

    The file is made with mode 0600 if it does not exist. It may be the host's own database: all
    tables begin with `mlembed_`, and a write may join the host's transaction.

    Args:
        path: The file; its directory must exist.
        busy_seconds: Longest wait for another writer, and so the longest that a prediction which
            acts can make its caller wait.
        clock: Unix time in seconds.

    Attributes:
        is_new: Whether there was no file at *path* before.

    Raises:
        OutboxError: If the file cannot be opened, is no SQLite database, or was written by a newer
            version of the library.
    """

    def enqueue(
        self,
        action: Action,
        *,
        memory: Memory | None = None,
        before: Memory | None = None,
        connection: sqlite3.Connection | None = None,
    ) -> bool:
        """Queue *action*, with what its rule remembers of it, in one transaction.

        Args:
            action: What to deliver, or to hold.
            memory: What its rule remembers of its entity from here on; None for nothing.
            before: What the rule remembered so far, and what decided this.
            connection: The host's own connection to this same file, with a transaction open; the
                action is queued if and when that transaction commits.

        Returns:
            Whether it was queued: False where the same id is there already, or another was faster
            with this entity.

        Raises:
            PayloadError: If the payload is no JSON.
            OutboxError: If it cannot be written; nothing is changed then.
        """
        if memory is not None and action.key is None:
            raise OutboxError("enqueue: an action that is remembered for an entity needs its key")
        row = row_of(action, self._clock(), memory)
        with self._database.write(connection) as cursor:
            if before is not None:
                cursor.execute(
                    "UPDATE mlembed_action SET memory = NULL WHERE id = ?", (before.action_id,)
                )
            names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
            # No name and no value of anyone's is in the text of the statement.
            cursor.execute(
                f"INSERT INTO mlembed_action ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING",  # noqa: S608
                row,
            )
            queued = cursor.rowcount == 1
            if not queued and before is not None:
                cursor.execute(
                    "UPDATE OR IGNORE mlembed_action SET memory = ? WHERE id = ?",
                    (memory_id(action.rule, action.key or ""), before.action_id),
                )
            return queued

    def recall(
        self, rule: str, key: str, *, connection: sqlite3.Connection | None = None
    ) -> Memory | None:
        """Return what *rule* remembers of *key*; None where it has never acted."""
        with self._database.read(connection) as cursor:
            query = "SELECT id, seen, armed, quiet_until FROM mlembed_action WHERE memory = ?"
            found = cursor.execute(query, (memory_id(rule, key),)).fetchone()
        if found is None:
            return None
        action_id, seen, armed, quiet_until = found
        return Memory(action_id, json.loads(seen), bool(armed), quiet_until)

    def renew(self, memory: Memory, *, connection: sqlite3.Connection | None = None) -> None:
        """Replace what a rule remembers, but for what it did."""
        with self._database.write(connection) as cursor:
            cursor.execute(
                "UPDATE mlembed_action SET seen = ?, armed = ?, quiet_until = ? WHERE id = ?",
                (
                    json.dumps(memory.label),
                    *(memory.armed, memory.quiet_until, memory.action_id),
                ),
            )

    def inside(self, connection: sqlite3.Connection) -> Queue:
        """Return this outbox as it is filled in the transaction that *connection* has open."""
        return _Inside(self, connection)

    def claim(
        self,
        limit: int = 1,
        lease_seconds: float = 120.0,
        destinations: Collection[str] | None = None,
    ) -> tuple[Action, ...]:
        """Take up to *limit* actions that are due, for this caller alone.

        For one key and destination only the oldest pending action can be taken. Of values for the
        same fields of the same record only the newest is; the others are superseded. Whoever dies
        with an action keeps it until the lease ends. A time that a clock set back has made absurd
        counts as past.

        Args:
            limit: Most actions to take.
            lease_seconds: How long they are the caller's, at most 600.
            destinations: Take only theirs; all by default.
        """
        if not 0 < lease_seconds <= MAX_LEASE_SECONDS:
            raise SettingsError(f"claim: lease_seconds must be in (0, {MAX_LEASE_SECONDS:g}]")
        now = self._clock()
        values = claim_values(now, limit, destinations)
        until, lease = now + lease_seconds, uuid.uuid4().hex
        with self._database.write() as cursor:
            cursor.execute(SUPERSEDE_LATER, values)
            due = actions_of(cursor.execute(CLAIMABLE, values))
            while any(slots := [action.slot for action in due if action.slot]):
                cursor.execute(SUPERSEDE, values | {"slots": json.dumps(slots)})
                if not cursor.rowcount:
                    break
                due = actions_of(cursor.execute(CLAIMABLE, values))
            cursor.executemany(
                """UPDATE mlembed_action SET attempts = attempts + 1, lease_until = ?, lease = ?
                   WHERE id = ?""",
                [(until, lease, action.id) for action in due],
            )
        return tuple(
            dataclasses.replace(
                action,
                attempts=action.attempts + 1,
                lease_until=until,
                lease=lease,
                unsettled=action.lease_until > 0,
            )
            for action in due
        )

    def hold(self, actions: Sequence[Action], lease_seconds: float) -> bool:
        """Hold *actions* for as long again, from now; return whether they all are still held."""
        until = self._clock() + lease_seconds
        with self._database.write() as cursor:
            held = 0
            for action in actions:
                cursor.execute(
                    """UPDATE mlembed_action SET lease_until = ?
                       WHERE id = ? AND state = 'pending' AND lease = ?""",
                    (until, action.id, action.lease),
                )
                held += cursor.rowcount
            return held == len(actions)

    def settle(self, attempts: Sequence[Attempt]) -> None:
        """Record what became of actions, and keep each attempt, all or nothing.

        An attempt at an action whose lease ended, and which another delivery has taken since,
        changes nothing; but taken is taken.
        """
        now = self._clock()
        with self._database.write() as cursor:
            for attempt in attempts:
                cursor.execute(SETTLE[attempt.result], settled(attempt, now))
            cursor.executemany(
                """INSERT INTO mlembed_action_attempt (action, started, seconds, result, status, detail)
                   VALUES (?, ?, ?, ?, ?, ?)""",
                [
                    (
                        *(tried.action.id, tried.started, tried.seconds),
                        *(tried.result, tried.status, tried.detail),
                    )
                    for tried in attempts
                    if tried.tried
                ],
            )

    def pause(self, destination: str, until: float, reason: str = "") -> None:
        """Let nobody claim an action of *destination* before the Unix time *until*, a day at most.

        A pause that is longer stays; `resume` ends it.
        """
        now = self._clock()
        values = {
            "destination": destination,
            "until": min(until, now + MAX_RETRY_AFTER_SECONDS),
            "reason": reason,
            "absurd": now + MAX_WAIT_SECONDS,
        }
        with self._database.write() as cursor:
            cursor.execute(
                """INSERT INTO mlembed_pause (destination, until, reason)
                   VALUES (:destination, :until, :reason) ON CONFLICT (destination)
                   DO UPDATE SET until = excluded.until, reason = excluded.reason
                   WHERE excluded.until > until OR until > :absurd""",
                values,
            )

    def redeliver(self, action_id: str) -> None:
        """Queue an action that was sent or given up again, under the same id, with all attempts.

        Raises:
            UnknownActionError: If there is no such action.
            OutboxError: If it is held back, superseded, or only remembered.
        """
        action = self.get(action_id)
        with self._database.write() as cursor:
            cursor.execute(
                """UPDATE mlembed_action SET state = 'pending', attempts = 0, next_attempt = 0,
                   queued = ?, settled = 0,
                   lease = CASE state WHEN 'pending' THEN lease ELSE '' END,
                   lease_until = CASE state WHEN 'pending' THEN lease_until ELSE 0 END
                   WHERE id = ? AND state IN ('pending', 'sent', 'dead')""",
                (self._clock(), action_id),
            )
            if cursor.rowcount == 0:
                raise not_sent(self.path, action)

    def __repr__(self) -> str:
        return f"Outbox({str(self.path)!r})"


class _Inside:
    """Fills *outbox* through *connection*."""

    def __init__(self, outbox: Outbox, connection: sqlite3.Connection) -> None:
        self._outbox = outbox
        self._connection = connection

    def enqueue(
        self, action: Action, *, memory: Memory | None = None, before: Memory | None = None
    ) -> bool:
        return self._outbox.enqueue(
            action, memory=memory, before=before, connection=self._connection
        )

    def recall(self, rule: str, key: str) -> Memory | None:
        return self._outbox.recall(rule, key, connection=self._connection)

    def renew(self, memory: Memory) -> None:
        self._outbox.renew(memory, connection=self._connection)
