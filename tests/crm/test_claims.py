"""Claims, leases and marks: each action is one delivery's at a time, in whatever outbox."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from crm.receiver import DESTINATION, Clock, acted, action, counted, dead, failed, once, rearm, sent
from mlembed.errors import SettingsError
from mlembed_crm import Outbox, Rule, Upsert, every_score
from mlembed_crm.errors import OutboxError, PayloadError, UnknownActionError
from mlembed_crm.outboxes import Attempt

SCORE = Rule(
    *("score", "payments", every_score(), DESTINATION),
    upsert=Upsert("contacts", "ext_id", {"ml_score": "score"}),
)
REASON = dataclasses.replace(
    SCORE, name="reason", upsert=Upsert("contacts", "ext_id", {"ml_reason": "reason"})
)


class OutboxContract:
    """What every outbox does; a subclass has the fixture `outbox`, on the clock `clock`."""

    def again(self, outbox: Any, clock: Clock) -> Any:
        """Return the same outbox as another process has it."""
        raise NotImplementedError

    def test_claim_leases_until_the_lease_ends(self, outbox: Any, clock: Clock) -> None:
        """A claimed action is nobody else's until its time is over, and counts as an attempt."""
        outbox.enqueue(action())

        (first,) = outbox.claim(lease_seconds=60)
        assert outbox.claim() == ()
        clock.now += 60
        (second,) = outbox.claim(lease_seconds=60)

        assert first.id == second.id
        assert (first.attempts, second.attempts) == (1, 2)

    def test_claim_gives_the_oldest_of_a_key_first(self, outbox: Any) -> None:
        """Two actions of one entity never travel at once, and never in the wrong order."""
        queued = [action("a"), action("a"), action("b"), action(None), action(None)]
        for one in queued:
            outbox.enqueue(one)

        claimed = outbox.claim(limit=10)
        failed(outbox, claimed[0], "later", outbox.now() + 60)

        assert [one.id for one in claimed] == [queued[i].id for i in (0, 2, 3, 4)]
        assert outbox.claim(limit=10) == ()

    def test_claim_goes_on_after_an_older_action_is_settled(self, outbox: Any) -> None:
        """Sent and dead actions hold nothing up."""
        for _ in range(3):
            outbox.enqueue(action("a"))

        sent(outbox, outbox.claim()[0])
        dead(outbox, outbox.claim()[0], "gone")

        assert len(outbox.claim()) == 1

    def test_claim_takes_only_the_destinations_named(self, outbox: Any) -> None:
        """A process that cannot deliver somewhere leaves those actions to one that can."""
        outbox.enqueue(action())

        assert outbox.destinations() == (DESTINATION,)
        assert outbox.claim(destinations=["elsewhere"]) == ()
        assert outbox.claim(destinations=[]) == ()
        assert len(outbox.claim(destinations=["elsewhere", DESTINATION])) == 1

    def test_pause_holds_a_destination_for_everyone(self, outbox: Any, clock: Clock) -> None:
        """What one delivery was told, another process heeds, until the time is over."""
        outbox.enqueue(action())
        outbox.pause(DESTINATION, clock.now + 30)

        assert self.again(outbox, clock).claim() == ()
        clock.now += 30
        assert len(outbox.claim()) == 1

    @pytest.mark.parametrize("back_seconds", [10.0, 3600.0, 30 * 86_400.0])
    def test_claim_outlives_a_clock_set_back(
        self, outbox: Any, clock: Clock, back_seconds: float
    ) -> None:
        """A lease or pause that the new time makes absurd counts as over; others end as they should."""
        outbox.enqueue(action())
        outbox.claim(lease_seconds=120)
        clock.now -= back_seconds

        early = outbox.claim()
        clock.now += 700

        assert len(early) == (0 if back_seconds < 480 else 1)
        assert len(outbox.claim()) == 1

    def test_mark_failed_ignores_a_delivery_that_lost_its_lease(
        self, outbox: Any, clock: Clock
    ) -> None:
        """A late failure must not end the lease, or the life, of the delivery that took over."""
        outbox.enqueue(action())
        (late,) = outbox.claim(lease_seconds=60)
        clock.now += 60
        (current,) = outbox.claim(lease_seconds=60)

        failed(outbox, late, "too late", clock.now)
        dead(outbox, late, "too late")
        assert outbox.claim() == ()
        sent(outbox, current)

        assert counted(outbox) == {"sent": 1}

    def test_mark_sent_holds_for_a_delivery_that_lost_its_lease(
        self, outbox: Any, clock: Clock
    ) -> None:
        """Taken is taken: a late success is not sent a third time."""
        outbox.enqueue(action())
        (late,) = outbox.claim(lease_seconds=60)
        clock.now += 60
        outbox.claim(lease_seconds=60)

        sent(outbox, late)
        clock.now += 60

        assert outbox.claim() == ()

    @pytest.mark.parametrize("state", ["sent", "dead", "pending"])
    def test_redeliver_gives_an_action_all_its_attempts(
        self, outbox: Any, clock: Clock, state: str
    ) -> None:
        """The same id is due again at once, as if it were new."""
        outbox.enqueue(action())
        (claimed,) = outbox.claim(lease_seconds=60)
        if state == "sent":
            sent(outbox, claimed)
        elif state == "dead":
            dead(outbox, claimed, "gone")
        else:
            failed(outbox, claimed, "busy", clock.now + 3600)

        outbox.redeliver(claimed.id)

        (again,) = outbox.claim()
        assert (again.id, again.attempts, again.queued) == (claimed.id, 1, clock.now)

    def test_redeliver_leaves_a_running_attempt_alone(self, outbox: Any) -> None:
        """An action that is being sent is not given to a second delivery."""
        outbox.enqueue(action())
        (claimed,) = outbox.claim()

        outbox.redeliver(claimed.id)

        assert outbox.claim() == ()

    def test_redeliver_says_that_there_is_no_such_action(self, outbox: Any) -> None:
        """An unknown id is an error with the command that lists the known ones."""
        with pytest.raises(UnknownActionError, match=r"no such action.*\. Its ids: "):
            outbox.redeliver("nope")

    def test_prune_deletes_old_sent_actions_alone(self, outbox: Any, clock: Clock) -> None:
        """Pending and dead actions stay however old they are."""
        for _ in range(4):
            outbox.enqueue(action(None))
        first, second, third, _ = outbox.claim(limit=4)
        sent(outbox, first)
        dead(outbox, second, "gone")
        clock.now += 100
        sent(outbox, third)

        assert outbox.prune(keep_seconds=50) == 1
        assert counted(outbox) == {"pending": 1, "sent": 1, "dead": 1}

    def test_claim_refuses_a_lease_beyond_the_bound(self, outbox: Any) -> None:
        """A lease longer than the bound could not be told from one that a clock made absurd."""
        with pytest.raises(SettingsError, match="600"):
            outbox.claim(lease_seconds=601)

    def test_enqueue_takes_the_same_decision_once(self, outbox: Any) -> None:
        """A task that is run twice on one prediction queues one action."""
        queued = action()

        assert outbox.enqueue(queued)
        assert not outbox.enqueue(queued)
        assert counted(outbox) == {"pending": 1}

    def test_enqueue_once_waits_for_rearm(self, outbox: Any) -> None:
        """A crossing is remembered with its action and forgotten on rearm."""
        rule = action().rule

        fired = [once(outbox, action()), once(outbox, action())]
        rearm(outbox, rule, "c-1")
        fired.append(once(outbox, action()))

        assert fired == [True, False, True]
        assert acted(outbox, rule, "c-1")
        assert not acted(outbox, rule, "c-2")

    def test_enqueue_remembers_no_crossing_whose_action_failed(self, outbox: Any) -> None:
        """Crossing and action are one transaction: a score that cannot be kept leaves neither."""
        with pytest.raises(OutboxError):
            once(outbox, action(score=float("nan")))

        assert not acted(outbox, action().rule, "c-1")
        assert once(outbox, action())

    def test_enqueue_refuses_a_payload_before_it_writes(self, outbox: Any) -> None:
        """A payload without JSON form is refused by the outbox too."""
        with pytest.raises(PayloadError):
            outbox.enqueue(dataclasses.replace(action(), payload={"a": object()}))
        assert counted(outbox) == {}

    def test_claim_takes_the_newest_value_of_a_record(self, outbox: Any) -> None:
        """Older values of the same fields are superseded; other keys and fields are not."""
        values = [action(key, score, SCORE) for score in (0.1, 0.2, 0.3) for key in "ab"]
        for one in (*values, action("a", 0.4, REASON)):
            outbox.enqueue(one)

        claimed = outbox.claim(limit=10)

        assert [one.id for one in claimed] == [values[4].id, values[5].id]
        for one in claimed:
            sent(outbox, one)
        assert [one.payload for one in outbox.claim(limit=10)] == [{"ml_reason": "ok"}]
        assert counted(outbox) == {"pending": 1, "sent": 2, "superseded": 4}

    def test_claim_does_not_supersede_what_is_being_sent(self, outbox: Any) -> None:
        """The newer value waits for the older one that is on its way."""
        outbox.enqueue(action("a", 0.1, SCORE))
        (sending,) = outbox.claim()
        outbox.enqueue(action("a", 0.2, SCORE))

        assert outbox.claim() == ()
        failed(outbox, sending, "busy", 0.0)
        assert [one.score for one in outbox.claim()] == [0.2]

    def test_claim_passes_over_a_value_older_than_what_was_sent(self, outbox: Any) -> None:
        """What was predicted first and queued last is old all the same."""
        late = action("a", 0.1, SCORE)
        outbox.enqueue(action("a", 0.2, SCORE))
        sent(outbox, outbox.claim()[0])
        outbox.enqueue(late)

        assert outbox.claim() == ()
        assert counted(outbox) == {"sent": 1, "superseded": 1}

    def test_held_actions_are_never_claimed(self, outbox: Any) -> None:
        """What is held back for a control group stays, whoever asks for it."""
        held = dataclasses.replace(action(), state="held")
        outbox.enqueue(held)

        with pytest.raises(OutboxError, match="control group of its rule"):
            outbox.redeliver(held.id)
        assert outbox.claim() == ()
        assert counted(outbox) == {"held": 1}

    def test_prune_leaves_the_memory_of_an_action(self, outbox: Any, clock: Clock) -> None:
        """Its payload goes, that its rule has acted stays until it is armed again."""
        once(outbox, action())
        sent(outbox, outbox.claim()[0])
        clock.now += 100

        outbox.prune(keep_seconds=50)

        assert counted(outbox) == {"remembered": 1}
        assert acted(outbox, action().rule, "c-1")
        rearm(outbox, action().rule, "c-1")
        outbox.prune(keep_seconds=50)
        assert counted(outbox) == {}

    def test_settle_is_whole_or_nothing(self, outbox: Any) -> None:
        """A batch of which one result cannot be written is a batch that was not settled."""
        for key in "ab":
            outbox.enqueue(action(key))
        first, second = outbox.claim(limit=2)
        good = Attempt(action=first, result="sent", started=outbox.now())
        bad = Attempt(action=second, result="failed", started=outbox.now(), retry_at=object())  # type: ignore[arg-type]

        with pytest.raises(Exception, match=r".*"):
            outbox.settle([good, bad])

        assert counted(outbox) == {"pending": 2}

    def test_pause_tells_why(self, outbox: Any, clock: Clock) -> None:
        """Whoever looks sees until when a destination is left alone, and what it said."""
        outbox.pause(DESTINATION, clock.now + 30, "HTTP 401 Unauthorized")
        outbox.pause("over", clock.now - 1, "busy")

        assert outbox.pauses() == {DESTINATION: (clock.now + 30, "HTTP 401 Unauthorized")}

    def test_claim_gives_an_action_as_it_was_queued(self, outbox: Any) -> None:
        """What is taken makes the same event as what was queued."""
        queued = action(key="Ünïcode 🦆 key " + "k" * 300)

        outbox.enqueue(queued)

        assert outbox.claim()[0].event() == queued.event()


class TestOutbox(OutboxContract):
    """The outbox in a SQLite file."""

    def again(self, outbox: Outbox, clock: Clock) -> Outbox:
        return Outbox(outbox.path, clock=clock)


def test_list_shows_the_oldest_first_by_state(outbox: Outbox) -> None:
    """Actions are listed in the order they were queued."""
    queued = [action(None) for _ in range(3)]
    for one in queued:
        outbox.enqueue(one)
    dead(outbox, outbox.claim()[0], "gone")

    assert [one.id for one in outbox.list()] == [one.id for one in queued]
    assert [one.id for one in outbox.list("pending", limit=1)] == [queued[1].id]
    assert outbox.list("dead")[0].last_error == "gone"
