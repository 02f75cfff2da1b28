"""Bodies that are huge, deep, of the wrong type, with duplicate keys or NaN are told to be so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from endpoints.asking import ID, JSON, PLAIN, kind, post
from mlembed.endpoints import Request
from mlembed.testing import capture_predictions

if TYPE_CHECKING:
    from mlembed.endpoints import Endpoints

PREDICT = "models/toy/predict"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "json"),
        (b"{", "json"),
        (b"\xef\xbb\xbf{}", "json"),
        (b'{"record":{"age":\xff}}', "json"),
        (b'{"record":{"age":NaN}}', "json"),
        (b'{"record":{"age":-Infinity}}', "json"),
        (b'{"record":{"age":1e999}}', "json"),
        (b'{"record":{"age":1,"age":2}}', "json"),
        (b'{"record":{},"record":{}}', "json"),
        (b'{"record":{"town":"\\ud800"}}', "json"),
        (b'{"record":' + b"[" * 100 + b"]" * 100 + b"}", "json"),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "json"),
        (b'{"record":{"age":' + b"1" * 5000 + b"}}", "json"),
        (b"[]", "request"),
        (b"null", "request"),
        (b'"record"', "request"),
        (b"1.5", "request"),
        (b"true", "request"),
        (b"{}", "request"),
        (b'{"record":null}', "request"),
        (b'{"record":[]}', "request"),
        (b'{"record":"a"}', "request"),
        (b'{"record":{},"more":1}', "request"),
        (b'{"record":{},"records":[]}', "request"),
        (b'{"record":{},"keys":[]}', "request"),
        (b'{"key":"a"}', "request"),
        (b'{"keys":[]}', "request"),
        (b'{"records":{}}', "request"),
        (b'{"records":[1]}', "request"),
        (b'{"records":[{},null]}', "request"),
        (b'{"records":[{}],"keys":"a"}', "request"),
        (b'{"records":[{}],"keys":[]}', "request"),
        (b'{"records":[{}],"keys":[[]]}', "request"),
        (b'{"record":{},"key":1.5}', "request"),
        (b'{"record":{},"key":true}', "request"),
        (b'{"records":[' + b"{}," * 50 + b"{}]}", "too-many-records"),
        (b'{"record":{}}' + b" " * 20_000, "too-large"),
        (b'{"record":{"age":[1]}}', "record"),
        (b'{"record":{"age":{"a":1}}}', "record"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_body_is_told_to_be_one(endpoints: Endpoints, body: bytes, expected: str) -> None:
    """Each has the type of its problem, and nothing is predicted."""
    with capture_predictions() as made:
        answer = endpoints.answer(Request("POST", PREDICT, JSON, body))

    assert kind(answer) == expected
    assert made == []


def test_a_body_that_says_it_is_too_large_is_not_looked_at(endpoints: Endpoints) -> None:
    """An adapter need not read what is longer than the limit."""
    for said in ("20001", "9" * 4000):
        answer = endpoints.answer(Request("POST", PREDICT, JSON | {"content-length": said}))
        assert kind(answer) == "too-large"
    answer = endpoints.answer(Request("POST", PREDICT, JSON | {"content-length": "many"}))
    assert kind(answer) == "request"


@pytest.mark.parametrize(
    ("headers", "is_read"),
    [
        (JSON, True),
        ({"content-type": "Application/JSON ; Charset=utf-8"}, True),
        ({"content-type": 'application/json; charset="utf-8"'}, True),
        ({}, False),
        ({"content-type": ""}, False),
        ({"content-type": "text/plain"}, False),
        ({"content-type": "application/x-www-form-urlencoded"}, False),
        ({"content-type": "multipart/form-data; boundary=a"}, False),
        ({"content-type": "application/json; charset=utf-16"}, False),
        ({"content-type": "application/octet-stream"}, False),
        (JSON | {"content-encoding": "gzip"}, False),
        (JSON | {"content-encoding": "identity"}, True),
    ],
)
def test_only_json_is_read(endpoints: Endpoints, headers: dict[str, str], *, is_read: bool) -> None:
    """What a form of another site can send is refused, so a browser cannot be made to ask."""
    body = json.dumps({"record": PLAIN}).encode()

    answer = endpoints.answer(Request("POST", PREDICT, headers, body))

    assert answer.status == (200 if is_read else 415)
    assert is_read or kind(answer) == "media-type"


def test_problems_name_fields_and_show_no_value(endpoints: Endpoints) -> None:
    """Names are cut, and neither keys nor values of a body come back."""
    body = {"record": PLAIN, "x" * 500: "secret"}

    status, answer = post(endpoints, PREDICT, body)

    assert status == 422
    assert answer["problems"] == [f"'{'x' * 64}' is unknown"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"value": None, "id": ID},
        {"value": [], "id": ID},
        {"value": True, "id": 7},
        {"value": True, "id": ID, "more": 1},
        {"value": True, "id": ID, "revision": -1},
        {"value": True, "id": ID, "revision": 2**40},
        {"value": True, "id": ID, "revision": True},
        {"value": True, "id": ID, "revision": "1"},
        {"value": True, "key": 1.5},
        {"value": True, "id": ID, "observed_at": 7},
        {"value": True, "id": ID, "observed_at": "yesterday"},
        {"value": True, "id": ID, "observed_at": "2026-01-02T03:04:05"},
        {"value": True, "id": ID, "observed_at": "0001-01-01T00:00:00+23:59"},
    ],
)
def test_a_bad_outcome_is_refused(endpoints: Endpoints, body: dict[str, Any]) -> None:
    """An outcome that is not as described is told, and not taken."""
    status, answer = post(endpoints, "models/toy/outcome", body)

    assert (status, answer["type"]) == (422, "urn:problem-type:mlembed:request")


@pytest.mark.parametrize(
    "body",
    [
        {"value": True},
        {"value": True, "id": "", "key": ""},
        {"value": "", "id": ID},
        {"value": True, "id": ID, "observed_at": "1601-01-02T03:04:05Z"},
    ],
)
def test_an_outcome_that_cannot_be_joined_is_refused(
    endpoints: Endpoints, body: dict[str, Any]
) -> None:
    """What the library would not take is told with the library's words."""
    status, answer = post(endpoints, "models/toy/outcome", body)

    assert (status, answer["type"]) == (422, "urn:problem-type:mlembed:outcome")
