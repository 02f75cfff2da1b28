"""The tables of the outbox, the version they are at, and how what is due is found in them.

The version stands in a table of its own, not in `user_version`: the file may be the host's own
database, whose `user_version` is the host's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlembed_crm.errors import OutboxError

if TYPE_CHECKING:
    import sqlite3

SCHEMA_VERSION = 1

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
        destination TEXT NOT NULL,
        payload TEXT NOT NULL,
        created REAL NOT NULL,
        state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'dead')),
        attempts INTEGER NOT NULL DEFAULT 0,
        next_attempt REAL NOT NULL DEFAULT 0,
        lease_until REAL NOT NULL DEFAULT 0,
        last_error TEXT NOT NULL DEFAULT '',
        queued REAL NOT NULL,
        settled REAL NOT NULL DEFAULT 0)""",
    """CREATE INDEX mlembed_action_pending ON mlembed_action (destination, key, sequence)
       WHERE state = 'pending'""",
    "CREATE INDEX mlembed_action_state ON mlembed_action (state, sequence)",
    """CREATE TABLE mlembed_crossing (
        rule TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (rule, key)) WITHOUT ROWID""",
    "CREATE TABLE mlembed_pause (destination TEXT PRIMARY KEY, until REAL NOT NULL)",
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
    SELECT 1 FROM mlembed_pause AS pause
    WHERE pause.destination = a.destination
      AND pause.until > :now AND pause.until <= :now + :max_wait)
ORDER BY a.sequence LIMIT :limit
"""


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables where there are none.

    Raises:
        OutboxError: If a newer version of the library made them; nothing is changed then.
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
    if version > SCHEMA_VERSION:
        path = connection.execute("PRAGMA database_list").fetchone()[2]
        raise OutboxError(
            f"outbox {path}: its tables are at version {version}, this library knows "
            f"{SCHEMA_VERSION}. Upgrade mlembed here, or name another file"
        )


def _version(connection: sqlite3.Connection) -> int | None:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'mlembed_schema'"
    if connection.execute(query).fetchone() is None:
        return None
    return int(connection.execute("SELECT max(version) FROM mlembed_schema").fetchone()[0])
