"""Claims, leases and marks: each action is one delivery's at a time."""

from __future__ import annotations

import pytest

from crm.receiver import DESTINATION, Clock, action
from mlembed.errors import SettingsError
from mlembed_crm import Outbox
from mlembed_crm.errors import UnknownActionError


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


def test_claim_refuses_a_lease_beyond_the_bound(outbox: Outbox) -> None:
    """A lease longer than the bound could not be told from one that a clock made absurd."""
    with pytest.raises(SettingsError, match="600"):
        outbox.claim(lease_seconds=601)
