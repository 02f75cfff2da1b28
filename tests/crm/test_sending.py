"""Batches: what is sent in how many calls, and what becomes of each action."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.batching import Batches
from crm.receiver import DESTINATION, NO_PAUSE, Clock, action, counted
from mlembed_crm import Delivered, Delivery, Outbox, Retries
from mlembed_crm.errors import DeliveryError
from mlembed_crm.sending import send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed_crm import Action, Destination, Receipt


def deliver(outbox: Outbox, destination: Destination) -> Delivered:
    """Deliver once."""
    return Delivery(outbox, {DESTINATION: destination}, retries=NO_PAUSE).run_once()


def test_batches_are_as_large_as_the_destination_takes(outbox: Outbox) -> None:
    """What waits travels together, in its order, and no call has more than the limit."""
    for number in range(250):
        outbox.enqueue(action(f"c-{number}"))
    batches = Batches(100)

    assert deliver(outbox, batches) == Delivered(sent=250)
    assert [len(call) for call in batches.calls] == [100, 100, 50]
    assert batches.taken == [f"c-{number}" for number in range(250)]


def test_batch_holds_no_entity_twice(outbox: Outbox) -> None:
    """Two actions of one entity travel one after the other."""
    for key in ("a", "a", "b", "a"):
        outbox.enqueue(action(key))
    batches = Batches()

    assert deliver(outbox, batches) == Delivered(sent=4)
    assert batches.calls == [["a", "b"], ["a"], ["a"]]


@pytest.mark.parametrize("place", [0, 1, 99, 100, 137, 198, 199])
def test_one_bad_row_of_200_costs_few_calls(outbox: Outbox, place: int) -> None:
    """The 199 others arrive, once each; the bad one is given up with its own reason."""
    for number in range(200):
        outbox.enqueue(action(f"c-{number}"))
    batches = Batches(200, lambda one: one.key == f"c-{place}")

    assert deliver(outbox, batches) == Delivered(sent=199, dead=1)
    assert len(batches.calls) <= 2 * math.log2(200) + 1
    assert sorted(filter(None, batches.taken)) == sorted(
        f"c-{number}" for number in range(200) if number != place
    )
    (dead,) = outbox.list("dead")
    assert (dead.key, dead.last_error) == (f"c-{place}", "no such value")


@settings(max_examples=200)
@given(n=st.integers(1, 40), bad=st.sets(st.integers(0, 39), max_size=6))
def test_every_action_is_answered_once_whatever_is_bad(n: int, bad: set[int]) -> None:
    """All that is good is taken once, and all that is bad is refused, within few calls."""
    actions = [action(str(number)) for number in range(n)]
    batches = Batches(40, lambda one: int(one.key or "") in bad)

    told = [one for answered in send(batches, actions, lambda: True) for one in answered]

    refused = {one.action.key for one in told if isinstance(one.answer, DeliveryError)}
    assert sorted(one.action.id for one in told) == sorted(one.id for one in actions)
    assert refused == {str(number) for number in bad if number < n}
    assert len(batches.taken) == len(set(batches.taken)) == n - len(refused)
    assert len(batches.calls) <= 1 + len(refused) * (math.ceil(math.log2(n)) + 2)


def test_rows_that_a_destination_tells_of_are_taken_one_by_one(outbox: Outbox) -> None:
    """Where each row has its answer, one call is enough."""
    for key in "abc":
        outbox.enqueue(action(key))
    batches = Batches(100, lambda one: one.key == "b", each=True)

    assert deliver(outbox, batches) == Delivered(sent=2, dead=1)
    assert len(batches.calls) == 1
    assert outbox.attempts(outbox.list("sent")[1].id)[0]["detail"] == "id-c"


def test_failure_of_a_batch_is_one_failure_of_each(outbox: Outbox) -> None:
    """A call that fails for another reason is not taken apart."""
    for key in "abc":
        outbox.enqueue(action(key))
    batches = Batches(100, fails=[DeliveryError("busy", status=500)])

    assert deliver(outbox, batches) == Delivered(sent=3, failed=3)
    assert [len(call) for call in batches.calls] == [3, 3]


def test_outage_while_a_bad_row_is_looked_for_costs_the_rest_no_attempt(
    outbox: Outbox,
) -> None:
    """What was not sent is given back as it was."""
    for number in range(4):
        outbox.enqueue(action(f"c-{number}"))
    gone = DeliveryError("no answer", reached=False)
    batches = Batches(100, lambda one: one.key == "c-3", fails=[None, gone])

    assert deliver(outbox, batches) == Delivered(failed=2)
    assert [one.attempts for one in outbox.list()] == [1, 1, 0, 0]
    assert deliver(outbox, batches) == Delivered(sent=3, dead=1)


def test_refused_credentials_stop_the_destination_for_everyone(
    outbox: Outbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """No action is given up, nobody goes on asking, and the log says it once, with the remedy."""
    for key in "abc":
        outbox.enqueue(action(key))
    refused = DeliveryError("HTTP 401 Unauthorized", stops=True, status=401)
    batches = Batches(1, fails=[refused])

    first = deliver(outbox, batches)
    second = deliver(outbox, batches)

    assert (first, second) == (Delivered(failed=1), Delivered())
    assert len(batches.calls) == 1
    assert outbox.pauses()[DESTINATION][1] == "HTTP 401 Unauthorized"
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "actions resume" in caplog.text
    assert [one.attempts for one in outbox.list()] == [0, 0, 0]
    clock.now += 3601
    assert deliver(outbox, batches) == Delivered(sent=3)


@pytest.mark.parametrize("idempotent", [True, False])
def test_unknown_fate_is_tried_again_only_where_twice_is_once(
    outbox: Outbox, *, idempotent: bool
) -> None:
    """A message that may have arrived is not sent a second time; people look first."""
    outbox.enqueue(action())
    lost = DeliveryError("no answer within 1 s", unknown=True)
    batches = Batches(1, fails=[lost], idempotent=idempotent)

    done = deliver(outbox, batches)

    if idempotent:
        assert done == Delivered(sent=1, failed=1)
    else:
        assert done == Delivered(dead=1)
        assert "may have arrived" in outbox.list("dead")[0].last_error


class Short(Batches):
    """Answers for one action less than it was given."""

    def send(self, actions: Sequence[Action], /) -> list[Receipt | DeliveryError]:
        return super().send(actions)[1:]


def test_answer_that_is_too_short_takes_nothing(outbox: Outbox) -> None:
    """Whose answer is missing cannot be told, so all are tried again."""
    for key in "ab":
        outbox.enqueue(action(key))

    done = Delivery(outbox, {DESTINATION: Short(100)}, retries=Retries(attempts=1)).run_once()

    assert done == Delivered(dead=2)
    assert counted(outbox) == {"dead": 2}
    assert "1 answers to 2 actions" in outbox.list("dead")[0].last_error
