"""The outbox in one process: what it keeps, whom it gives it to, and how it fails."""

from __future__ import annotations

import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from crm.receiver import DESTINATION, action
from mlembed.errors import SettingsError
from mlembed_crm import Outbox
from mlembed_crm.errors import OutboxError, PayloadError, UnknownActionError

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """A clock that tests set."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def outbox(tmp_path: Path, clock: Clock) -> Outbox:
    """Return an empty outbox."""
    return Outbox(tmp_path / "actions.db", clock=clock)


def test_outbox_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    """Actions hold personal data: the database and the files beside it have mode 0600."""
    outbox = Outbox(tmp_path / "actions.db")
    outbox.enqueue(action())

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}

    assert modes == dict.fromkeys(("actions.db", "actions.db-wal", "actions.db-shm"), 0o600)


def test_outbox_keeps_an_action_as_it_was(outbox: Outbox, tmp_path: Path) -> None:
    """What is read back, by another process even, makes the same event."""
    queued = action(key="Ünïcode 🦆 \0 key")

    outbox.enqueue(queued)

    (kept,) = Outbox(tmp_path / "actions.db").list()
    assert kept.event() == queued.event()
    assert (kept.state, kept.attempts, kept.lease_until) == ("pending", 0, 0.0)


def test_enqueue_takes_the_same_decision_once(outbox: Outbox) -> None:
    """A task that is run twice on one prediction queues one action."""
    queued = action()

    assert outbox.enqueue(queued)
    assert not outbox.enqueue(queued)
    assert outbox.counts() == {"pending": 1, "sent": 0, "dead": 0}


def test_enqueue_once_waits_for_rearm(outbox: Outbox) -> None:
    """A crossing is remembered with its action and forgotten on rearm."""
    rule = action().rule

    fired = [outbox.enqueue(action(), once=True), outbox.enqueue(action(), once=True)]
    outbox.rearm(rule, "c-1")
    fired.append(outbox.enqueue(action(), once=True))

    assert fired == [True, False, True]


def test_enqueue_remembers_no_crossing_whose_action_failed(outbox: Outbox) -> None:
    """Crossing and action are one transaction: a score that cannot be kept leaves neither."""
    with pytest.raises(OutboxError):
        outbox.enqueue(action(score=float("nan")), once=True)

    assert not outbox.crossed(action().rule, "c-1")
    assert outbox.enqueue(action(), once=True)


@pytest.mark.parametrize("bad", [{"key": "\ud800"}, {"key": None}])
def test_enqueue_refuses_a_key_it_cannot_keep(outbox: Outbox, bad: dict[str, Any]) -> None:
    """A key that is no text, or is missing where it is needed, is an error and not a crash."""
    with pytest.raises(OutboxError):
        outbox.enqueue(action(**bad), once=True)


def test_enqueue_joins_the_hosts_transaction(outbox: Outbox) -> None:
    """The action exists if the host's own row does."""
    host = sqlite3.connect(outbox.path)
    host.row_factory = lambda _cursor, row: {"row": row}
    host.execute("CREATE TABLE orders (id)")

    for keep in (False, True):
        host.execute("INSERT INTO orders VALUES (1)")
        outbox.enqueue(action(), once=True, connection=host)
        (host.commit if keep else host.rollback)()
        assert outbox.counts()["pending"] == int(keep)

    assert outbox.crossed(action().rule, "c-1")
    host.close()


def test_enqueue_failure_leaves_the_hosts_transaction_usable(outbox: Outbox) -> None:
    """What the outbox refuses is undone alone; the host's row can still be committed."""
    host = sqlite3.connect(outbox.path)
    host.execute("CREATE TABLE orders (id)")
    host.execute("INSERT INTO orders VALUES (1)")

    with pytest.raises(OutboxError):
        outbox.enqueue(action(score=float("nan")), once=True, connection=host)
    host.commit()

    assert host.execute("SELECT count(*) FROM orders").fetchone() == (1,)
    assert not outbox.crossed(action().rule, "c-1")
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


def test_enqueue_refuses_a_payload_before_it_writes(outbox: Outbox) -> None:
    """A payload without JSON form is refused by the outbox too."""
    import dataclasses

    with pytest.raises(PayloadError):
        outbox.enqueue(dataclasses.replace(action(), payload={"a": object()}))


def test_claim_leases_until_the_lease_ends(outbox: Outbox, clock: Clock) -> None:
    """A claimed action is nobody else's until its time is over, and counts as an attempt."""
    outbox.enqueue(action())

    (first,) = outbox.claim(lease_seconds=60)
    assert outbox.claim() == ()
    clock.now += 60
    (second,) = outbox.claim(lease_seconds=60)

    assert first.id == second.id
    assert (first.attempts, second.attempts) == (1, 2)


def test_claim_gives_the_oldest_of_a_key_first(outbox: Outbox) -> None:
    """Two actions of one entity never travel at once, and never in the wrong order."""
    queued = [action("a"), action("a"), action("b"), action(None), action(None)]
    for one in queued:
        outbox.enqueue(one)

    claimed = outbox.claim(limit=10)
    outbox.mark_failed(claimed[0], "later", outbox.now() + 60)

    assert [one.id for one in claimed] == [queued[i].id for i in (0, 2, 3, 4)]
    assert outbox.claim(limit=10) == ()


def test_claim_goes_on_after_an_older_action_is_settled(outbox: Outbox) -> None:
    """Sent and dead actions hold nothing up."""
    for _ in range(3):
        outbox.enqueue(action("a"))

    outbox.mark_sent(outbox.claim()[0])
    outbox.mark_dead(outbox.claim()[0], "gone")

    assert len(outbox.claim()) == 1


def test_claim_takes_only_the_destinations_named(outbox: Outbox) -> None:
    """A process that cannot deliver somewhere leaves those actions to one that can."""
    outbox.enqueue(action())

    assert outbox.destinations() == (DESTINATION,)
    assert outbox.claim(destinations=["elsewhere"]) == ()
    assert outbox.claim(destinations=[]) == ()
    assert len(outbox.claim(destinations=["elsewhere", DESTINATION])) == 1


def test_pause_holds_a_destination_for_everyone(outbox: Outbox, clock: Clock) -> None:
    """What one delivery was told, another process heeds, until the time is over."""
    outbox.enqueue(action())
    outbox.pause(DESTINATION, clock.now + 30)

    assert Outbox(outbox.path, clock=clock).claim() == ()
    clock.now += 30
    assert len(outbox.claim()) == 1


@pytest.mark.parametrize("back_seconds", [10.0, 3600.0, 30 * 86_400.0])
def test_claim_outlives_a_clock_set_back(outbox: Outbox, clock: Clock, back_seconds: float) -> None:
    """A lease or pause that the new time makes absurd counts as over; others end as they should."""
    outbox.enqueue(action())
    outbox.claim(lease_seconds=120)
    clock.now -= back_seconds

    early = outbox.claim()
    clock.now += 700

    assert len(early) == (0 if back_seconds < 480 else 1)
    assert len(outbox.claim()) == 1


def test_mark_failed_ignores_a_delivery_that_lost_its_lease(outbox: Outbox, clock: Clock) -> None:
    """A late failure must not end the lease, or the life, of the delivery that took over."""
    outbox.enqueue(action())
    (late,) = outbox.claim(lease_seconds=60)
    clock.now += 60
    (current,) = outbox.claim(lease_seconds=60)

    outbox.mark_failed(late, "too late", clock.now)
    outbox.mark_dead(late, "too late")
    assert outbox.claim() == ()
    outbox.mark_sent(current)

    assert outbox.counts() == {"pending": 0, "sent": 1, "dead": 0}


def test_mark_sent_holds_for_a_delivery_that_lost_its_lease(outbox: Outbox, clock: Clock) -> None:
    """Taken is taken: a late success is not sent a third time."""
    outbox.enqueue(action())
    (late,) = outbox.claim(lease_seconds=60)
    clock.now += 60
    outbox.claim(lease_seconds=60)

    outbox.mark_sent(late)
    clock.now += 60

    assert outbox.claim() == ()


@pytest.mark.parametrize("state", ["sent", "dead", "pending"])
def test_redeliver_gives_an_action_all_its_attempts(
    outbox: Outbox, clock: Clock, state: str
) -> None:
    """The same id is due again at once, as if it were new."""
    outbox.enqueue(action())
    (claimed,) = outbox.claim(lease_seconds=60)
    if state == "sent":
        outbox.mark_sent(claimed)
    elif state == "dead":
        outbox.mark_dead(claimed, "gone")
    else:
        outbox.mark_failed(claimed, "busy", clock.now + 3600)

    outbox.redeliver(claimed.id)

    (again,) = outbox.claim()
    assert (again.id, again.attempts, again.queued) == (claimed.id, 1, clock.now)


def test_redeliver_leaves_a_running_attempt_alone(outbox: Outbox) -> None:
    """An action that is being sent is not given to a second delivery."""
    outbox.enqueue(action())
    (claimed,) = outbox.claim()

    outbox.redeliver(claimed.id)

    assert outbox.claim() == ()


def test_redeliver_says_that_there_is_no_such_action(outbox: Outbox) -> None:
    """An unknown id is an error with the command that lists the known ones."""
    with pytest.raises(UnknownActionError, match="mlembed_crm list"):
        outbox.redeliver("nope")


def test_prune_deletes_old_sent_actions_alone(outbox: Outbox, clock: Clock) -> None:
    """Pending and dead actions stay however old they are."""
    for _ in range(4):
        outbox.enqueue(action(None))
    first, second, third, _ = outbox.claim(limit=4)
    outbox.mark_sent(first)
    outbox.mark_dead(second, "gone")
    clock.now += 100
    outbox.mark_sent(third)

    assert outbox.prune(keep_seconds=50) == 1
    assert outbox.counts() == {"pending": 1, "sent": 1, "dead": 1}


def test_list_shows_the_oldest_first_by_state(outbox: Outbox) -> None:
    """Actions are listed in the order they were queued."""
    queued = [action(None) for _ in range(3)]
    for one in queued:
        outbox.enqueue(one)
    outbox.mark_dead(outbox.claim()[0], "gone")

    assert [one.id for one in outbox.list()] == [one.id for one in queued]
    assert [one.id for one in outbox.list("pending", limit=1)] == [queued[1].id]
    assert outbox.list("dead")[0].last_error == "gone"


def test_enqueue_works_from_many_threads(outbox: Outbox) -> None:
    """Eight threads that queue at once lose nothing, and each closes what it opened."""

    def work(number: int) -> bool:
        return outbox.enqueue(action(f"c-{number}"))

    with ThreadPoolExecutor(8) as pool:
        queued = list(pool.map(work, range(200)))

    assert all(queued)
    assert outbox.counts()["pending"] == 200


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


def test_outbox_refuses_tables_of_a_newer_version(outbox: Outbox) -> None:
    """An older library does not write into tables it does not know."""
    other = sqlite3.connect(outbox.path)
    other.execute("UPDATE mlembed_schema SET version = 99")
    other.commit()
    other.close()

    with pytest.raises(OutboxError, match=r"version 99, this library knows 1\. Upgrade mlembed"):
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


def test_claim_refuses_a_lease_beyond_the_bound(outbox: Outbox) -> None:
    """A lease longer than the bound could not be told from one that a clock made absurd."""
    with pytest.raises(SettingsError, match="600"):
        outbox.claim(lease_seconds=601)


def test_first_use_may_happen_on_many_threads_at_once(tmp_path: Path) -> None:
    """Threads that make the same outbox at once all get it, with one set of tables."""
    start = threading.Barrier(8)

    def make(_: int) -> bool:
        start.wait()
        return Outbox(tmp_path / "actions.db").enqueue(action())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(make, range(8)))
