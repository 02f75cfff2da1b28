"""Records: what their fields are set to, and that only the newest value is sent."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from crm.batching import Batches
from crm.receiver import DESTINATION, NO_PAUSE, counted, failed, prediction, sent
from mlembed.errors import SettingsError
from mlembed_crm import (
    Action,
    Actions,
    Delivered,
    Delivery,
    Outbox,
    Rule,
    Upsert,
    every_score,
    field,
)
from mlembed_crm.errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlembed_crm import Receipt
    from mlembed_crm.errors import DeliveryError

SCORE = Upsert("contacts", "ext_id", {"ml_score": "score"})
RULE = Rule("score", "payments", every_score(), DESTINATION, upsert=SCORE)


def test_fields_carry_the_prediction_and_where_it_came_from() -> None:
    """Score, label, reason, model, version, id and time arrive as their kinds ask."""
    seen = prediction(0.8349, "c-1")
    upsert = Upsert(
        "contacts",
        "ext_id",
        {
            "percent": field("score", scale=100, digits=1),
            "whole": field("score", "integer", scale=100),
            "shown": field("score", "text", digits=2),
            "risky": field(lambda one: one.score > 0.8, "boolean"),
            "told": field(lambda one: one.score > 0.8, words=("Yes", "No")),
            "why": "reason",
            "model": "model",
            "version": "version",
            "prediction": "prediction_id",
            "at": "time",
            "day": field("time", "date"),
            "ref": "key",
        },
    )

    made = upsert.payload(seen)

    assert {name: made[name] for name in ("percent", "whole", "shown", "risky", "told")} == {
        "percent": 83.5,
        "whole": 83,
        "shown": "0.83",
        "risky": True,
        "told": "Yes",
    }
    assert (made["why"], made["model"], made["version"]) == ("ok", "payments", "1.2.0")
    assert (made["prediction"], made["ref"]) == (seen.id, "c-1")
    assert made["at"].endswith("Z")
    assert made["at"].startswith(made["day"])
    assert json.loads(json.dumps(made)) == made


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("missing", "payload"), [("skip", {"a": "ok"}), ("clear", {"a": "ok", "ml_score": None})]
)
def test_score_that_is_no_number_is_skipped_cleared_or_refused(
    score: float, missing: Any, payload: dict[str, Any]
) -> None:
    """No destination is sent a NaN; what happens instead is said by the mapping."""
    fields: dict[str, Any] = {"ml_score": field("score", missing=missing), "a": "reason"}
    seen = prediction(score)

    assert Upsert("contacts", "ext_id", fields).payload(seen) == payload
    with pytest.raises(PayloadError, match=r"'ml_score': there is no value; say missing='skip'"):
        SCORE.payload(seen)


def test_text_that_is_too_long_is_refused_or_cut() -> None:
    """It is an error that names the field and not the text, unless it may be cut."""
    long = field(lambda _: "secret " * 10, max_length=8)
    cut = dataclasses.replace(long, truncate=True)

    with pytest.raises(PayloadError, match=r"'note': 70 characters, at most 8 fit") as caught:
        Upsert("contacts", "ext_id", {"note": long}).payload(prediction())
    made = Upsert("contacts", "ext_id", {"note": cut}).payload(prediction())

    assert "secret" not in str(caught.value)
    assert made == {"note": "secret \N{HORIZONTAL ELLIPSIS}"}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("number", "much"),
        ("number", 10**400),
        ("integer", object()),
        ("boolean", 1),
        ("date", "2026-01-01"),
        ("datetime", 3.5),
    ],
)
def test_value_of_another_kind_is_refused(kind: Any, value: Any) -> None:
    """Nothing is guessed: what is no number is sent as none."""
    upsert = Upsert("contacts", "ext_id", {"x": field(lambda _: value, kind)})

    with pytest.raises(PayloadError, match="'x': "):
        upsert.payload(prediction())


def test_every_bad_field_is_named() -> None:
    """One look shows all that is wrong."""
    upsert = Upsert(
        "contacts", "ext_id", {"a": field(lambda _: None), "b": field("model", "number")}
    )

    with pytest.raises(PayloadError, match=r"record 'contacts': 'a': .*; 'b': a str is no number"):
        upsert.payload(prediction())


def test_entity_without_key_writes_no_record(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no record to write, which the log says once."""
    actions = Actions(outbox, [RULE])

    actions(prediction(key=None))
    actions(prediction(key=""))

    assert (actions.queued, actions.failed, actions.keyless) == (0, 0, 2)
    assert caplog.text.count("without a key") == 1
    with pytest.raises(PayloadError, match="call predict"):
        SCORE.payload(prediction(key=None))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Upsert("", "id", {"a": "score"}),
        lambda: Upsert("contacts", "", {"a": "score"}),
        lambda: Upsert("contacts", "id", {}),
        lambda: Upsert("contacts", "id", {"id": "key"}),
        lambda: Upsert("contacts", "id", {"a": "scoer"}),
        lambda: field("score", "float"),  # type: ignore[arg-type]
        lambda: field("score", missing="ignore"),  # type: ignore[arg-type]
        lambda: field("score", max_length=0),
        lambda: field("score", digits=-1),
        lambda: field("score", scale=math.nan),
        lambda: Rule("r", "m", every_score(), payload={"a": 1}, upsert=SCORE),
        lambda: Rule("r", "m", every_score(), upsert={"a": "score"}),  # type: ignore[arg-type]
    ],
)
def test_mapping_that_makes_no_sense_is_refused(make: Callable[[], object]) -> None:
    """A mapping is checked where it is written."""
    with pytest.raises(SettingsError):
        make()


class Keeping(Batches):
    """Keeps the payload of each action that it took."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.payloads: list[dict[str, Any]] = []

    def send(self, actions: Sequence[Action], /) -> list[Receipt | DeliveryError]:
        """Keep what was sent."""
        self.payloads += [dict(action.payload) for action in actions]
        return super().send(actions)


def deliver(outbox: Outbox, destination: Batches) -> Delivered:
    """Deliver once."""
    return Delivery(outbox, {DESTINATION: destination}, retries=NO_PAUSE).run_once()


def test_only_the_newest_value_of_a_field_is_sent(outbox: Outbox) -> None:
    """Older ones that wait are superseded, and said to be."""
    actions, keeping = Actions(outbox, [RULE]), Keeping()
    for score in (0.1, 0.2, 0.3):
        for key in "ab":
            actions.apply(prediction(score, key))

    assert deliver(outbox, keeping) == Delivered(sent=2)
    assert keeping.payloads == [{"ml_score": 0.3}] * 2
    assert counted(outbox) == {"sent": 2, "superseded": 4}


def test_events_are_sent_each(outbox: Outbox) -> None:
    """What happened twice is told twice."""
    event = Rule("score", "payments", every_score(), DESTINATION)
    actions, batches = Actions(outbox, [event]), Batches()
    for score in (0.1, 0.2, 0.3):
        actions.apply(prediction(score))

    assert deliver(outbox, batches) == Delivered(sent=3)


def test_other_fields_of_the_record_are_sent_as_well(outbox: Outbox) -> None:
    """A newer value replaces the same fields alone."""
    other = dataclasses.replace(
        RULE, name="label", upsert=Upsert("contacts", "ext_id", {"ml_reason": "reason"})
    )
    actions, keeping = Actions(outbox, [RULE, other]), Keeping()
    for score in (0.1, 0.2):
        actions.apply(prediction(score))

    assert deliver(outbox, keeping) == Delivered(sent=2)
    assert sorted(map(str, keeping.payloads)) == ["{'ml_reason': 'ok'}", "{'ml_score': 0.2}"]


def test_older_value_that_is_late_is_not_sent_over_a_newer(outbox: Outbox) -> None:
    """What was predicted first and queued last is old all the same."""
    older, newer = prediction(0.1), prediction(0.9)
    actions, keeping = Actions(outbox, [RULE]), Keeping()
    actions.apply(newer)
    deliver(outbox, keeping)

    actions.apply(older)

    assert deliver(outbox, keeping) == Delivered()
    assert keeping.payloads == [{"ml_score": 0.9}]
    assert counted(outbox) == {"sent": 1, "superseded": 1}


def test_value_that_is_being_sent_is_left_to_its_delivery(outbox: Outbox) -> None:
    """The newer one waits for it, and goes after it or in its place."""
    actions = Actions(outbox, [RULE])
    actions.apply(prediction(0.1))
    (sending,) = outbox.claim()
    actions.apply(prediction(0.9))

    meanwhile = outbox.claim()
    failed(outbox, sending, "busy", 0.0)

    assert meanwhile == ()
    (next_one,) = outbox.claim()
    assert next_one.payload == {"ml_score": 0.9}
    assert counted(outbox) == {"pending": 1, "superseded": 1}
    sent(outbox, next_one)


def test_refused_value_is_replaced_by_the_next(outbox: Outbox) -> None:
    """A value that is given up holds up no newer one."""
    actions = Actions(outbox, [RULE])
    batches = Batches(100, lambda one: one.score == 9.0)
    actions.apply(prediction(9.0))
    first = deliver(outbox, batches)
    actions.apply(prediction(0.5))

    assert (first, deliver(outbox, batches)) == (Delivered(dead=1), Delivered(sent=1))


def test_action_of_a_record_survives_the_outbox(outbox: Outbox) -> None:
    """What is claimed is what was queued, in every field that is sent."""
    queued = RULE.action(prediction(0.5))
    outbox.enqueue(queued)

    (claimed,) = outbox.claim()

    for name in ("id", "record", "id_field", "payload", "label", "reason", "trace", "slot"):
        assert getattr(claimed, name) == getattr(queued, name)
    assert claimed.event() == queued.event()
