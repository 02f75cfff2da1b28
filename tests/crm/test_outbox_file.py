"""The outbox's file: who may read it, who may share it, and how it fails."""

from __future__ import annotations

import dataclasses
import gc
import sqlite3
import stat
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from crm.receiver import acted, action, once
from mlembed_crm import Outbox
from mlembed_crm.connections import Connections
from mlembed_crm.errors import OutboxError
from mlembed_crm.schema import prepare

if TYPE_CHECKING:
    from pathlib import Path


def test_outbox_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    """Actions hold personal data: the database and the files beside it have mode 0600."""
    outbox = Outbox(tmp_path / "actions.db")
    outbox.enqueue(action())

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}

    assert modes == dict.fromkeys(("actions.db", "actions.db-wal", "actions.db-shm"), 0o600)


def test_outbox_waits_for_a_writer_then_says_who_it_waited_for(tmp_path: Path) -> None:
    """A lock that is held too long is an error with the setting that waits longer."""
    outbox = Outbox(tmp_path / "actions.db", busy_seconds=0.05)
    other = sqlite3.connect(outbox.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(OutboxError, match="busy_seconds"):
        outbox.enqueue(action())
    other.execute("ROLLBACK")
    other.close()

    assert outbox.enqueue(action())


def test_outbox_refuses_what_is_no_database(tmp_path: Path) -> None:
    """A file of another kind is named and left as it is."""
    path = tmp_path / "actions.db"
    path.write_bytes(b"not a database, but long enough to look at" * 50)

    with pytest.raises(OutboxError, match=r"actions\.db.*move it aside"):
        Outbox(path)

    assert path.read_bytes().startswith(b"not a database")


def test_outbox_says_that_a_database_is_damaged(tmp_path: Path) -> None:
    """Pages that were overwritten are an error that says what to do."""
    path = tmp_path / "actions.db"
    outbox = Outbox(path)
    for _ in range(50):
        outbox.enqueue(action(None))
    outbox.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)

    with pytest.raises(OutboxError, match="damaged"):
        Outbox(path).list()


@pytest.mark.parametrize(("version", "remedy"), [(99, "Upgrade mlembed"), (1, "Deliver it with")])
def test_outbox_refuses_tables_of_another_version(
    outbox: Outbox, version: int, remedy: str
) -> None:
    """A library does not write into tables it does not know."""
    other = sqlite3.connect(outbox.path)
    other.execute("UPDATE mlembed_schema SET version = ?", (version,))
    other.commit()
    other.close()

    with pytest.raises(OutboxError, match=rf"version {version}, this library knows 2\. {remedy}"):
        Outbox(outbox.path)


def test_outbox_needs_its_directory(tmp_path: Path) -> None:
    """A missing directory is named, not made."""
    with pytest.raises(OutboxError, match="directory must exist"):
        Outbox(tmp_path / "none" / "actions.db")


def test_outbox_leaves_the_hosts_own_tables_and_version_alone(tmp_path: Path) -> None:
    """An outbox may live in the host's database."""
    path = tmp_path / "host.db"
    host = sqlite3.connect(path)
    host.executescript("PRAGMA user_version = 7; CREATE TABLE orders (id);")

    Outbox(path).enqueue(action())

    assert host.execute("PRAGMA user_version").fetchone() == (7,)
    assert host.execute("SELECT count(*) FROM orders").fetchone() == (0,)
    host.close()


def test_outbox_reopens_a_closed_connection(outbox: Outbox) -> None:
    """Closing frees the file; the next use opens it again."""
    outbox.enqueue(action())
    outbox.close()
    outbox.close()

    assert outbox.counts()["pending"] == 1
    assert repr(outbox) == f"Outbox({str(outbox.path)!r})"


def test_connections_that_end_in_a_cycle_are_closed_first(tmp_path: Path) -> None:
    """Python 3.13 warns of a connection finalized open, and finalizes a cycle in any order."""
    connections = Connections(tmp_path / "actions.db", 1, prepare)
    with connections.use() as connection:
        gc.collect()  # moves what only the cycle reaches behind what is in use
    del connection
    cycle: list[object] = [connections]
    cycle.append(cycle)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del connections, cycle
        gc.collect()

    assert [str(one.message) for one in caught] == []


def test_first_use_may_happen_on_many_threads_at_once(tmp_path: Path) -> None:
    """Threads that make the same outbox at once all get it, with one set of tables."""
    start = threading.Barrier(8)

    def make(_: int) -> bool:
        start.wait()
        return Outbox(tmp_path / "actions.db").enqueue(action())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(make, range(8)))


def test_first_use_waits_while_the_file_is_locked(tmp_path: Path) -> None:
    """Another process that is making the same file is waited for, as any writer is."""
    path = tmp_path / "actions.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")

    with pytest.raises(OutboxError, match="locked"):
        Outbox(path, busy_seconds=0.01)
    release = threading.Timer(0.15, other.execute, ["ROLLBACK"])
    release.start()
    outbox = Outbox(path, busy_seconds=0.05)

    assert outbox.enqueue(action())
    release.join()
    other.close()


def test_enqueue_on_a_full_database_changes_nothing(outbox: Outbox) -> None:
    """Where SQLite gives up a whole transaction by itself, the next one still works."""
    with outbox._database._connections.use() as own:
        (pages,) = own.execute("PRAGMA page_count").fetchone()
        own.execute(f"PRAGMA max_page_count = {pages}")
    large = dataclasses.replace(action(), payload={"a": "x" * 60_000})

    with pytest.raises(OutboxError, match="Free space"):
        once(outbox, large)

    assert not acted(outbox, large.rule, "c-1")
    assert once(outbox, large)


def test_half_made_tables_of_another_are_left_alone(tmp_path: Path) -> None:
    """A name that is taken in the host's database is an error, and nothing is made."""
    path = tmp_path / "host.db"
    host = sqlite3.connect(path)
    host.execute("CREATE TABLE mlembed_action (id)")

    with pytest.raises(OutboxError, match="mlembed_action already exists"):
        Outbox(path)

    names = host.execute("SELECT name FROM sqlite_master").fetchall()
    assert names == [("mlembed_action",)]
    host.close()


def test_close_in_a_thread_that_never_used_it_does_nothing(outbox: Outbox) -> None:
    """A thread pool may close everywhere."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(outbox.close).result()

    assert outbox.counts()["pending"] == 0
