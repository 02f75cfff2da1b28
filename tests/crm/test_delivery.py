"""Delivery: what becomes of an action under every answer, and in what order."""

from __future__ import annotations

import dataclasses
import email.utils
import pickle
import time
from typing import TYPE_CHECKING

import pytest

from crm.receiver import (
    DESTINATION,
    NO_PAUSE,
    Clock,
    action,
    answer,
    counted,
    delivery,
    raw,
    receiving,
    webhook,
)
from mlembed_crm import Delivered, Delivery, Limits, Outbox, Receipt, Retries
from mlembed_crm.errors import DeliveryError
from mlembed_crm.fates import Remedies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crm.receiver import Receiver
    from mlembed_crm import Action, Destination


def test_run_once_sends_everything_that_is_due(outbox: Outbox, receiver: Receiver) -> None:
    """Each action arrives once, in the order it was queued."""
    queued = [action(key) for key in ("a", "b", "a", None)]
    for one in queued:
        outbox.enqueue(one)

    done = delivery(outbox, receiver).run_once()

    assert done == Delivered(sent=4)
    assert [got.id for got in receiver.received] == [one.id for one in queued]
    assert counted(outbox) == {"sent": 4}
    assert delivery(outbox, receiver).run_once() == Delivered()


def test_retry_sends_the_same_id_and_bytes(outbox: Outbox, receiver: Receiver) -> None:
    """A receiver that was not sure can tell that it is the same action."""
    receiver.answers.extend([answer(500), raw(b"", reset=True), answer(302, Location="/x")])
    outbox.enqueue(action())
    deliver = delivery(outbox, receiver)

    runs = [deliver.run_once() for _ in range(3)]

    assert sum(run.failed for run in runs) == 3
    assert sum(run.sent for run in runs) == 1
    assert len({(got.id, got.body) for got in receiver.received}) == 1
    assert outbox.list()[0].attempts == 4


@pytest.mark.parametrize("status", [400, 409, 422])
def test_refused_action_is_dead_with_its_reason(
    outbox: Outbox, receiver: Receiver, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal ends an action loudly, and the next one of its key goes on."""
    receiver.answers.append(answer(status))
    outbox.enqueue(action("customer"))  # in no id, which is hexadecimal
    outbox.enqueue(action("customer"))

    assert delivery(outbox, receiver).run_once() == Delivered(sent=1, dead=1)

    (dead,) = outbox.list("dead")
    assert f"HTTP {status}" in dead.last_error
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert dead.id in caplog.text
    assert "customer" not in caplog.text


def test_receiver_down_then_up(outbox: Outbox) -> None:
    """Nothing is lost while nobody listens, and one attempt finds out for all."""
    with receiving() as gone:
        deliver = delivery(outbox, gone)
    for key in "abc":
        outbox.enqueue(action(key))

    down = deliver.run_once()

    assert down == Delivered(failed=1)
    assert [one.attempts for one in outbox.list()] == [1, 0, 0]
    with receiving(address=("127.0.0.1", gone.server_port)) as back:
        assert deliver.run_once() == Delivered(sent=3)
        assert len(back.received) == 3


def test_slow_destination_does_not_hold_up_another(outbox: Outbox, receiver: Receiver) -> None:
    """A destination that does not answer costs one timeout a run, however much waits for it."""
    for _ in range(5):
        outbox.enqueue(dataclasses.replace(action(None), destination="asleep"))
    outbox.enqueue(action(None))
    receiver.answers.append(raw(b"", pause_seconds=1.0))
    destinations = {
        "asleep": webhook(receiver, timeout_seconds=0.2),
        DESTINATION: webhook(receiver),
    }

    done = Delivery(outbox, destinations, retries=NO_PAUSE).run_once()

    assert done == Delivered(sent=1, failed=1)


@pytest.mark.parametrize("dated", [False, True])
def test_retry_after_holds_the_destination_for_all(
    outbox: Outbox, clock: Clock, receiver: Receiver, *, dated: bool
) -> None:
    """Told to wait, every delivery waits; being told does not use up an attempt."""
    wait = email.utils.formatdate(time.time() + 31, usegmt=True) if dated else "30"
    receiver.answers.append(answer(503, Retry_After=wait))
    for key in "ab":
        outbox.enqueue(action(key))

    assert delivery(outbox, receiver).run_once() == Delivered(failed=1)
    clock.now += 28
    assert delivery(outbox, receiver).run_once() == Delivered()
    clock.now += 4
    assert delivery(outbox, receiver).run_once() == Delivered(sent=2)
    assert [one.attempts for one in outbox.list()] == [1, 1]


def test_attempts_are_bounded(outbox: Outbox, receiver: Receiver) -> None:
    """An action that nobody takes is given up after the attempts that were allowed."""
    receiver.answers.extend([answer(500)] * 5)
    outbox.enqueue(action())
    retries = Retries(first_seconds=0, most_seconds=0, attempts=3)

    done = delivery(outbox, receiver, retries=retries).run_once()

    assert done == Delivered(failed=2, dead=1)
    assert len(receiver.received) == 3
    assert "after 3 attempts" in outbox.list("dead")[0].last_error


def test_age_is_bounded_but_an_old_action_is_tried(
    outbox: Outbox, clock: Clock, receiver: Receiver
) -> None:
    """After a long stop an action is tried a dozen times, and as often as it may, but no more."""
    receiver.answers.extend([answer(500)] * 12)
    outbox.enqueue(action())
    clock.now += 100
    retries = Retries(first_seconds=0, most_seconds=0, age_seconds=50)

    done = delivery(outbox, receiver, retries=retries).run_once()

    assert done == Delivered(failed=11, dead=1)
    assert "after 12 attempts" in outbox.list("dead")[0].last_error


def test_retries_last_over_a_weekend() -> None:
    """The attempts that are allowed by default take more than the days until an action is too old."""
    retries = Retries()
    days = [
        sum(map(retries.pause_seconds, range(1, retries.attempts))) / 86_400 for _ in range(200)
    ]

    assert sorted(days)[100] > 2.8


def test_attempts_that_never_end_are_bounded(
    outbox: Outbox, clock: Clock, receiver: Receiver
) -> None:
    """An action that ends every process that sends it is given up too."""
    outbox.enqueue(action())
    for _ in range(3):
        outbox.claim(lease_seconds=60)
        clock.now += 60

    done = delivery(outbox, receiver, retries=Retries(attempts=3)).run_once()

    assert done == Delivered(dead=1)
    assert receiver.received == []


def test_redelivered_action_is_sent_again_under_its_id(
    outbox: Outbox, clock: Clock, receiver: Receiver
) -> None:
    """A dead action, however old, comes back whole."""
    receiver.answers.append(answer(400))
    queued = action()
    outbox.enqueue(queued)
    deliver = delivery(outbox, receiver, retries=Retries(age_seconds=50))
    deliver.run_once()
    clock.now += 1000

    outbox.redeliver(queued.id)
    receiver.answers.append(answer(500))

    assert deliver.run_once() == Delivered(failed=1)
    assert {got.id for got in receiver.received} == {queued.id}


def test_failing_action_holds_up_its_key_alone(
    outbox: Outbox, clock: Clock, receiver: Receiver
) -> None:
    """A newer action of the entity waits for the older one; others do not."""
    queued = [action("a"), action("a"), action("b")]
    for one in queued:
        outbox.enqueue(one)
    receiver.answers.append(answer(500))
    deliver = delivery(outbox, receiver, retries=Retries(first_seconds=9, most_seconds=9))

    deliver.run_once()
    clock.now += 10
    deliver.run_once()

    order = [got.id for got in receiver.received]
    assert order == [queued[i].id for i in (0, 2, 0, 1)]


class Broken:
    """A destination with a bug."""

    name = "broken"
    limits = Limits()

    def send(self, _actions: Sequence[Action], /) -> list[Receipt]:
        """Fail as no destination should."""
        raise ZeroDivisionError


def test_bug_in_a_destination_is_a_failed_attempt(
    outbox: Outbox, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """A destination that raises anything is logged and tried again; others go on."""
    outbox.enqueue(dataclasses.replace(action(), destination="broken"))
    outbox.enqueue(action())
    destinations: dict[str, Destination] = {"broken": Broken(), DESTINATION: webhook(receiver)}

    done = Delivery(outbox, destinations, retries=Retries(attempts=1)).run_once()

    assert done == Delivered(sent=1, dead=1)
    assert "ZeroDivisionError" in outbox.list("dead")[0].last_error
    assert "has a bug" in caplog.text


def test_pauses_double_and_are_drawn_from_zero() -> None:
    """Full jitter: between nothing and a bound that doubles up to the greatest."""
    retries = Retries(first_seconds=2, most_seconds=60)

    drawn = {n: [retries.pause_seconds(n) for _ in range(300)] for n in (1, 2, 3, 10, 10_000)}

    for attempts, bound in ((1, 2), (2, 4), (3, 8), (10, 60), (10_000, 60)):
        assert 0 <= min(drawn[attempts]) < bound / 4
        assert bound * 3 / 4 < max(drawn[attempts]) <= bound


def test_delivery_error_survives_pickling() -> None:
    """An error that crosses a process keeps what it says."""
    error = pickle.loads(pickle.dumps(DeliveryError("busy", 3.0, permanent=True, status=409)))  # noqa: S301  our own bytes

    assert (str(error), error.retry_after, error.permanent) == ("busy", 3.0, True)


def test_attempts_are_kept_with_what_was_answered(outbox: Outbox, receiver: Receiver) -> None:
    """Each attempt is kept: what it came to, the answer's code and why."""
    queued = action()
    outbox.enqueue(queued)
    receiver.answers.extend([answer(503), answer(429, retry_after="0"), answer(400)])

    running = delivery(outbox, receiver)
    for _ in range(2):  # a pause that was asked for ends the first
        running.run_once()

    told = outbox.attempts(queued.id)
    results = [(one["result"], one["status"], one["detail"]) for one in told]
    assert results == [
        ("failed", 503, "HTTP 503 Service Unavailable"),
        ("failed", 429, "HTTP 429 Too Many Requests"),
        ("dead", 400, "HTTP 400 Bad Request"),
    ]
    assert all(0 <= one["seconds"] < 10 and one["started"] > 0 for one in told)


def test_log_names_the_remedy_that_it_is_given(
    outbox: Outbox, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """An action that is given up is sent again by what its host has for that."""
    outbox.enqueue(action())
    receiver.answers.append(answer(400))

    delivery(outbox, receiver, remedies=Remedies(redeliver="press {id}")).run_once()

    assert f"Send it again with: press {outbox.list()[0].id}" in caplog.text
