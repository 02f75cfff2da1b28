"""The outbox in the site's own database: the same contract, and the host's transactions."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from crm import test_trouble as trouble
from crm.receiver import (
    DESTINATION,
    NO_PAUSE,
    Clock,
    acted,
    action,
    answer,
    counted,
    dead,
    failed,
    once,
    prediction,
    receiving,
    sent,
    webhook,
)
from crm.test_claims import SCORE, OutboxContract
from mlembed_crm import Delivered, Delivery, Limits, Receipt, Retries, Rule, rises_above
from mlembed_crm.errors import OutboxError, UnknownActionError
from mlembed_crm.outboxes import Attempt
from mlembed_django import models
from mlembed_django.acting import SiteActions
from mlembed_django.declaration.places import OutboxPlace, read_outbox
from mlembed_django.outbox import DjangoOutbox
from processes import unmeasured
from store.models import Town

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed_django.declaration.problems import Problem

UP = Rule("up", "payments", rises_above(0.8, reset=0.5), DESTINATION)


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def outbox(db: None, clock: Clock) -> DjangoOutbox:
    """Return an empty outbox on that clock, which is rolled back."""
    del db
    return DjangoOutbox(clock=clock)


class TestDjangoOutbox(OutboxContract):
    """The outbox in the site's database, inside of a transaction."""

    def again(self, outbox: DjangoOutbox, clock: Clock) -> DjangoOutbox:
        return DjangoOutbox(outbox.using, clock=clock)


class TestCommittingOutbox(TestDjangoOutbox):
    """The outbox in the site's database, where each statement commits."""

    @pytest.fixture
    def outbox(self, committing_db: None, clock: Clock) -> DjangoOutbox:
        """Return an empty outbox on that clock."""
        del committing_db
        return DjangoOutbox(clock=clock)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.usefixtures("committing_db")
def test_enqueue_joins_the_hosts_transaction(*, fails: bool) -> None:
    """The action and its crossing exist if the host's own row does."""
    outbox = DjangoOutbox()

    with transaction.atomic():
        Town.objects.create(name="Oslo")
        assert once(outbox, action())
        transaction.set_rollback(fails)

    kept = 0 if fails else 1
    assert (Town.objects.count(), counted(outbox).get("pending", 0)) == (kept, kept)
    assert acted(outbox, action().rule, "c-1") is not fails


@pytest.mark.usefixtures("committing_db")
def test_failed_action_leaves_the_hosts_transaction_usable() -> None:
    """What a payload breaks in the host's transaction is undone alone, for one and for a batch."""

    def broken(_prediction: object) -> dict[str, object]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM nowhere")
        return {}

    actions = SiteActions(DjangoOutbox(), [Rule("bad", "payments", rises_above(0.1), "d", broken)])

    with transaction.atomic():
        Town.objects.create(name="Oslo")
        actions(prediction())
        Town.objects.create(name="Lyon")

    assert (actions.failed, Town.objects.count()) == (1, 2)
    assert not models.Delivery.objects.exists()


@pytest.mark.usefixtures("committing_db")
def test_enqueue_in_a_broken_transaction_is_an_outbox_error() -> None:
    """A transaction that the host's own failure has broken takes no action, and says why."""
    outbox = DjangoOutbox()

    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(OutboxError, match="TransactionManagementError"):
            outbox.enqueue(action())

    assert counted(outbox) == {}


def test_crossing_acts_once_until_the_score_went_back(outbox: DjangoOutbox) -> None:
    """Rules follow an entity in the site's database as in a file."""
    actions = SiteActions(outbox, [UP])

    for score in (0.9, 0.95, 0.6, 0.9, 0.4, 0.9):
        actions(prediction(score))

    assert (actions.queued, actions.failed) == (2, 0)


def test_discard_ends_what_waits_or_was_given_up(outbox: DjangoOutbox) -> None:
    """A person can end an action; what was sent stays sent."""
    for key in "abc":
        outbox.enqueue(action(key))
    first, second, third = outbox.claim(limit=3)
    sent(outbox, first)
    dead(outbox, second, "gone")

    ended = [outbox.discard(one.id) for one in (first, second, third)]

    assert ended == [False, True, True]
    assert counted(outbox) == {"sent": 1, "discarded": 2}
    failed(outbox, third, "late", outbox.now())
    assert outbox.claim() == ()
    sent(outbox, third)
    assert counted(outbox) == {"sent": 2, "discarded": 1}


@pytest.mark.parametrize("unknown", ["nope", "0199b3f0-0000-7000-8000-000000000000"])
def test_discard_and_redeliver_say_that_there_is_no_such_action(
    outbox: DjangoOutbox, unknown: str
) -> None:
    """An unknown id, or what is none, is an error with the command that lists the known ones."""
    for change in (outbox.discard, outbox.redeliver):
        with pytest.raises(UnknownActionError, match="mlembed_deliver --list"):
            change(unknown)


def test_claim_waits_for_a_newer_one_that_is_being_sent(outbox: DjangoOutbox, clock: Clock) -> None:
    """Two actions of one entity never travel at once, even where the older came back."""
    older, newer = action("a"), action("a")
    outbox.enqueue(older)
    sent(outbox, outbox.claim()[0])
    outbox.enqueue(newer)
    (sending,) = outbox.claim(lease_seconds=60)
    outbox.redeliver(older.id)

    assert outbox.claim() == ()
    sent(outbox, sending)
    assert [one.id for one in outbox.claim()] == [older.id]
    del clock


def test_prune_deletes_old_discarded_actions_with_their_attempts(
    outbox: DjangoOutbox, clock: Clock
) -> None:
    """What a person ended goes as what was sent goes."""
    outbox.enqueue(action())
    outbox.discard(outbox.claim()[0].id)
    clock.now += 100

    assert outbox.prune(keep_seconds=50) == 1
    assert not models.Delivery.objects.exists()


@pytest.mark.usefixtures("committing_db")
def test_delivery_keeps_each_attempt() -> None:
    """What became of each try stands beside the action: when, how long, the answer's code."""
    outbox = DjangoOutbox()
    outbox.enqueue(action())

    with receiving() as receiver:
        receiver.answers.extend([answer(503), answer(204)])
        delivery = Delivery(
            outbox,
            {DESTINATION: webhook(receiver)},
            retries=NO_PAUSE,
        )
        done = delivery.run_once()

    first, second = models.Attempt.objects.all()
    assert done == Delivered(sent=1, failed=1)
    assert (first.result, first.status, first.detail) == (
        "failed",
        503,
        "HTTP 503 Service Unavailable",
    )
    assert (second.result, second.status, second.detail) == ("sent", 204, "")
    assert 0 < first.seconds < 10
    assert abs(first.started - time.time()) < 60


@pytest.mark.usefixtures("committing_db")
def test_no_transaction_is_open_while_an_action_is_sent() -> None:
    """A slow destination holds no lock and no snapshot of the database."""
    outbox, seen = DjangoOutbox(), []

    class Looking:
        name = "looking"
        limits = Limits()

        def send(self, _actions: object, /) -> list[Receipt]:
            seen.append(connection.in_atomic_block)
            if connection.vendor == "postgresql":
                seen.append(connection.connection.info.transaction_status.name != "IDLE")
            return [Receipt()]

    outbox.enqueue(action())
    Delivery(outbox, {DESTINATION: Looking()}).run_once()

    assert not any(seen)
    assert counted(outbox) == {"sent": 1}


@pytest.mark.skipif(
    not connection.features.has_select_for_update, reason="SQLite locks no row of its own"
)
@pytest.mark.usefixtures("committing_db")
@pytest.mark.parametrize("what", ["settle", "hold"])
def test_worker_and_transaction_that_lock_in_another_order_wait_for_no_cycle(what: str) -> None:
    """What was sent is settled, and the host's transaction commits, whoever came first."""
    outbox = DjangoOutbox()
    for key in "abcd":
        outbox.enqueue(action(key))
    claimed = outbox.claim(limit=10)
    first, *_, last = claimed
    attempts = [Attempt(action=one, result="sent", started=1.0, seconds=1.0) for one in claimed]
    failures: list[BaseException] = []

    def work() -> None:
        try:
            if what == "settle":
                outbox.settle(attempts)
            else:
                assert outbox.hold(claimed, 60.0)
        except BaseException as error:  # noqa: BLE001  told on the test's own thread
            failures.append(error)
        finally:
            connections.close_all()

    worker = threading.Thread(target=work)
    rows = models.Delivery.objects
    with transaction.atomic():
        rows.filter(uuid=last.id).update(armed=False)
        worker.start()
        time.sleep(0.5)  # it has locked what it locks, and waits for our row
        rows.filter(uuid=first.id).update(armed=False)
    worker.join()

    assert failures == []
    assert counted(outbox) == ({"sent": 4} if what == "settle" else {"pending": 4})
    assert rows.filter(armed=False).count() == 2


@pytest.mark.skipif(
    not connection.features.has_select_for_update_of, reason="this database lacks it already"
)
def test_claim_needs_no_lock_of_some_tables_alone(
    outbox: DjangoOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MariaDB passes over locked rows, and cannot say of which table they are."""
    monkeypatch.setattr(connection.features, "has_select_for_update_of", False)
    outbox.enqueue(action())

    assert len(outbox.claim()) == 1


def test_site_tries_as_often_as_any_other() -> None:
    """A weekend's outage is outlasted by default."""
    assert OutboxPlace().attempts == Retries().attempts
    problems: list[Problem] = []
    assert read_outbox({}, problems).attempts == Retries().attempts


LAWS = [
    trouble.test_rate_limit_gives_no_old_backlog_up,
    trouble.test_stop_holds_however_soon_it_is_resumed,
    trouble.test_shorter_pause_does_not_end_a_longer,
    trouble.test_pause_is_a_day_at_most,
    trouble.test_round_ends_where_its_lease_was_lost,
    trouble.test_what_cannot_be_sent_twice_is_left_to_people,
    trouble.test_quiet_hours_are_quiet_for_retries_and_latecomers,
    trouble.test_newer_value_does_not_wait_for_the_next_attempt_at_an_older,
    trouble.test_value_of_a_host_whose_clock_ran_ahead_replaces_none,
    trouble.test_stale_worker_frees_no_lease_after_a_redelivery,
    trouble.test_older_action_waits_while_a_newer_is_sent,
    trouble.test_clock_that_ran_ahead_silences_nobody,
    trouble.test_first_label_begins_no_cooldown,
    trouble.test_run_goes_on_where_a_call_had_no_time_for_all,
    trouble.test_run_ends_where_a_call_had_no_time_for_any,
]

CLAIM = """
import sys
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": eval(sys.argv[1])}, INSTALLED_APPS=["mlembed_django"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True,
)
django.setup()
from mlembed_crm.outboxes import Attempt
from mlembed_django.outbox import DjangoOutbox

outbox, n = DjangoOutbox(), 0
print("ready", flush=True)
sys.stdin.readline()
while claimed := outbox.claim(limit=2):
    for one in claimed:
        print(one.id, flush=True)
    outbox.settle([Attempt(action=one, result="sent") for one in claimed])
"""


def other(script: str) -> subprocess.Popen[str]:
    """Run *script* in a process of its own, with the tests' database."""
    settings = connections["default"].settings_dict
    kept = {name: settings[name] for name in ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")}
    kept["OPTIONS"] = settings["OPTIONS"]
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, repr(kept)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**unmeasured(), "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_actions_that_wait_for_an_older_are_passed_over_at_once(
    outbox: DjangoOutbox, clock: Clock
) -> None:
    """Of an entity whose oldest action waits, thousands may wait behind it."""
    for number in range(400):
        outbox.enqueue(action("hot" if number else "held"))
    (first,) = outbox.claim()
    (oldest,) = outbox.claim()
    failed(outbox, oldest, "HTTP 503", clock.now + 1800)
    outbox.enqueue(action("fresh"))

    with CaptureQueriesContext(connection) as queries:
        (found,) = outbox.claim()

    assert (first.key, oldest.key, found.key) == ("held", "hot", "fresh")
    assert len(queries) < 20


@pytest.mark.usefixtures("committing_db")
def test_four_processes_never_wait_for_each_other() -> None:
    """Of values that replace each other the newest is sent once, whoever meets the older ones."""
    outbox = DjangoOutbox()
    for value in range(8):
        for number in range(60):
            key = number * (value * 2 + 1) % 61  # in another order each time
            outbox.enqueue(action(f"c-{key}", value / 10, SCORE))

    claimed = claimed_by_four()

    kept = counted(outbox)
    assert len(claimed) == len(set(claimed)) == kept["sent"]
    assert kept == {"sent": kept["sent"], "superseded": 480 - kept["sent"]}
    assert kept["sent"] == models.Delivery.objects.values("key").distinct().count()


@pytest.mark.usefixtures("committing_db")
def test_four_processes_never_claim_the_same() -> None:
    """Each of 200 actions is one process's alone, and none is left."""
    outbox = DjangoOutbox()
    for number in range(200):
        outbox.enqueue(action(f"c-{number % 50}"))

    claimed = claimed_by_four()

    assert len(claimed) == len(set(claimed)) == 200
    assert counted(outbox) == {"sent": 200}


def claimed_by_four() -> list[str]:
    """Return the ids that four processes claim at once, each until nothing is left for it."""
    workers = [other(CLAIM) for _ in range(4)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    ended = []
    for worker in workers:  # all are ready: now they run
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    for worker in workers:
        said, failed = worker.communicate(timeout=120)
        assert worker.returncode == 0, failed
        ended.append(said.split())
    return [one for some in ended for one in some]


@pytest.mark.usefixtures("committing_db")
def test_two_transactions_that_cross_at_once_act_once() -> None:
    """Whoever commits first has acted; the other finds that it has, and goes on."""
    outbox, fired = DjangoOutbox(), []
    barrier = threading.Barrier(2)

    def cross() -> None:
        barrier.wait()
        try:
            with transaction.atomic():
                fired.append(once(outbox, action()))
                Town.objects.create(name="Oslo")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=cross) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(fired) == [False, True]
    assert (counted(outbox), Town.objects.count()) == ({"pending": 1}, 2)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: str(law.__name__))
def test_site_keeps_the_laws_of_trouble(
    law: Callable[..., None],
    outbox: DjangoOutbox,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What an outbox in a file outlives, one in the site's database does."""
    there = {"outbox": outbox, "clock": clock, "caplog": caplog}

    law(**{name: there[name] for name in inspect.signature(law).parameters})
