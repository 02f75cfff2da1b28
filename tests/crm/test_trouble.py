"""Long outages, several workers and rules that change: nothing is lost, doubled or silenced."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from crm.batching import Batches
from crm.receiver import DESTINATION, NO_PAUSE, Clock, acted, action, counted, once, prediction
from crm.test_rules_following import NOON, predicted, rule
from mlembed.errors import SettingsError
from mlembed_crm import (
    Actions,
    Delivered,
    Delivery,
    DeliveryError,
    Limits,
    Outbox,
    QuietHours,
    Receipt,
    Retries,
    every_score,
    label_changes,
    rises_above,
    score_at_least,
)
from mlembed_crm.destinations.credentials import Token, Tokens
from mlembed_crm.pacing import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlembed_crm import Action

LIMIT = DeliveryError("HTTP 429", retry_after=60.0, status=429)
BRIEF = DeliveryError("HTTP 429", retry_after=5.0, status=429)
REFUSED = DeliveryError("HTTP 401", stops=True, status=401)
WEEKEND = 4 * 86_400.0


def deliver(outbox: Any, destination: Any, **arguments: Any) -> Delivered:
    """Deliver once."""
    settings = {"retries": NO_PAUSE, **arguments}
    return Delivery(outbox, {DESTINATION: destination}, **settings).run_once()


def fill(outbox: Any, n: int) -> None:
    """Queue actions of *n* entities."""
    for number in range(n):
        outbox.enqueue(action(f"c-{number}"))


def test_rate_limit_gives_no_old_backlog_up(outbox: Outbox, clock: Clock) -> None:
    """After a weekend of outage everything is still sent, however often it is told to wait."""
    fill(outbox, 300)
    clock.now += WEEKEND
    batches = Batches(100, fails=[None, LIMIT])

    first = deliver(outbox, batches)
    waiting = deliver(outbox, batches)
    clock.now += 61
    last = deliver(outbox, batches)

    assert (first.sent, first.dead, waiting) == (100, 0, Delivered())
    assert last == Delivered(sent=200)


def test_stop_holds_however_soon_it_is_resumed(outbox: Outbox) -> None:
    """Credentials that are still refused are tried once after a resume, not every second."""
    fill(outbox, 3)
    batches = Batches(1, fails=[REFUSED] * 9)
    running = Delivery(outbox, {DESTINATION: batches}, retries=NO_PAUSE)
    running.run_once()

    outbox.resume(DESTINATION)
    for _ in range(5):
        running.run_once()

    assert len(batches.calls) == 2
    assert DESTINATION in outbox.pauses()


def test_pause_after_a_resume_is_kept_however_short(outbox: Outbox, clock: Clock) -> None:
    """Who resumes an hour's pause, and is told to wait five seconds, does not go on at once."""
    fill(outbox, 9)
    batches = Batches(1, fails=[LIMIT] + [BRIEF] * 8)
    running = Delivery(outbox, {DESTINATION: batches}, retries=NO_PAUSE)
    running.run_once()

    outbox.resume(DESTINATION)
    for _ in range(5):
        running.run_once()

    assert len(batches.calls) == 2
    assert outbox.pauses()[DESTINATION][0] == clock.now + 5


@pytest.mark.parametrize("error", [LIMIT, REFUSED])
def test_answer_to_a_batch_is_noted_once(
    outbox: Outbox,
    error: DeliveryError,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A batch that is told to wait writes one pause and one line, not one an action."""
    fill(outbox, 50)
    pauses: list[str] = []
    pause = outbox.pause

    def noted(name: str, until: float, reason: str = "") -> None:
        pauses.append(name)
        pause(name, until, reason)

    monkeypatch.setattr(outbox, "pause", noted)

    deliver(outbox, Batches(50, fails=[error]))

    assert pauses == [DESTINATION]
    assert len(caplog.records) == 1


def test_pace_tells_how_long_to_wait_while_a_call_runs() -> None:
    """A worker that cannot begin does not ask again and again."""
    pace = Pace(0.5)

    begun, running = (pace.begin(), pace.begin()), pace.left()
    pace.end(called=True)

    assert begun == (True, False)
    assert running == 0.5
    assert 0 < pace.left() <= 0.5


def test_shorter_pause_does_not_end_a_longer(outbox: Outbox, clock: Clock) -> None:
    """One worker is told to wait a second where another was stopped: it stays stopped."""
    outbox.pause(DESTINATION, clock.now + 3600, "stopped")
    outbox.pause(DESTINATION, clock.now + 1, "wait")

    assert outbox.pauses() == {DESTINATION: (clock.now + 3600, "stopped")}
    assert outbox.resume(DESTINATION)
    assert not outbox.resume(DESTINATION)


def test_pause_is_a_day_at_most(outbox: Outbox, clock: Clock) -> None:
    """A longer one could not be told from one that a clock made absurd, and would be none."""
    fill(outbox, 1)

    outbox.pause(DESTINATION, clock.now + 7 * 86_400, "closed")

    assert outbox.claim() == ()
    assert outbox.pauses()[DESTINATION][0] == clock.now + 86_400
    with pytest.raises(SettingsError, match="a day"):
        Retries(most_seconds=30 * 86_400)


class Slow(Batches):
    """Refuses one action, and takes its time for every call."""

    def __init__(self, clock: Clock, seconds: float, **arguments: Any) -> None:
        super().__init__(64, lambda one: one.key == "c-5", **arguments)
        self.limits = Limits(batch=64, call_seconds=seconds)
        self._clock, self._seconds = clock, seconds

    def send(self, actions: Sequence[Action], /) -> list[Receipt | DeliveryError]:
        """Take the time on the clock of the outbox."""
        self._clock.now += self._seconds
        return super().send(actions)


def test_lease_is_renewed_while_a_batch_is_taken_apart(
    outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow the calls are, nobody else gets what is in hand, and the bad one is found."""
    fill(outbox, 64)
    other = Outbox(outbox.path, clock=clock)
    stolen: list[Action] = []
    start = clock.now
    monkeypatch.setattr(time, "monotonic", lambda: clock.now - start)
    slow = Slow(clock, 50.0)
    send = slow.send

    def watched(actions: Sequence[Action], /) -> list[Receipt | DeliveryError]:
        answers = send(actions)
        stolen.extend(other.claim(limit=100))
        return answers

    slow.send = watched  # type: ignore[method-assign]

    done = deliver(outbox, slow, lease_seconds=100.0)

    assert stolen == []
    assert done == Delivered(sent=63, dead=1)


def test_round_ends_where_its_lease_was_lost(outbox: Outbox, clock: Clock) -> None:
    """What another delivery has by now is not sent by this one as well."""
    fill(outbox, 8)
    claimed = outbox.claim(limit=8, lease_seconds=60)
    clock.now += 60
    outbox.claim(limit=8, lease_seconds=60)

    assert not outbox.hold(claimed, 60)


def test_what_cannot_be_sent_twice_is_left_to_people(outbox: Outbox, clock: Clock) -> None:
    """A delivery that died with a message in hand may have posted it."""
    fill(outbox, 1)
    outbox.claim(lease_seconds=60)
    clock.now += 61

    done = deliver(outbox, Batches(idempotent=False))

    assert done == Delivered(dead=1)
    (dead,) = outbox.list("dead")
    assert "may have arrived, look there first" in dead.last_error
    outbox.redeliver(dead.id)
    assert deliver(outbox, Batches(idempotent=False)) == Delivered(sent=1)


def test_quiet_hours_are_quiet_for_retries_and_latecomers(outbox: Outbox, clock: Clock) -> None:
    """What was queued before the night, or failed into it, waits for the morning."""
    clock.now = dt.datetime(2026, 11, 25, 21, 59, tzinfo=dt.UTC).timestamp()
    night = rule(every_score(), quiet=QuietHours("22:00", "07:00"))
    for key in "ab":
        Actions(outbox, [night]).apply(predicted(key=key, at=clock.now))
    batches = Batches(1, fails=[DeliveryError("HTTP 500", status=500)])
    first = deliver(outbox, batches, retries=Retries(first_seconds=0, attempts=1000))
    clock.now += 120

    late = [deliver(outbox, batches) for _ in range(3)]
    outbox.enqueue(dataclasses.replace(action("c"), quiet="22:00 07:00 UTC"))
    late.append(deliver(outbox, batches))
    clock.now += 9 * 3600

    assert first.sent >= 1
    assert late == [Delivered()] * 4
    assert deliver(outbox, batches).sent >= 1
    assert counted(outbox) == {"sent": 3}


@pytest.mark.parametrize("now", [score_at_least(0.5), every_score()])
@pytest.mark.parametrize("then", [rises_above(0.8, 0.5), label_changes()])
def test_rule_whose_condition_changed_goes_on(outbox: Outbox, then: Any, now: Any) -> None:
    """What another condition remembered silences nobody."""
    Actions(outbox, [rule(then)]).apply(predicted(0.9, label="A"))

    changed = Actions(outbox, [rule(now, cooldown_seconds=60)])

    assert len(changed.apply(predicted(0.9, label="A", at=NOON + 100))) == 1


def test_label_rule_that_became_a_crossing_sees_the_first(outbox: Outbox) -> None:
    """And a crossing that became a label rule begins by looking."""
    Actions(outbox, [rule(label_changes())]).apply(predicted(0.1, label="A"))
    crossing = Actions(outbox, [rule(rises_above(0.8, 0.5))])

    assert len(crossing.apply(predicted(0.9, label="A"))) == 1
    labels = Actions(outbox, [rule(label_changes())])
    assert [len(labels.apply(predicted(0.9, label=label))) for label in "BBC"] == [0, 0, 1]


def test_first_label_begins_no_cooldown(outbox: Outbox) -> None:
    """And a change that comes in the cooldown acts when that is over."""
    actions = Actions(outbox, [rule(label_changes(), cooldown_seconds=100)])
    seen = [("A", 0), ("B", 5), ("C", 10), ("C", 104), ("C", 105), ("C", 300)]

    queued = [len(actions.apply(predicted(label=label, at=NOON + at))) for label, at in seen]

    assert queued == [0, 1, 0, 0, 1, 0]


def test_clock_that_ran_ahead_silences_nobody(outbox: Outbox) -> None:
    """A cooldown that ends in twenty years is none."""
    actions = Actions(outbox, [rule(every_score(), cooldown_seconds=60)])
    actions.apply(predicted(at=NOON + 20 * 365 * 86_400))

    assert len(actions.apply(predicted(at=NOON))) == 1


class NoLimits:
    """A destination that lacks something."""

    name = "x"

    def send(self, actions: object, /) -> object:
        return actions


@pytest.mark.parametrize(
    "make",
    [
        lambda: Limits(batch=0),
        lambda: Limits(batch=True),
        lambda: Limits(call_seconds=0),
        lambda: Limits(call_seconds=301),
        lambda: Limits(pause_seconds=-1),
        lambda: Delivery(Outbox(":memory:"), {"x": NoLimits()}),  # type: ignore[dict-item]
    ],
)
def test_destination_that_cannot_work_is_refused(
    make: Callable[[], object], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is declared, and with what it lacks; not in the night, for all the others."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SettingsError, match=r"batch|call_seconds|pause_seconds|'limits'"):
        make()


@pytest.mark.parametrize("answers", [[None], ["ok"], [Receipt(), Receipt()], "x", None])
def test_answer_that_is_none_takes_nothing(outbox: Outbox, answers: Any) -> None:
    """A destination's bug is a failed attempt, and stops no other."""

    class Odd(Batches):
        def send(self, _actions: Sequence[Action], /) -> Any:
            return answers

    fill(outbox, 1)

    done = deliver(outbox, Odd(), retries=Retries(attempts=1))

    assert done == Delivered(dead=1)


def test_generator_is_as_good_as_a_list(outbox: Outbox) -> None:
    """Who yields the answers is understood."""

    class Yielding(Batches):
        def send(self, actions: Sequence[Action], /) -> Any:
            yield from super().send(actions)

    fill(outbox, 3)

    assert deliver(outbox, Yielding()) == Delivered(sent=3)


def test_refused_login_is_tried_once_for_all_that_wait() -> None:
    """Eight workers that were refused together do not lock the account."""
    logins: list[float] = []
    barrier = threading.Barrier(8)

    def log_in() -> Token:
        logins.append(time.monotonic())
        time.sleep(0.1)
        raise REFUSED

    tokens, errors = Tokens(log_in), []

    def work() -> None:
        barrier.wait()
        try:
            tokens.call(lambda _: None, lambda _: False)  # type: ignore[arg-type,return-value]
        except DeliveryError as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(logins), len(errors)) == (1, 8)


def test_pause_between_calls_holds_for_all_workers(outbox: Outbox) -> None:
    """Four workers post no faster than one, and hold up no other destination."""
    fill(outbox, 40)
    for number in range(5):
        outbox.enqueue(dataclasses.replace(action(f"f-{number}"), destination="fast"))
    slow, fast = Batches(1), Batches(1)
    slow.limits = Limits(batch=1, pause_seconds=0.5)
    running = Delivery(outbox, {DESTINATION: slow, "fast": fast}, poll_seconds=0.01)

    running.start(workers=4)
    time.sleep(1.7)
    running.close()

    assert 2 <= len(slow.calls) <= 5
    assert len(fast.calls) == 5


class Strict(Batches):
    """Takes a call only when its pause is over, and notes how long it was."""

    limits: Limits

    def __init__(self, pause_seconds: float) -> None:
        super().__init__(8, lambda one: one.key == "c-5")
        self.limits = Limits(batch=8, pause_seconds=pause_seconds)
        self.pauses: list[float] = []
        self._ended = 0.0

    def send(self, actions: Sequence[Action], /) -> list[Receipt | DeliveryError]:
        """Answer as ever, or that it was too soon."""
        self.pauses.append(time.monotonic() - self._ended)
        try:
            if self.pauses[-1] < self.limits.pause_seconds:
                raise DeliveryError("HTTP 429", retry_after=0.0, status=429)
            return super().send(actions)
        finally:
            self._ended = time.monotonic()


def test_pause_holds_while_a_batch_is_taken_apart(outbox: Outbox) -> None:
    """A destination that takes a call now and then gets to know which action it refuses."""
    fill(outbox, 8)
    strict = Strict(0.05)

    done = deliver(outbox, strict)

    assert done == Delivered(sent=7, dead=1)
    assert min(strict.pauses) >= 0.05


def test_newer_value_does_not_wait_for_the_next_attempt_at_an_older(
    outbox: Outbox, clock: Clock
) -> None:
    """What is known to be obsolete delays nothing."""
    from crm.test_claims import SCORE

    outbox.enqueue(action("a", 0.1, SCORE))
    failing = Batches(fails=[DeliveryError("HTTP 500", status=500)])
    deliver(outbox, failing, retries=Retries(first_seconds=4000, most_seconds=4000))
    outbox.enqueue(action("a", 0.2, SCORE))
    clock.now += 1

    assert deliver(outbox, Batches()) == Delivered(sent=1)
    assert counted(outbox) == {"sent": 1, "superseded": 1}


def test_value_of_a_host_whose_clock_ran_ahead_replaces_none(outbox: Outbox, clock: Clock) -> None:
    """What was made in a year does not keep today's values from being sent."""
    from crm.test_claims import SCORE

    for at in (clock.now + 365 * 86_400, clock.now, clock.now + 1):
        outbox.enqueue(SCORE.action(predicted(key="a", at=at)))
        deliver(outbox, Batches())
        clock.now += 1

    assert counted(outbox) == {"sent": 3}


def test_stale_worker_frees_no_lease_after_a_redelivery(outbox: Outbox, clock: Clock) -> None:
    """Attempts that begin anew are no licence for whoever lost the lease."""
    fill(outbox, 1)
    (late,) = outbox.claim(lease_seconds=60)
    clock.now += 61
    outbox.redeliver(late.id)
    outbox.claim(lease_seconds=60)

    from crm.receiver import failed

    failed(outbox, late, "too late", 0.0)

    assert outbox.claim() == ()


def test_older_action_waits_while_a_newer_is_sent(outbox: Outbox) -> None:
    """Two actions of one entity never travel at once, even where the older came back."""
    from crm.receiver import sent

    older, newer = action("a"), action("a")
    outbox.enqueue(older)
    sent(outbox, outbox.claim()[0])
    outbox.enqueue(newer)
    outbox.claim()
    outbox.redeliver(older.id)

    assert outbox.claim() == ()


def test_keys_and_fields_that_look_alike_are_not_mixed_up() -> None:
    """A separator in a key does not make it the field of another."""
    one = dataclasses.replace(action("a\0b"), record="r", id_field="i", payload={"c": 1})
    other = dataclasses.replace(action("a"), record="r", id_field="i", payload={"b": 1, "c": 1})

    assert one.slot != other.slot


def test_score_that_is_no_number_changes_nothing(outbox: Outbox) -> None:
    """Not even for a rule that is about labels."""
    rules = [rule(label_changes()), dataclasses.replace(rule(every_score()), name="every")]
    actions = Actions(outbox, rules)

    for score in (float("nan"), float("inf")):
        assert actions.apply(predicted(score, label="A")) == ()

    assert (outbox.list(), actions.failed) == ((), 0)


def test_prune_goes_a_few_at_a_time(outbox: Outbox, clock: Clock) -> None:
    """More than is deleted at once, and what is remembered stays."""
    from mlembed_crm import ledger

    for number in range(7):
        once(outbox, action(f"m-{number}"))
    fill(outbox, 25)
    deliver(outbox, Batches())
    clock.now += 100
    before, ledger._PRUNED_AT_ONCE = ledger._PRUNED_AT_ONCE, 10
    try:
        assert outbox.prune(50) == 25
    finally:
        ledger._PRUNED_AT_ONCE = before

    assert counted(outbox) == {"remembered": 7}
    assert acted(outbox, action().rule, "m-3")


def test_preview_afresh_begins_with_nothing(outbox: Outbox) -> None:
    """What rules did before does not change what they would have done about the past."""
    actions = Actions(outbox, [rule(rises_above(0.8))])
    seen = [predicted(0.9, "a")]
    actions.run(seen)

    assert actions.preview([predicted(0.9, "a")]) == ()
    assert len(actions.preview(seen, afresh=True)) == 1


def test_prediction_without_a_key_is_explained(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """A rule is told what it lacks in words that fit it."""
    Actions(outbox, [rule(every_score(), control=0.1)])(prediction(key=None))

    assert "needs to know the entity" in caplog.text


@pytest.mark.parametrize(
    ("first", "then", "seconds"),
    [
        (DeliveryError("HTTP 503"), DeliveryError("HTTP 503", retry_after=600.0), 600.0),
        (
            DeliveryError("HTTP 429", retry_after=1.0),
            DeliveryError("HTTP 429", retry_after=900.0),
            900.0,
        ),
        (DeliveryError("HTTP 401"), DeliveryError("HTTP 401", stops=True), 3600.0),
    ],
)
def test_pause_is_noted_whatever_was_said_before_in_the_same_words(
    outbox: Outbox, clock: Clock, first: DeliveryError, then: DeliveryError, seconds: float
) -> None:
    """Two rows of a batch are answered alike but for how long to wait: the longest holds."""
    fill(outbox, 4)
    told = Told([first, then, first, then])

    deliver(outbox, told)

    assert outbox.pauses()[DESTINATION][0] == clock.now + seconds


def test_reasons_that_alternate_in_a_batch_are_each_said_once(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Two hundred rows of two faults are two lines of the log."""
    fill(outbox, 200)
    faults = [DeliveryError(f"HTTP 40{n}", stops=True) for n in (1, 3)]

    deliver(outbox, Told(faults * 100))

    assert [record.levelname for record in caplog.records] == ["ERROR"] * 2


class Told:
    """Answers each action of a batch as it is told to, and takes what comes after."""

    name = "told"

    def __init__(self, answers: Sequence[DeliveryError | None], batch: int = 200) -> None:
        self.limits = Limits(batch=batch)
        self.calls = 0
        self._answers = answers

    def send(self, actions: Sequence[Action], /) -> list[Receipt | DeliveryError]:
        """Answer *actions*."""
        self.calls += 1
        return [error or Receipt() for error in self._answers[: len(actions)]]


def test_run_goes_on_where_a_call_had_no_time_for_all(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """What a slow destination did not come to goes next, in the same run, and nobody is warned."""
    fill(outbox, 7)
    late = DeliveryError("it is too slow for all of them; the rest goes next", retry_after=0.0)
    told = Told([None, None, late, late, late], batch=5)

    done = deliver(outbox, told)

    assert (done, told.calls) == (Delivered(sent=7), 4)
    assert (outbox.pauses(), caplog.records) == ({}, [])


def test_run_ends_where_a_call_had_no_time_for_any(outbox: Outbox) -> None:
    """A destination that comes to nothing is not asked for ever."""
    fill(outbox, 3)
    told = Told([DeliveryError("it is too slow", retry_after=0.0)] * 3)

    assert (deliver(outbox, told), told.calls) == (Delivered(), 1)
    assert [one.attempts for one in outbox.list()] == [0, 0, 0]


def test_pause_and_call_fit_into_a_lease() -> None:
    """Else what a worker takes apart would be another's before its last call."""
    assert Limits(call_seconds=300.0, pause_seconds=299.0).batch == 1
    with pytest.raises(SettingsError, match="below 300: with a call it must be shorter"):
        Limits(call_seconds=300.0, pause_seconds=300.0)
