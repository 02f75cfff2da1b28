"""Rules against the fields of their destinations: what would not be taken is told before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from crm.batching import Batches
from crm.receiver import prediction
from mlembed_crm import HubSpot, Odoo, Receipt, Rule, Tryton, Upsert, every_score, field
from mlembed_crm.checking import check
from mlembed_crm.destinations import Field
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = {
    "ext_id": Field(kind="text", unique=True),
    "email": Field(kind="text"),
    "score": Field(kind="number"),
    "percent": Field(kind="integer"),
    "risky": Field(kind="boolean"),
    "day": Field(kind="date"),
    "note": Field(kind="text", max_length=20),
    "version": Field(kind="text", max_length=64),
    "locked": Field(kind="number", writable=False),
    "owner": Field(kind=None),
    "tier": Field(kind="text", choices=("high", "low")),
    "strict": Field(kind="text", strict=True, choices=("1", "2")),
}


class Telling(Batches):
    """A destination that can tell of its fields."""

    def __init__(self, error: DeliveryError | None = None) -> None:
        super().__init__()
        self.asked: list[str] = []
        self._error = error

    def describe(self, record: str, /) -> Mapping[str, Field]:
        """Return the fields of every kind of record."""
        self.asked.append(record)
        if self._error is not None:
            raise self._error
        return FIELDS


def found(fields: dict[str, Any], key: str = "ext_id") -> list[tuple[str, str, str]]:
    """Return level, field and problem of each finding about one rule."""
    rule = Rule("r", "m", every_score(), "crm", upsert=Upsert("contacts", key, fields))
    return [(one.level, one.field, one.problem) for one in check([rule], {"crm": Telling()})]


def test_rule_that_fits_has_nothing_to_be_told() -> None:
    """Kinds, lengths and choices that fit are passed over in silence."""
    fields = {
        "score": field("score"),
        "percent": field("score", "integer", scale=100),
        "risky": field(lambda one: one.score > 0.5, "boolean"),
        "day": field("time", "date"),
        "note": field("label", max_length=20, truncate=True),
        "version": "version",
        "email": field("score", "text"),
        "tier": field("label", words=("high", "low")),
        "strict": field("label", words=("1", "2")),
    }

    assert found(fields) == []


@pytest.mark.parametrize(
    ("fields", "level", "says"),
    [
        ({"scroe": "score"}, "error", "no such field; is 'score' meant?"),
        ({"xyzzy": "score"}, "error", "no such field"),
        ({"locked": "score"}, "error", "read-only"),
        ({"owner": "score"}, "error", "no mapping can give"),
        ({"score": "version"}, "error", "holds a number and is given a text"),
        ({"percent": "score"}, "error", "say kind='integer'"),
        ({"day": "time"}, "error", "say kind='date'"),
        ({"risky": "label"}, "error", "holds a boolean"),
        ({"strict": "score"}, "error", "holds a text and is given a number; say kind='text'"),
        ({"strict": field("score", "integer")}, "error", "say kind='text'"),
        ({"strict": field("label", "boolean")}, "error", "say kind='text'"),
        ({"note": "version"}, "warning", "20 characters fit"),
        ({"note": field(lambda _: "x")}, "warning", "say max_length=20, truncate=True"),
        ({"note": field("label", max_length=30)}, "warning", "20 characters fit"),
        ({"tier": "version"}, "warning", "one of high, low alone"),
        ({"tier": field("label", words=("High", "low"))}, "error", "and not High"),
    ],
)
def test_field_that_would_not_be_taken_is_told(
    fields: dict[str, Any], level: str, says: str
) -> None:
    """Which field, why, and what to do about it."""
    ((told, name, problem),) = found(fields)

    assert (told, name) == (level, next(iter(fields)))
    assert says in problem


def test_key_must_be_there_and_ought_to_be_unique() -> None:
    """What identifies records is looked at as well."""
    assert [one[:2] for one in found({"score": "score"}, "nope")] == [("error", "nope")]
    assert [one[:2] for one in found({"score": "score"}, "email")] == [("warning", "email")]


def test_destination_is_asked_once_for_each_kind_of_record() -> None:
    """However many rules write to it."""
    crm = Telling()
    rules = [
        Rule(f"r{n}", "m", every_score(), "crm", upsert=Upsert(kind, "ext_id", {"score": "score"}))
        for n, kind in enumerate(["contacts", "contacts", "deals"])
    ]

    assert list(check(rules, {"crm": crm})) == []
    assert crm.asked == ["contacts", "deals"]


def test_rule_without_a_destination_and_an_event_for_a_crm_are_told() -> None:
    """Their actions would wait for ever, or be refused each."""
    rules = [Rule("a", "m", every_score(), "cmr"), Rule("b", "m", every_score(), "crm")]

    first, second = check(rules, {"crm": Telling()})

    assert "no such destination; it has crm" in str(first)
    assert "give the rule upsert" in str(second)


def test_destination_that_cannot_be_asked_is_told_with_its_reason() -> None:
    """A wrong token is found by the check, not in the night."""
    crm = Telling(DeliveryError("HTTP 401 Unauthorized", stops=True))
    rule = Rule("r", "m", every_score(), "crm", upsert=Upsert("contacts", "id", {"a": "score"}))

    (finding,) = check([rule], {"crm": crm})

    assert finding.level == "error"
    assert "HTTP 401 Unauthorized" in finding.problem


def test_destination_without_fields_takes_any_event() -> None:
    """A webhook has no schema to check against."""
    assert list(check([Rule("r", "m", every_score(), "desk")], {"desk": Batches()})) == []


def erp(request: httpx.Request) -> httpx.Response:
    """Answer as an Odoo or a Tryton whose model has but texts, and takes whatever is written."""
    method = str(request.url).rsplit("/", 1)[-1]
    fields = {"id": {"type": "integer"}, "ref": {"type": "char"}, "note": {"type": "char"}}
    told: Any = {"fields_get": fields, "search_read": [{"id": 7, "ref": "c-1"}], "write": True}
    rpc: dict[str, Any] = {"method": "", **json.loads(request.content or b"{}")}
    if "db" in rpc["method"]:
        return httpx.Response(200, json={"result": [7, "session", None]})
    if rpc["method"]:
        method = rpc["method"].rsplit(".", 1)[-1]
        return httpx.Response(200, json={"result": told.get(method)})
    return httpx.Response(200, json=told.get(method))


def hubspot(request: httpx.Request) -> httpx.Response:
    """Answer as a HubSpot whose properties are texts."""
    if request.method == "GET":
        known = [{"name": "ref", "type": "string", "hasUniqueValue": True}]
        return httpx.Response(200, json={"results": [*known, {"name": "note", "type": "string"}]})
    (row,) = json.loads(request.content)["inputs"]
    told = {"id": "7", "objectWriteTraceId": row["objectWriteTraceId"]}
    return httpx.Response(200, json={"status": "COMPLETE", "results": [told]})


@pytest.mark.parametrize(
    "value",
    [
        field("score"),
        field("score", "integer"),
        field(lambda _: True, "boolean"),
        field("time", "date"),
        field("time"),
        field("score", "text"),
    ],
    ids=lambda value: value.kind,
)
@pytest.mark.parametrize(
    "crm",
    [
        Odoo("https://x.example", "db", "key", transport=httpx.MockTransport(erp)),
        Tryton(
            "https://x.example",
            "db",
            user="u",
            password="p",  # noqa: S106  of a server that there is not
            transport=httpx.MockTransport(erp),
        ),
        HubSpot("token", transport=httpx.MockTransport(hubspot)),
    ],
    ids=["odoo", "tryton", "hubspot"],
)
def test_check_and_destination_agree_on_what_a_text_takes(crm: Any, value: Any) -> None:
    """What is approved is sent, and what is an error would be refused."""
    rule = Rule("r", "m", every_score(), "crm", upsert=Upsert("m", "ref", {"note": value}))

    levels = {finding.level for finding in check([rule], {"crm": crm})}
    (answer,) = crm.send([rule.action(prediction(0.5, "c-1"))])

    assert ("error" not in levels) == isinstance(answer, Receipt)
