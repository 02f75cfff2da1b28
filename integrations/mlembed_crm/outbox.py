"""Keep actions in a SQLite file until they are delivered.

An action and the crossing that caused it are committed together, so neither a crash nor a second
process can fire twice or lose one. Delivery is at least once: the id is what makes it once.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.errors import SettingsError
from mlembed_crm.action import Action, State, payload_text
from mlembed_crm.database import Database
from mlembed_crm.errors import OutboxError, UnknownActionError
from mlembed_crm.schema import CLAIMABLE

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Callable, Collection

MAX_LEASE_SECONDS = 600.0
MAX_WAIT_SECONDS = 86_400.0


class Outbox:
    """The actions in the SQLite file *path*; share it between threads, processes and forks.

    The file is made with mode 0600 if it does not exist. It may be the host's own database: all
    tables begin with `mlembed_`, and a write may join the host's transaction.

    Args:
        path: The file; its directory must exist.
        busy_seconds: Longest wait for another writer, and so the longest that a prediction which
            acts can make its caller wait.
        clock: Unix time in seconds.

    Raises:
        OutboxError: If the file cannot be opened, is no SQLite database, or was written by a newer
            version of the library.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        busy_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path).absolute()
        self._clock = clock
        self._database = Database(self.path, busy_seconds)

    def enqueue(
        self,
        action: Action,
        *,
        once: bool = False,
        connection: sqlite3.Connection | None = None,
    ) -> bool:
        """Queue *action*, and remember the crossing that caused it, in one transaction.

        Args:
            action: What to deliver.
            once: Queue it only if its rule is not yet marked as crossed for its key.
            connection: The host's own connection to this same file, with a transaction open; the
                action is queued if and when that transaction commits.

        Returns:
            Whether it was queued: False where the crossing, or the same id, is there already.

        Raises:
            PayloadError: If the payload is no JSON.
            OutboxError: If it cannot be written; nothing is changed then.
        """
        payload = payload_text(action.payload)
        if once and action.key is None:
            raise OutboxError("enqueue: an action that is due once an entity needs its key")
        now = self._clock()
        with self._database.write(connection) as cursor:
            if once:
                cursor.execute(
                    "INSERT INTO mlembed_crossing (rule, key) VALUES (?, ?) ON CONFLICT DO NOTHING",
                    (action.rule, action.key),
                )
                if cursor.rowcount == 0:
                    return False
            cursor.execute(
                """INSERT INTO mlembed_action (id, rule, model, version, prediction_id, key, score,
                   destination, payload, created, queued)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING""",
                (
                    *(action.id, action.rule, action.model, action.version),
                    *(action.prediction_id, action.key, action.score, action.destination),
                    *(payload, action.created, now),
                ),
            )
            return cursor.rowcount == 1

    def crossed(self, rule: str, key: str, *, connection: sqlite3.Connection | None = None) -> bool:
        """Return whether *rule* has acted for *key* and is not armed again."""
        with self._database.read(connection) as cursor:
            query = "SELECT 1 FROM mlembed_crossing WHERE rule = ? AND key = ?"
            return cursor.execute(query, (rule, key)).fetchone() is not None

    def rearm(self, rule: str, key: str, *, connection: sqlite3.Connection | None = None) -> None:
        """Let the next crossing of *rule* for *key* act again."""
        with self._database.write(connection) as cursor:
            cursor.execute("DELETE FROM mlembed_crossing WHERE rule = ? AND key = ?", (rule, key))

    def claim(
        self,
        limit: int = 1,
        lease_seconds: float = 120.0,
        destinations: Collection[str] | None = None,
    ) -> tuple[Action, ...]:
        """Take up to *limit* actions that are due, for this caller alone.

        For one key and destination only the oldest pending action can be taken. Whoever dies with
        an action keeps it until the lease ends. A time that a clock set back has made absurd
        counts as past.

        Args:
            limit: Most actions to take.
            lease_seconds: How long they are the caller's, at most 600.
            destinations: Take only theirs; all by default.
        """
        if not 0 < lease_seconds <= MAX_LEASE_SECONDS:
            raise SettingsError(f"claim: lease_seconds must be in (0, {MAX_LEASE_SECONDS:g}]")
        now = self._clock()
        values = {
            "now": now,
            "max_wait": MAX_WAIT_SECONDS,
            "max_lease": MAX_LEASE_SECONDS,
            "destinations": None if destinations is None else json.dumps(list(destinations)),
            "limit": limit,
        }
        with self._database.write() as cursor:
            due = _actions(cursor.execute(CLAIMABLE, values))
            until = now + lease_seconds
            cursor.executemany(
                "UPDATE mlembed_action SET attempts = attempts + 1, lease_until = ? WHERE id = ?",
                [(until, action.id) for action in due],
            )
        return tuple(
            dataclasses.replace(action, attempts=action.attempts + 1, lease_until=until)
            for action in due
        )

    def mark_sent(self, action: Action) -> None:
        """Record that the destination took *action*."""
        with self._database.write() as cursor:
            cursor.execute(
                """UPDATE mlembed_action SET state = 'sent', lease_until = 0, last_error = '',
                   settled = ? WHERE id = ?""",
                (self._clock(), action.id),
            )

    def mark_failed(
        self, action: Action, error: str, retry_at: float, *, counted: bool = True
    ) -> None:
        """Give *action* back, to be tried again.

        Does nothing if the lease ended and another delivery has taken the action since.

        Args:
            action: As `claim` returned it.
            error: Why; without a value of a record.
            retry_at: Not before this Unix time.
            counted: Whether the attempt counts; one that was told to wait does not.
        """
        with self._database.write() as cursor:
            cursor.execute(
                """UPDATE mlembed_action SET lease_until = 0, next_attempt = ?, last_error = ?,
                   attempts = attempts - ?
                   WHERE id = ? AND state = 'pending' AND attempts = ?""",
                (retry_at, error, 0 if counted else 1, action.id, action.attempts),
            )

    def mark_dead(self, action: Action, reason: str) -> None:
        """Give *action* up; it stays in the outbox until it is redelivered.

        Does nothing if the lease ended and another delivery has taken the action since.
        """
        with self._database.write() as cursor:
            cursor.execute(
                """UPDATE mlembed_action SET state = 'dead', lease_until = 0, last_error = ?,
                   settled = ? WHERE id = ? AND state = 'pending' AND attempts = ?""",
                (reason, self._clock(), action.id, action.attempts),
            )

    def pause(self, destination: str, until: float) -> None:
        """Let nobody claim an action of *destination* before the Unix time *until*."""
        with self._database.write() as cursor:
            cursor.execute(
                """INSERT INTO mlembed_pause (destination, until) VALUES (?, ?)
                   ON CONFLICT (destination) DO UPDATE SET until = excluded.until""",
                (destination, until),
            )

    def redeliver(self, action_id: str) -> None:
        """Queue a dead or sent action again, under the same id and with all its attempts.

        Raises:
            UnknownActionError: If there is no such action.
        """
        with self._database.write() as cursor:
            cursor.execute(
                """UPDATE mlembed_action SET state = 'pending', attempts = 0, next_attempt = 0,
                   queued = ?, settled = 0,
                   lease_until = CASE state WHEN 'pending' THEN lease_until ELSE 0 END
                   WHERE id = ?""",
                (self._clock(), action_id),
            )
            if cursor.rowcount == 0:
                raise UnknownActionError(
                    f"outbox {self.path}: no such action. Its ids: python -m mlembed_crm list"
                )

    def counts(self) -> dict[State, int]:
        """Return how many actions are in each state."""
        with self._database.read() as cursor:
            found = cursor.execute("SELECT state, count(*) FROM mlembed_action GROUP BY state")
            return {"pending": 0, "sent": 0, "dead": 0, **dict(found)}

    def list(self, state: State | None = None, limit: int = 100) -> tuple[Action, ...]:
        """Return the oldest *limit* actions, all or those in *state*."""
        with self._database.read() as cursor:
            rows = cursor.execute(
                """SELECT * FROM mlembed_action WHERE :state IS NULL OR state = :state
                   ORDER BY sequence LIMIT :limit""",
                {"state": state, "limit": limit},
            )
            return _actions(rows)

    def destinations(self) -> tuple[str, ...]:
        """Return the names of the destinations that actions wait for, sorted."""
        with self._database.read() as cursor:
            rows = cursor.execute(
                "SELECT DISTINCT destination FROM mlembed_action WHERE state = 'pending' ORDER BY 1"
            )
            return tuple(name for (name,) in rows)

    def prune(self, keep_seconds: float) -> int:
        """Delete the actions that were sent longer ago than *keep_seconds*; return how many."""
        with self._database.write() as cursor:
            cursor.execute(
                "DELETE FROM mlembed_action WHERE state = 'sent' AND settled < ?",
                (self._clock() - keep_seconds,),
            )
            return cursor.rowcount

    def now(self) -> float:
        """Return the Unix time by the outbox's clock."""
        return self._clock()

    def close(self) -> None:
        """Close this thread's connection; the outbox opens another when it is used again."""
        self._database.close()

    def __repr__(self) -> str:
        return f"Outbox({str(self.path)!r})"


def _actions(rows: sqlite3.Cursor) -> tuple[Action, ...]:
    names = [column[0] for column in rows.description]
    found = []
    for row in rows:
        values = dict(zip(names, row, strict=True))
        del values["sequence"]
        values["payload"] = json.loads(values["payload"])
        found.append(Action(**values))
    return tuple(found)
