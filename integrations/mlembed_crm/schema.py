"""The tables of the outbox, the version they are at, and how what is due is found in them.

The version stands in a table of its own, not in `user_version`: the file may be the host's own
database, whose `user_version` is the host's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlembed_crm.errors import OutboxError

if TYPE_CHECKING:
    import sqlite3

SCHEMA_VERSION = 2

_TABLES = (
    "CREATE TABLE mlembed_schema (version INTEGER NOT NULL)",
    """CREATE TABLE mlembed_action (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        rule TEXT NOT NULL,
        model TEXT NOT NULL,
        version TEXT NOT NULL,
        prediction_id TEXT NOT NULL,
        key TEXT,
        score REAL NOT NULL,
        label TEXT NOT NULL,
        reason TEXT NOT NULL,
        destination TEXT NOT NULL,
        record TEXT NOT NULL,
        id_field TEXT NOT NULL,
        slot TEXT NOT NULL,
        payload TEXT NOT NULL,
        trace TEXT NOT NULL,
        created REAL NOT NULL,
        state TEXT NOT NULL CHECK (state IN
            ('pending', 'sent', 'dead', 'superseded', 'held', 'remembered')),
        attempts INTEGER NOT NULL DEFAULT 0,
        next_attempt REAL NOT NULL DEFAULT 0,
        lease_until REAL NOT NULL DEFAULT 0,
        lease TEXT NOT NULL DEFAULT '',
        quiet TEXT NOT NULL DEFAULT '',
        last_error TEXT NOT NULL DEFAULT '',
        queued REAL NOT NULL,
        settled REAL NOT NULL DEFAULT 0,
        memory TEXT UNIQUE,
        seen TEXT NOT NULL DEFAULT 'null',
        armed INTEGER NOT NULL DEFAULT 1,
        quiet_until REAL NOT NULL DEFAULT 0)""",
    """CREATE INDEX mlembed_action_pending ON mlembed_action (destination, key, sequence)
       WHERE state = 'pending'""",
    """CREATE INDEX mlembed_action_later ON mlembed_action (destination, next_attempt)
       WHERE state = 'pending' AND next_attempt > 0""",
    "CREATE INDEX mlembed_action_slot ON mlembed_action (slot, created) WHERE slot > ''",
    "CREATE INDEX mlembed_action_state ON mlembed_action (state, sequence)",
    """CREATE TABLE mlembed_action_attempt (
        action TEXT NOT NULL, started REAL NOT NULL, seconds REAL NOT NULL, result TEXT NOT NULL,
        status INTEGER NOT NULL, detail TEXT NOT NULL)""",
    "CREATE INDEX mlembed_action_attempt_action ON mlembed_action_attempt (action)",
    """CREATE TABLE mlembed_pause (
        destination TEXT PRIMARY KEY, until REAL NOT NULL, reason TEXT NOT NULL)""",
    "CREATE TABLE mlembed_action_cursor (name TEXT PRIMARY KEY, cursor TEXT NOT NULL)",
)

CLAIMABLE = """
SELECT a.* FROM mlembed_action AS a
WHERE a.state = 'pending'
  AND (a.next_attempt <= :now OR a.next_attempt > :now + :max_wait)
  AND (a.lease_until <= :now OR a.lease_until > :now + :max_lease)
  AND (:destinations IS NULL OR a.destination IN (SELECT value FROM json_each(:destinations)))
  AND NOT EXISTS (
    SELECT 1 FROM mlembed_action AS older
    WHERE older.state = 'pending' AND older.destination = a.destination
      AND older.key = a.key AND older.sequence < a.sequence)
  AND NOT EXISTS (
    SELECT 1 FROM mlembed_action AS newer
    WHERE newer.state = 'pending' AND newer.destination = a.destination
      AND newer.key = a.key AND newer.sequence > a.sequence
      AND newer.lease_until > :now AND newer.lease_until <= :now + :max_lease)
  AND NOT EXISTS (
    SELECT 1 FROM mlembed_pause AS pause
    WHERE pause.destination = a.destination
      AND pause.until > :now AND pause.until <= :now + :max_wait)
ORDER BY a.sequence LIMIT :limit
"""

_OBSOLETE = """
  slot > '' AND state = 'pending'
  AND (lease_until <= :now OR lease_until > :now + :max_lease)
  AND EXISTS (
    SELECT 1 FROM mlembed_action AS newer
    WHERE newer.slot = mlembed_action.slot AND newer.state IN ('pending', 'sent')
      AND newer.created <= :now + :max_lead
      AND (newer.created, newer.sequence) > (mlembed_action.created, mlembed_action.sequence))
"""
# Of the slots in :slots, what waits although a newer value waits or went.
SUPERSEDE = f"""
UPDATE mlembed_action SET state = 'superseded', settled = :now
WHERE slot IN (SELECT value FROM json_each(:slots)) AND {_OBSOLETE}
"""  # noqa: S608
# The same of what waits for its next attempt, so that a newer value need not wait for that.
SUPERSEDE_LATER = f"""
UPDATE mlembed_action SET state = 'superseded', settled = :now
WHERE next_attempt > :now AND next_attempt > 0
  AND (:destinations IS NULL OR destination IN (SELECT value FROM json_each(:destinations)))
  AND {_OBSOLETE}
"""  # noqa: S608


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables where there are none.

    Raises:
        OutboxError: If another version of the library made them; nothing is changed then.
    """
    version = _version(connection)
    if version is None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = _version(connection)
            if version is None:
                for statement in _TABLES:
                    connection.execute(statement)
                version = SCHEMA_VERSION
                connection.execute("INSERT INTO mlembed_schema VALUES (?)", (version,))
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    if version != SCHEMA_VERSION:
        path = connection.execute("PRAGMA database_list").fetchone()[2]
        remedy = "Upgrade mlembed here, or name another file"
        if version < SCHEMA_VERSION:
            remedy = "Deliver it with the mlembed that made it, then name another file"
        raise OutboxError(
            f"outbox {path}: its tables are at version {version}, this library knows "
            f"{SCHEMA_VERSION}. {remedy}"
        )


def _version(connection: sqlite3.Connection) -> int | None:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'mlembed_schema'"
    if connection.execute(query).fetchone() is None:
        return None
    return int(connection.execute("SELECT max(version) FROM mlembed_schema").fetchone()[0])
