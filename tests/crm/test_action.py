"""The event that is sent: its form, its bytes, and what cannot be sent."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.receiver import RULE, action, prediction
from mlembed_crm.action import MAX_PAYLOAD_BYTES, payload_text
from mlembed_crm.errors import PayloadError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_event_is_a_structured_cloudevent() -> None:
    """The body holds every required attribute of CloudEvents 1.0, and the decision as data."""
    seen = prediction(0.91, "c-42")

    event = json.loads(RULE.action(seen).event())

    assert event["specversion"] == "1.0"
    assert event["id"] == RULE.action(seen).id
    assert event["source"] == "/mlembed/models/payments"
    assert event["type"] == "mlembed.action"
    assert event["subject"] == "c-42"
    assert dt.datetime.fromisoformat(event["time"]).timestamp() == pytest.approx(
        seen.time_ns / 1e9, abs=1e-5
    )
    assert event["data"] == {
        "rule": "hold-payment",
        "model": "payments",
        "version": "1.2.0",
        "prediction_id": seen.id,
        "key": "c-42",
        "score": 0.91,
        "label": None,
        "reason": "ok",
        "payload": {},
    }


def test_event_without_key_has_no_subject() -> None:
    """CloudEvents forbids an empty subject, so there is none."""
    assert "subject" not in json.loads(action(key=None).event())


@given(payload=st.dictionaries(st.text(), JSON, max_size=3))
def test_payload_survives_as_json(payload: dict[str, Any]) -> None:
    """What has a JSON form arrives as it was given, whatever its script."""
    assert json.loads(payload_text(payload)) == payload


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_payload_turns_numbers_json_lacks_into_null(number: float) -> None:
    """The text is JSON that every parser reads, which NaN is not."""
    assert payload_text({"a": [number, {"b": number}]}) == '{"a":[null,{"b":null}]}'


def test_event_writes_an_infinite_score_as_null() -> None:
    """A regression model may answer infinity; the event stays JSON."""
    assert json.loads(action(score=math.inf).event())["data"]["score"] is None


def _loop() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    return loop


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({"a": [1, b"x"]}, r"payload\.a\[1\]: bytes"),
        ({"a": {1: 2}}, r"payload\.a: names must be text"),
        ({"a": "\ud800"}, "surrogate"),
        ({"a": "x" * MAX_PAYLOAD_BYTES}, "at most 65536"),
        (_loop(), "nested"),
        ([1], "no mapping"),
    ],
)
def test_payload_names_the_place_of_what_cannot_be_sent(payload: Any, says: str) -> None:
    """The error says where and what type, and shows no value."""
    with pytest.raises(PayloadError, match=says):
        payload_text(payload)
