"""The outbox in one process: what it keeps, whom it gives it to, and how it fails."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from crm.receiver import acted, action, once
from mlembed_crm import Outbox
from mlembed_crm.errors import OutboxError

if TYPE_CHECKING:
    from pathlib import Path


def test_outbox_keeps_an_action_as_it_was(outbox: Outbox, tmp_path: Path) -> None:
    """What is read back, by another process even, makes the same event."""
    queued = action(key="Ünïcode 🦆 \0 key")

    outbox.enqueue(queued)

    (kept,) = Outbox(tmp_path / "actions.db").list()
    assert kept.event() == queued.event()
    assert (kept.state, kept.attempts, kept.lease_until) == ("pending", 0, 0.0)


@pytest.mark.parametrize("bad", [{"key": "\ud800"}, {"key": None}])
def test_enqueue_refuses_a_key_it_cannot_keep(outbox: Outbox, bad: dict[str, Any]) -> None:
    """A key that is no text, or is missing where it is needed, is an error and not a crash."""
    with pytest.raises(OutboxError):
        once(outbox, action(**bad))


def test_enqueue_joins_the_hosts_transaction(outbox: Outbox) -> None:
    """The action exists if the host's own row does."""
    host = sqlite3.connect(outbox.path)
    host.row_factory = lambda _cursor, row: {"row": row}
    host.execute("CREATE TABLE orders (id)")

    for keep in (False, True):
        host.execute("INSERT INTO orders VALUES (1)")
        once(outbox, action(), connection=host)
        (host.commit if keep else host.rollback)()
        assert outbox.counts()["pending"] == int(keep)

    assert acted(outbox, action().rule, "c-1")
    host.close()


def test_enqueue_failure_leaves_the_hosts_transaction_usable(outbox: Outbox) -> None:
    """What the outbox refuses is undone alone; the host's row can still be committed."""
    host = sqlite3.connect(outbox.path)
    host.execute("CREATE TABLE orders (id)")
    host.execute("INSERT INTO orders VALUES (1)")

    with pytest.raises(OutboxError):
        once(outbox, action(score=float("nan")), connection=host)
    host.commit()

    assert host.execute("SELECT count(*) FROM orders").fetchone() == (1,)
    assert not acted(outbox, action().rule, "c-1")
    host.close()


def test_enqueue_refuses_a_connection_without_transaction(outbox: Outbox) -> None:
    """Outside a transaction the action would be committed before the host's row, or without it."""
    host = sqlite3.connect(outbox.path)

    with pytest.raises(OutboxError, match="BEGIN first"):
        outbox.enqueue(action(), connection=host)
    host.close()


def test_enqueue_says_that_the_hosts_database_has_no_outbox(outbox: Outbox) -> None:
    """A connection to another file is named as what it is."""
    host = sqlite3.connect(":memory:", isolation_level=None)
    host.execute("BEGIN")

    with pytest.raises(OutboxError, match="Open an Outbox on this database file first"):
        outbox.enqueue(action(), connection=host)
    host.close()


def test_enqueue_works_from_many_threads(outbox: Outbox) -> None:
    """Eight threads that queue at once lose nothing, and each closes what it opened."""

    def work(number: int) -> bool:
        return outbox.enqueue(action(f"c-{number}"))

    with ThreadPoolExecutor(8) as pool:
        queued = list(pool.map(work, range(200)))

    assert all(queued)
    assert outbox.counts()["pending"] == 200
