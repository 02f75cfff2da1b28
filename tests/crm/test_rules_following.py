"""Rules that remember: labels that change, cooldown, control groups, quiet hours, the best of a run."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from crm.receiver import DESTINATION, Clock, counted, delivery, sent
from mlembed.errors import SettingsError
from mlembed.serving.prediction import Answered, Prediction
from mlembed.telemetry.ids import SEQUENCE
from mlembed_crm import (
    Actions,
    Outbox,
    QuietHours,
    Rule,
    every_score,
    label_changes,
    rises_above,
    score_at_least,
    top,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from crm.receiver import Receiver

NOON = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC).timestamp()


def predicted(
    score: float = 0.9, key: str | None = "c-1", label: Any = None, at: float = NOON
) -> Prediction:
    """Return a prediction that was made at a time, with a label."""
    source = Answered("payments", "1.2.0", lambda _: (label, "ok" if label else "abstain"))
    return Prediction((source, int(at * 1e9), SEQUENCE.next(), 0, score, "ok", "", key))


def rule(when: Any, **arguments: Any) -> Rule:
    """Return a rule on payments."""
    return Rule("r", "payments", when, DESTINATION, **arguments)


def acted(outbox: Outbox, one: Rule, predictions: list[Prediction]) -> list[int]:
    """Return the places of the predictions on which *one* acts, one after the other."""
    actions = Actions(outbox, [one])
    return [place for place, each in enumerate(predictions) if actions.apply(each)]


@pytest.mark.parametrize(
    ("to", "places"), [(None, [2, 3, 5]), ("red", [2, 5]), ("blue", []), ("green", [3])]
)
def test_label_change_acts_on_each_change(
    outbox: Outbox, to: str | None, places: list[int]
) -> None:
    """The first label is remembered, an abstention changes nothing, and every change is seen."""
    labels = ["green", "green", "red", "green", None, "red"]
    seen = [predicted(label=label) for label in labels]

    assert acted(outbox, rule(label_changes(to)), seen) == places


def test_label_change_follows_each_entity(outbox: Outbox) -> None:
    """What one entity was says nothing about another."""
    seen = [predicted(key=key, label=label) for key in "ab" for label in (True, False)]

    assert acted(outbox, rule(label_changes()), seen) == [1, 3]


@pytest.mark.parametrize("when", [every_score(), score_at_least(0.5), rises_above(0.8, 0.5)])
def test_cooldown_keeps_a_rule_from_acting_again(outbox: Outbox, when: Any) -> None:
    """For the time it is told, and for that entity alone."""
    seen = [
        predicted(0.9, "a", at=NOON),
        predicted(0.1, "a", at=NOON + 5),
        predicted(0.9, "a", at=NOON + 9),
        predicted(0.9, "b", at=NOON + 9),
        predicted(0.9, "a", at=NOON + 10),
        predicted(0.9, "a", at=NOON + 11),
    ]
    if when.kind == "every":
        seen.pop(1)

    places = acted(outbox, rule(when, cooldown_seconds=10), seen)

    assert [seen[place].key for place in places] == ["a", "b", "a"]
    assert [seen[place].time_ns // 10**9 - NOON for place in places] == [0, 9, 10]


def test_control_group_is_recorded_and_never_sent(outbox: Outbox, receiver: Receiver) -> None:
    """About the share that is asked is held back, always the same entities."""
    actions = Actions(outbox, [rule(score_at_least(0.5), control=0.3)])
    keys = [f"c-{number}" for number in range(400)]
    for _ in range(2):
        for key in keys:
            actions.apply(predicted(0.9, key))
    held = {one.key for one in outbox.list("held", limit=1000)}

    done = delivery(outbox, receiver).run_once()

    assert 80 <= len(held) <= 160
    assert (actions.queued, actions.held) == (2 * (400 - len(held)), 2 * len(held))
    assert done.sent == actions.queued
    assert counted(outbox) == {"sent": actions.queued, "held": actions.held}
    assert all(one.payload == {} for one in outbox.list("held"))


def test_control_group_of_another_rule_is_another(outbox: Outbox) -> None:
    """Who is held back from one action is not held back from all."""
    one = rule(every_score(), control=0.5)
    other = dataclasses.replace(one, name="other")

    both = [(one.holds_back(f"{n}"), other.holds_back(f"{n}")) for n in range(400)]

    assert {(True, True), (True, False), (False, True), (False, False)} == set(both)
    del outbox


@pytest.mark.parametrize(
    ("hours", "zone", "time", "until"),
    [
        (("22:00", "07:00"), "UTC", "2026-11-25T23:30+00:00", "2026-11-26T07:00+00:00"),
        (("22:00", "07:00"), "UTC", "2026-11-26T06:59+00:00", "2026-11-26T07:00+00:00"),
        (("22:00", "07:00"), "UTC", "2026-11-26T07:00+00:00", ""),
        (("22:00", "07:00"), "UTC", "2026-11-26T21:59+00:00", ""),
        (("09:00", "17:00"), "UTC", "2026-11-26T09:00+00:00", "2026-11-26T17:00+00:00"),
        (("09:00", "17:00"), "UTC", "2026-11-26T08:59+00:00", ""),
        (("22:00", "07:00"), "Europe/Berlin", "2026-11-25T21:30+00:00", "2026-11-26T06:00+00:00"),
        # The night in which the clock is set back has an hour more.
        (("22:00", "07:00"), "Europe/Berlin", "2026-10-24T20:30+00:00", "2026-10-25T06:00+00:00"),
        # Half past two comes twice in it.
        (("22:00", "02:30"), "Europe/Berlin", "2026-10-25T00:15+00:00", "2026-10-25T00:30+00:00"),
        (("22:00", "02:30"), "Europe/Berlin", "2026-10-25T01:15+00:00", "2026-10-25T01:30+00:00"),
        (("22:00", "02:30"), "Europe/Berlin", "2026-10-25T01:31+00:00", ""),
    ],
)
def test_quiet_hours_end_by_the_clock_of_their_zone(
    hours: tuple[str, str], zone: str, time: str, until: str
) -> None:
    """What is queued in them waits for their end, whatever the zone's clock does that night."""
    ends = QuietHours(*hours, zone).ends(dt.datetime.fromisoformat(time).timestamp())

    assert ends == (dt.datetime.fromisoformat(until).timestamp() if until else 0.0)


def test_quiet_hours_hold_an_action_until_they_end(outbox: Outbox, clock: Clock) -> None:
    """It is queued at once, and nobody can claim it before."""
    clock.now = dt.datetime(2026, 11, 25, 23, tzinfo=dt.UTC).timestamp()
    night = rule(every_score(), quiet=QuietHours("22:00", "07:00"))
    Actions(outbox, [night]).apply(predicted(at=clock.now))

    early = outbox.claim()
    clock.now += 8 * 3600 + 1

    assert early == ()
    assert len(outbox.claim()) == 1


def test_top_takes_the_best_of_a_run(outbox: Outbox) -> None:
    """Of all predictions of the run, in the order of their scores; outside of one, none."""
    actions = Actions(outbox, [rule(top(2, at_least=0.5))])
    scores = [0.6, 0.95, 0.2, 0.9, 0.9]

    queued = actions.run(predicted(score, f"c-{n}") for n, score in enumerate(scores))
    few = actions.run([predicted(0.7, "x"), predicted(0.4, "y")])
    actions(predicted(0.99, "alone"))

    assert [one.key for one in queued] == ["c-1", "c-3"]
    assert [one.key for one in few] == ["x"]
    assert actions.apply(predicted(0.99, "alone")) == ()
    assert outbox.counts()["pending"] == 3


def test_preview_shows_what_a_run_would_do_and_does_nothing(outbox: Outbox) -> None:
    """The same actions, with what is remembered taken into account, and not a row written."""
    rules = [rule(rises_above(0.8, 0.5)), dataclasses.replace(rule(top(1)), name="best")]
    seen = [predicted(score, "a") for score in (0.9, 0.95, 0.3, 0.9, 0.99)]
    actions = Actions(outbox, rules)
    actions.apply(predicted(0.85, "b"))
    before = outbox.list()

    shown = actions.preview([*seen, predicted(0.9, "b")])

    assert (outbox.list(), actions.queued) == (before, 1)
    assert [one.id for one in shown] == [
        one.id for one in actions.run([*seen, predicted(0.9, "b")])
    ]
    assert len(shown) == 3


def test_pruned_action_is_still_remembered(outbox: Outbox, clock: Clock) -> None:
    """What is sent long since goes, payload first, but its rule acts no second time for it."""
    crossing = rule(rises_above(0.8, 0.5), payload={"note": "x"})
    actions = Actions(outbox, [crossing])
    actions.apply(predicted(0.9))
    sent(outbox, outbox.claim()[0])
    clock.now += 100

    outbox.prune(keep_seconds=50)

    (left,) = outbox.list()
    assert (left.state, dict(left.payload)) == ("remembered", {})
    assert actions.apply(predicted(0.95)) == ()
    assert actions.apply(predicted(0.1)) == ()  # armed again: nothing to remember any more
    outbox.prune(keep_seconds=50)
    assert outbox.list() == ()
    assert len(actions.apply(predicted(0.9))) == 1


def test_cooldown_holds_for_predictions_that_come_late(outbox: Outbox) -> None:
    """A batch that is stamped when it begins follows on answers that were made meanwhile."""
    late = [predicted(at=NOON - seconds) for seconds in (0.0, 0.001, 7200.0)]

    assert acted(outbox, rule(every_score(), cooldown_seconds=30 * 86_400), late) == [0]


def test_prune_keeps_what_a_cooldown_needs(outbox: Outbox, clock: Clock) -> None:
    """A cooldown that outlasts the keeping of actions holds all the same."""
    clock.now = NOON
    actions = Actions(outbox, [rule(every_score(), cooldown_seconds=1000)])
    actions.apply(predicted())
    sent(outbox, outbox.claim()[0])
    clock.now += 500
    outbox.prune(keep_seconds=50)

    again = actions.apply(predicted(at=clock.now))
    clock.now += 600
    outbox.prune(keep_seconds=50)

    assert again == ()
    assert outbox.list() == ()


def test_rule_that_acts_is_one_insert(outbox: Outbox) -> None:
    """An action, its crossing and its memory are one row of one table."""
    statements: list[str] = []
    actions = Actions(outbox, [rule(rises_above(0.8, 0.5), cooldown_seconds=5)])
    with outbox._database._connections.use() as own:
        own.set_trace_callback(statements.append)
    for number, score in enumerate((0.9, 0.1, 0.95)):
        actions.apply(predicted(score, at=NOON + 10 * number))
    with outbox._database._connections.use() as own:
        own.set_trace_callback(None)

    assert actions.queued == 2
    assert sum(text.startswith("INSERT") for text in statements) == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: top(0),
        lambda: top(True),  # noqa: FBT003  the mistake under test
        lambda: top(3, float("nan")),
        lambda: label_changes(3),  # type: ignore[arg-type]  # the mistake under test
        lambda: rule(every_score(), control=1.0),
        lambda: rule(every_score(), control=-0.1),
        lambda: rule(every_score(), cooldown_seconds=-1),
        lambda: rule(every_score(), cooldown_seconds=float("inf")),
        lambda: QuietHours("22:00", "22:00"),
        lambda: QuietHours("25:00", "07:00"),
        lambda: QuietHours("22:00", "07:00", "Mars/Olympus"),
        lambda: QuietHours("22:00", "07:00", "../etc/passwd"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], object]) -> None:
    """A rule is checked where it is written, not where it acts."""
    with pytest.raises(SettingsError):
        make()
