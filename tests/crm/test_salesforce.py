"""Salesforce by its external ids: what is written, and what becomes of each row that is not."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from crm.fakes.salesforce import (
    CLIENT,
    KEY,
    LABEL,
    LEAD,
    PRIVATE,
    SCORE,
    SECRET,
    VERSION,
    Handler,
    Organization,
    connect,
    go_on,
    keys,
    lead,
    leads,
    organization,
    refuse,
    say,
    statuses,
)
from mlembed.errors import SettingsError
from mlembed_crm import Delivery, Outbox
from mlembed_crm.destinations import Field, Receipt
from mlembed_crm.destinations.endpoint import Answer
from mlembed_crm.destinations.salesforce import Salesforce, fields_of
from mlembed_crm.destinations.salesforce.upsert import Writing, upsert_request, upserted
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlembed_crm.action import Action


@pytest.fixture
def server() -> Iterator[Organization]:
    """Return a running organization."""
    with organization() as running:
        yield running


def failure(server: Organization, actions: Sequence[Action], **settings: Any) -> DeliveryError:
    """Return the error that a send raises."""
    with pytest.raises(DeliveryError) as caught:
        connect(server, **settings).send(actions)
    return caught.value


def errors(answers: Sequence[Any]) -> list[DeliveryError]:
    """Return the errors among *answers*."""
    return [answer for answer in answers if isinstance(answer, DeliveryError)]


def test_upsert_request_is_one_call_for_one_kind() -> None:
    """The body names the kind and the key of each record, and asks that one failure spoil none."""
    actions = [lead("1"), lead("ü", {SCORE: None, LABEL: "yes"})]

    path, content = upsert_request(VERSION, actions)

    assert path == "/services/data/v67.0/composite/sobjects/Lead/Ext_Id__c"
    assert json.loads(content) == {
        "allOrNone": False,
        "records": [
            {SCORE: 0.83, KEY: "1", "attributes": {"type": "Lead"}},
            {SCORE: None, LABEL: "yes", KEY: "ü", "attributes": {"type": "Lead"}},
        ],
    }


def test_send_makes_a_record_and_then_updates_it(server: Organization) -> None:
    """The same key is the same record, however often it is written."""
    crm = connect(server)

    first, second = crm.send([lead("42")])[0], crm.send([lead("42", {SCORE: 0.1})])[0]

    held = server.records[LEAD, KEY]
    assert isinstance(first, Receipt)
    assert (first.status, second.status) == (201, 200)
    assert first.remote_id == held["42"]["Id"]
    assert {key: row[SCORE] for key, row in held.items()} == {"42": 0.1}


def test_send_reassigns_no_record(server: Organization) -> None:
    """A score is no reason for Salesforce to run its assignment rules, which it does unless told."""
    seen: list[str | None] = []

    def look(handler: Handler) -> bool:
        seen.append(handler.headers["Sforce-Auto-Assign"])
        return True

    server.scripts.append(look)

    connect(server).send([lead()])

    assert seen == ["FALSE"]


def test_send_calls_once_for_200(server: Organization) -> None:
    """401 records of one kind are three calls, and the answers keep the order of the actions."""
    actions = leads(401)

    answers = connect(server).send(actions)

    held = server.records[LEAD, KEY]
    assert len(server.paths) == 3
    assert [answer.remote_id for answer in answers if isinstance(answer, Receipt)] == [
        held[str(action.key)]["Id"] for action in actions
    ]


def test_send_calls_once_for_each_kind(server: Organization) -> None:
    """Kinds do not mix in a call, and answers keep the order of the actions."""
    actions = [lead("1"), lead("1", record="Contact"), lead("2"), lead("2", record="Contact")]

    answers = connect(server).send(actions)

    assert [path.split("/")[-2] for path in server.paths] == ["Lead", "Contact"]
    assert [answer.remote_id for answer in answers if isinstance(answer, Receipt)] == [
        server.records[action.record, KEY][str(action.key)]["Id"] for action in actions
    ]


@pytest.mark.parametrize(
    ("action", "remedy"),
    [
        (lead(record=""), "upsert"),
        (lead(None), "key="),
        (lead(""), "key="),
        (lead(record="Lead/../Account"), "Lead"),
    ],
    ids=["event", "no-key", "empty-key", "path"],
)
def test_send_refuses_what_is_no_record(server: Organization, action: Action, remedy: str) -> None:
    """What cannot be written is not sent, says what to do, and does not hold up the others."""
    refused, taken = connect(server).send([action, lead("42")])

    assert isinstance(refused, DeliveryError)
    assert refused.permanent
    assert remedy in str(refused)
    assert isinstance(taken, Receipt)


def test_send_refuses_the_records_own_id(server: Organization) -> None:
    """Salesforce upserts by external ids only, and would refuse a whole call that does not."""
    (told,) = connect(server).send([dataclasses.replace(lead(), id_field="Id")])

    assert isinstance(told, DeliveryError)
    assert told.permanent
    assert "External ID" in str(told)


@pytest.mark.parametrize(
    "code",
    ["DUPLICATE_EXTERNAL_ID", "FIELD_INTEGRITY_EXCEPTION", "STRING_TOO_LONG", "ENTITY_IS_DELETED"],
)
def test_send_gives_up_a_row_that_is_refused(server: Organization, code: str) -> None:
    """One row is given up with its code and fields, never with its values; the others are taken."""
    server.refused["k-1"] = code, f"{PRIVATE} is too long", [SCORE]

    answers = connect(server).send(leads(3))

    (error,) = errors(answers)
    assert answers[1] is error
    assert error.permanent
    assert code in str(error)
    assert SCORE in str(error)
    assert PRIVATE not in str(error) + repr(error.args)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access"),
        ("SERVER_UNAVAILABLE", "later"),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "LeadTrigger: UNABLE_TO_LOCK_ROW, unable to"),
    ],
)
def test_send_tries_a_locked_row_again(server: Organization, code: str, message: str) -> None:
    """What passes by itself is tried again, also where a trigger failed of it."""
    server.refused["k-1"] = code, message, []

    (error,) = errors(connect(server).send(leads(3)))

    assert not error.permanent
    assert not error.unknown
    assert error.retry_after is None


def test_send_pauses_for_a_full_organization(server: Organization) -> None:
    """A row that finds no room says that everyone has to wait."""
    server.refused["k-1"] = "STORAGE_LIMIT_EXCEEDED", "full", []

    (error,) = errors(connect(server).send(leads(2)))

    assert not error.permanent
    assert error.retry_after == 3600


@pytest.mark.parametrize(
    "bend",
    [
        lambda rows: rows[:-1],
        lambda rows: [*rows, rows[0]],
        lambda _: [],
        lambda rows: {"results": rows},
        lambda _: None,
    ],
    ids=["short", "long", "empty", "object", "null"],
)
def test_send_believes_no_answer_of_another_length(server: Organization, bend: Any) -> None:
    """Rows are told apart by their place alone, so an answer that is not complete tells nothing."""
    server.bend = bend

    error = failure(server, leads(3))

    assert error.unknown
    assert not error.permanent


@pytest.mark.parametrize(
    "row",
    [None, "ok", {}, {"success": "true"}, {"success": False}, {"success": False, "errors": ["x"]}],
)
def test_upserted_takes_no_odd_row_for_written(row: Any) -> None:
    """A row that says neither yes nor no is sent again; the others stand."""
    body = json.dumps([{"success": True, "id": "00Q1"}, row]).encode()

    taken, odd = upserted(Answer(200, {}, body), 2)

    assert taken == Receipt(200, "00Q1")
    assert isinstance(odd, DeliveryError)
    assert odd.unknown
    assert not odd.permanent


def test_upserted_names_no_field_that_is_a_sentence() -> None:
    """Only what looks like a code or a field's name is shown."""
    error = {"statusCode": PRIVATE, "fields": [PRIVATE, 7, SCORE], "message": PRIVATE}
    body = json.dumps([{"success": False, "errors": [error]}]).encode()

    (told,) = upserted(Answer(200, {}, body), 1)

    assert str(told) == f"Salesforce refuses the record with no code: '{SCORE}'"


def test_send_finds_the_row_that_spoils_a_call(server: Organization) -> None:
    """A value that makes the whole call fail is found in about twice log2 n calls; the rest goes."""
    actions = leads(200)
    actions[77] = lead("bad", {SCORE: PRIVATE})

    answers = connect(server).send(actions)

    (error,) = errors(answers)
    assert answers[77] is error
    assert error.permanent
    assert "JSON_PARSER_ERROR" in str(error)
    assert PRIVATE not in str(error)
    assert len(server.paths) <= 17
    assert len(keys(server)) == 199


def test_send_blames_a_field_on_those_that_set_it(server: Organization) -> None:
    """A field that does not exist costs the actions that set it, in two calls more."""
    wrong = [lead(f"w-{number}", {"Typo__c": 1.0}) for number in range(50)]

    answers = connect(server).send([*wrong, *leads(50)])

    assert all(error.permanent and "'Typo__c'" in str(error) for error in errors(answers))
    assert len(errors(answers)) == 50
    assert keys(server) == {f"k-{number}" for number in range(50)}
    assert len(server.paths) == 3


@pytest.mark.parametrize(
    ("message", "headers", "pause"),
    [
        ("TotalRequests Limit exceeded.", {}, 3600),
        ("ConcurrentRequests Limit exceeded.", {}, 60),
        ("TotalRequests Limit exceeded.", {"Retry_After": "17"}, 17),
    ],
)
def test_send_waits_out_the_request_limit(
    server: Organization, message: str, headers: dict[str, str], pause: float
) -> None:
    """403 with that code is the rate limit: all wait, and nobody is locked out."""
    server.scripts.append(refuse(403, "REQUEST_LIMIT_EXCEEDED", message, **headers))

    error = failure(server, leads(3))

    assert error.retry_after == pause
    assert not error.stops
    assert not error.permanent


def test_send_calls_no_more_past_a_limit(server: Organization) -> None:
    """What was taken before stays taken, and the rest of the batch waits without a call."""
    server.scripts.extend([go_on, refuse(403, "REQUEST_LIMIT_EXCEEDED")])

    answers = connect(server).send(leads(600))

    assert statuses(answers[:200]) == [201] * 200
    assert {answer.retry_after for answer in errors(answers)} == {3600.0}
    assert str(answers[-1]).startswith("not sent: ")
    assert len(server.paths) == 2


@pytest.mark.parametrize(
    ("status", "code", "stops", "permanent"),
    [
        (403, "INSUFFICIENT_ACCESS", True, False),
        (410, "UNSUPPORTED_API_VERSION", True, False),
        (404, "NOT_FOUND", False, True),
        (300, "", False, True),
        (400, "UNABLE_TO_LOCK_ROW", False, False),
        (302, "", False, False),
        (429, "", False, False),
        (500, "UNKNOWN_EXCEPTION", False, False),
        (503, "SERVER_UNAVAILABLE", False, False),
    ],
)
def test_send_judges_a_refusal_of_the_whole_call(
    server: Organization, status: int, code: str, stops: Any, permanent: Any
) -> None:
    """What nobody can mend by waiting stops or is given up; the rest is tried again."""
    server.scripts.append(refuse(status, code, PRIVATE, Location="http://127.0.0.1:1/"))

    try:
        (error,) = connect(server).send([lead()])
    except DeliveryError as raised:
        error = raised

    assert isinstance(error, DeliveryError)
    assert (error.stops, error.permanent) == (stops, permanent)
    assert error.status == status
    assert code in str(error)
    assert PRIVATE not in str(error)
    assert len(server.paths) == 1


def test_send_pauses_after_too_many_requests(server: Organization) -> None:
    """Without a time to wait there is one of ours."""
    server.scripts.append(say(429, b"<html>"))

    assert failure(server, [lead()]).retry_after == 60


@pytest.mark.parametrize("content", [b"<html>maintenance</html>", b'[{"success": tr', b"[" * 9999])
def test_send_takes_no_page_for_an_answer(server: Organization, content: bytes) -> None:
    """A 200 whose body is no JSON says nothing of the records."""
    server.scripts.append(say(200, content))

    error = failure(server, [lead()])

    assert error.unknown
    assert not error.permanent
    assert "maintenance" not in str(error)


def test_send_keeps_what_came_before_a_failure(server: Organization) -> None:
    """A later group's failure is an error of that group; what was taken is not sent again."""
    server.scripts.extend([go_on, say(500, b"oops")])

    taken, failed = connect(server).send([lead("1"), lead("2", record="Contact")])

    assert isinstance(taken, Receipt)
    assert isinstance(failed, DeliveryError)
    assert failed.unknown


def test_send_again_after_a_lost_answer_writes_one_record(server: Organization) -> None:
    """A call whose answer did not come is sent again, and the record is the same."""
    server.answer_seconds = 1.5
    crm = connect(server, timeout_seconds=1.0)
    with pytest.raises(DeliveryError) as lost:
        crm.send([lead("42")])
    server.answer_seconds = 0

    (told,) = connect(server).send([lead("42")])

    assert lost.value.unknown
    assert not lost.value.reached
    assert told.status == 200
    assert keys(server) == {"42"}


def test_send_stops_calling_an_organization_that_is_gone(server: Organization) -> None:
    """One call that finds nobody is enough for the whole batch."""
    crm = connect(server, timeout_seconds=1.0)
    crm.send([lead("first")])
    server.answer_seconds = 1.5

    answers = crm.send(leads(1000))

    assert len(server.paths) == 2
    assert all(not error.permanent for error in errors(answers))
    assert errors(answers)[-1].retry_after == 0


def test_writing_ends_in_time(server: Organization) -> None:
    """What there is no time for is not sent, and it costs no attempt."""
    crm = connect(server)
    crm.send([lead("first")])
    server.answer_seconds = 0.6
    writing = Writing(crm._session, VERSION, time.monotonic() + 1.5)

    answers = writing.group(leads(2000), bulk=False)

    late = errors(answers)
    assert isinstance(answers[0], Receipt)
    assert late[-1].retry_after == 0
    assert len(server.paths) < 6


def test_writing_past_its_time_sends_nothing(server: Organization) -> None:
    """A batch whose time is over is given back without a call."""
    crm = connect(server)
    crm.send([lead("first")])
    writing = Writing(crm._session, VERSION, time.monotonic() - 1)

    answers = writing.group(leads(3), bulk=False)

    assert [error.retry_after for error in errors(answers)] == [0.0] * 3
    assert keys(server) == {"first"}


def test_delivery_empties_an_outbox_into_salesforce(server: Organization, tmp_path: Path) -> None:
    """The delivery takes the answers as they are: sent, given up and tried again."""
    outbox = Outbox(tmp_path / "actions.db")
    for action in leads(5):
        outbox.enqueue(action)
    server.refused = {
        "k-1": ("STRING_TOO_LONG", "", []),
        "k-2": ("UNABLE_TO_LOCK_ROW", "", []),
    }

    done = Delivery(outbox, {"crm": connect(server)}, lease_seconds=300).run_once()

    assert (done.sent, done.failed, done.dead) == (3, 1, 1)


def test_fields_of_tells_what_a_mapping_may_set() -> None:
    """Kinds, lengths, choices and uniqueness are Salesforce's own."""
    usual = {"createable": True, "updateable": True, "length": 0, "restrictedPicklist": False}
    strict = {**usual, "restrictedPicklist": True}
    choices = [{"value": "Hot", "active": True}, {"value": "Old", "active": False}]
    rows: list[Any] = [
        {**usual, "name": SCORE, "type": "double"},
        {**usual, "name": KEY, "type": "string", "length": 64, "externalId": True, "unique": True},
        {**usual, "name": "Code__c", "type": "string", "length": 9, "unique": True},
        {**usual, "name": "Rating", "type": "picklist", "length": 255, "picklistValues": choices},
        {**strict, "name": "Tier__c", "type": "picklist", "picklistValues": choices},
        {**usual, "name": "Id", "type": "id", "updateable": False},
        {**usual, "name": "Parent", "type": "reference", "updateable": False, "length": 18},
        {**usual, "name": "Place__c", "type": "location"},
        {**usual, "name": "When__c", "type": "datetime"},
        "odd",
    ]

    fields = fields_of(Answer(200, {}, json.dumps({"fields": rows}).encode()))

    assert fields == {
        SCORE: Field(kind="number"),
        KEY: Field(kind="text", max_length=64, unique=True),
        "Code__c": Field(kind="text", max_length=9),
        "Rating": Field(kind="text", max_length=255),
        "Tier__c": Field(kind="text", choices=("Hot",)),
        "Id": Field(writable=False),
        "Parent": Field(kind="text", writable=False, max_length=18),
        "Place__c": Field(),
        "When__c": Field(kind="datetime"),
    }


def test_describe_asks_for_the_kind(server: Organization) -> None:
    """The fields come from the organization itself."""
    server.described[LEAD] = [
        {"name": SCORE, "type": "percent", "createable": True, "updateable": True}
    ]

    assert connect(server).describe(LEAD) == {SCORE: Field(kind="number")}


@pytest.mark.parametrize("record", ["Nothing__c", "Lead/../x", ""])
def test_describe_knows_no_such_kind(server: Organization, record: str) -> None:
    """A kind that does not exist will not, and no path is made of a name that is none."""
    with pytest.raises(DeliveryError) as caught:
        connect(server).describe(record)

    assert caught.value.permanent
    assert not any(".." in path for path in server.paths)


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"fields": 1}', b"<html>"])
def test_describe_takes_nothing_odd(server: Organization, content: bytes) -> None:
    """An answer that describes no fields is an error, not a kind without any."""
    server.scripts.append(say(200, content))

    with pytest.raises(DeliveryError) as caught:
        connect(server).describe(LEAD)

    assert not caught.value.permanent


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"client_secret": None}, "client_secret"),
        ({"username": "a@b.co"}, "private_key"),
        ({"private_key": "x", "username": "y"}, "private_key"),
        ({"client_secret": None, "private_key": "x"}, "username"),
        ({"client_secret": None, "private_key": "x", "username": "y"}, "PEM"),
        ({"login_url": "https://login.salesforce.com"}, "login_url"),
        ({"client_id": ""}, "client_id"),
        ({"api_version": "67"}, "v67.0"),
        ({"api_version": "v67.0/../x"}, "v67.0"),
        ({"bulk_above": -1}, "bulk_above"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"timeout_seconds": 91}, "timeout_seconds"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds"),
        ({"domain": "http://acme.my.salesforce.com"}, "https"),
        ({"domain": "https://127.0.0.1"}, "allow_private"),
    ],
)
def test_salesforce_refuses_settings_that_cannot_work(
    settings: dict[str, Any], remedy: str
) -> None:
    """A malformed setting is told at once, with what to give instead, and no secret."""
    usual = {"domain": "https://a.my.salesforce.com", "client_id": CLIENT, "client_secret": SECRET}
    domain = {**usual, **settings}.pop("domain")
    given = {name: value for name, value in {**usual, **settings}.items() if name != "domain"}

    with pytest.raises(SettingsError, match=remedy) as caught:
        Salesforce(str(domain), **given)

    assert SECRET not in str(caught.value)


def test_salesforce_shows_no_secret() -> None:
    """Neither its name nor its repr holds more than the host."""
    crm = Salesforce("https://acme.my.salesforce.com", client_id=CLIENT, client_secret=SECRET)

    assert crm.name == "https://acme.my.salesforce.com"
    assert repr(crm) == "Salesforce('https://acme.my.salesforce.com/...')"
    assert (crm.limits.batch, crm.limits.call_seconds, crm.limits.idempotent) == (10_000, 240, True)


def test_send_works_through_a_transport() -> None:
    """A transport carries every call, logins too, so that hosts can test without a socket."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token"):
            return httpx.Response(200, json={"access_token": "t"})
        return httpx.Response(200, json=[{"success": True, "id": "00Q1", "created": True}])

    crm = Salesforce(
        "https://acme.my.salesforce.com",
        client_id=CLIENT,
        client_secret=SECRET,
        transport=httpx.MockTransport(answer),
    )

    assert crm.send([lead()]) == [Receipt(201, "00Q1")]
