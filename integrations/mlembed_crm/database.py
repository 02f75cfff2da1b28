"""Read and write the outbox's database, alone or inside the host's transaction."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from mlembed_crm.connections import Connections, explained
from mlembed_crm.errors import OutboxError
from mlembed_crm.schema import prepare

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path


class Database:
    """The outbox's tables in the SQLite file *path*.

    Args:
        path: The file; made if it does not exist, with its tables.
        busy_seconds: Longest wait for another writer.
    """

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self.path = path
        self._connections = Connections(path, busy_seconds, prepare)
        with self._connections.use():
            pass

    @contextlib.contextmanager
    def read(self, connection: sqlite3.Connection | None = None) -> Iterator[sqlite3.Cursor]:
        """Lend a cursor to read with, on the host's *connection* if one is given."""
        if connection is None:
            with self._connections.use() as own, contextlib.closing(own.cursor()) as cursor:
                yield cursor
        else:
            with explained(self.path), _as_text(connection):
                yield _cursor(connection)

    @contextlib.contextmanager
    def write(self, connection: sqlite3.Connection | None = None) -> Iterator[sqlite3.Cursor]:
        """Lend a cursor to write with; the block happens as a whole or not at all.

        Args:
            connection: The host's own, with a transaction open: the block becomes part of it.

        Raises:
            OutboxError: If the database cannot be written, or *connection* has no transaction.
        """
        if connection is None:
            with (
                self._connections.use() as own,
                _whole(own, "BEGIN IMMEDIATE", "COMMIT"),
                contextlib.closing(own.cursor()) as cursor,
            ):
                yield cursor
            return
        if not connection.in_transaction:
            raise OutboxError(
                f"outbox {self.path}: the connection has no transaction open, so the action would "
                "not be committed with the host's own rows. BEGIN first, or pass no connection"
            )
        undo = "ROLLBACK TO mlembed"
        with (
            explained(self.path),
            _as_text(connection),
            _whole(connection, "SAVEPOINT mlembed", "RELEASE mlembed", undo),
        ):
            yield _cursor(connection)

    def close(self) -> None:
        """Close this thread's connection; it opens again on the next use."""
        self._connections.close()


@contextlib.contextmanager
def _whole(
    connection: sqlite3.Connection, begin: str, end: str, undo: str = "ROLLBACK"
) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute(end)
    except BaseException:
        # SQLite may have rolled back by itself, as it does on a full disk.
        if connection.in_transaction:
            connection.execute(undo)
        raise


@contextlib.contextmanager
def _as_text(connection: sqlite3.Connection) -> Iterator[None]:
    """Read texts as texts, whatever the host has its connection make of them."""
    before, connection.text_factory = connection.text_factory, str
    try:
        yield
    finally:
        connection.text_factory = before


def _cursor(connection: sqlite3.Connection) -> sqlite3.Cursor:
    """Return a cursor of the host's connection that gives plain tuples, whatever the host set."""
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor
