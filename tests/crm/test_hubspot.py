"""HubSpot: what is written, and what is made of every answer."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from crm.fakes.hubspot import TOKEN, Account, hubspot
from crm.receiver import DESTINATION, NO_PAUSE, action
from mlembed.errors import SettingsError
from mlembed_crm import Delivery
from mlembed_crm.destinations import Field, Receipt
from mlembed_crm.destinations.hubspot import HubSpot
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crm.fakes.hubspot import HubSpotFake
    from mlembed_crm import Action, Outbox

UPSERT = "/crm/objects/2026-09/contacts/batch/upsert"


@pytest.fixture
def account() -> Account:
    """Return an empty account without a socket."""
    return Account()


@pytest.fixture
def fake() -> Iterator[HubSpotFake]:
    """Return an empty account behind a socket."""
    with hubspot() as running:
        yield running


def connected(account: Account, **arguments: Any) -> HubSpot:
    """Return the destination that writes to *account*."""
    return HubSpot(TOKEN, **{"transport": account.transport(), **arguments})


def answering(status: int, body: Any = None, **headers: str) -> HubSpot:
    """Return a destination whose every call is answered so."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def handle(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=content, headers=named)

    return HubSpot(TOKEN, transport=httpx.MockTransport(handle))


def write(key: str | None = "c-1", *, record: str = "contacts", **fields: Any) -> Action:
    """Return an action that writes *fields* of the record of *key*."""
    payload = fields or {"ml_score": 0.83}
    return dataclasses.replace(action(key), record=record, id_field="ext_id", payload=payload)


def writes(n_actions: int, **arguments: Any) -> list[Action]:
    """Return so many actions, of keys of their own."""
    return [write(f"c-{i}", **arguments) for i in range(n_actions)]


def row(one: Action, number: int = 1, **changed: Any) -> dict[str, Any]:
    """Return the row of an answer in which *one* was written."""
    made = {"id": str(number), "objectWriteTraceId": one.id, "properties": {"ext_id": one.key}}
    return {**made, **changed}


def bad(category: str = "VALIDATION_ERROR", message: str = "", **context: Any) -> dict[str, Any]:
    """Return an error of an answer."""
    return {"status": "error", "category": category, "message": message, "context": context}


def refusal(destination: HubSpot, actions: Sequence[Action]) -> DeliveryError:
    """Return the error that is raised for all of *actions*."""
    with pytest.raises(DeliveryError) as caught:
        destination.send(actions)
    return caught.value


def only_error(told: Sequence[Receipt | DeliveryError]) -> DeliveryError:
    """Return the one thing told, which is an error."""
    (error,) = told
    assert isinstance(error, DeliveryError)
    return error


def test_send_writes_each_value_as_a_text(account: Account) -> None:
    """HubSpot takes texts alone; an empty one clears a property."""
    account.properties |= {f"p{i}": {"type": "string"} for i in range(8)}
    values: list[Any] = [
        0.83,
        7,
        True,
        False,
        None,
        "Ünïcode 🦆",
        "2026-11-25T10:00:00.123Z",
        1e-07,
    ]
    fields: dict[str, Any] = {f"p{i}": value for i, value in enumerate(values)}
    one = write("c-1", **fields)

    (receipt,) = connected(account).send([one])

    (call,) = account.calls
    (sent,) = call.body["inputs"]
    texts = ["0.83", "7", "true", "false", "", values[5], values[6], "0.0000001"]
    assert list(sent.pop("properties").values()) == texts
    assert sent == {"id": "c-1", "idProperty": "ext_id", "objectWriteTraceId": one.id}
    assert (call.method, call.path) == ("POST", UPSERT)
    assert receipt == Receipt(200, "501")


def test_send_twice_leaves_one_record(account: Account) -> None:
    """A record is found by its key, so what arrives again changes nothing."""
    one = write()

    first, again = connected(account).send([one]), connected(account).send([one])

    assert first == again
    assert len(account.records("contacts")) == 1


def test_send_answers_in_the_order_of_the_actions(account: Account) -> None:
    """Rows are known by their trace ids, in whatever order HubSpot answers."""
    actions = writes(5)

    told = connected(account).send(actions)

    ids = {one["ext_id"]: str(number) for number, one in account.records("contacts").items()}
    assert told == [Receipt(200, ids[one.key or ""]) for one in actions]


@pytest.mark.parametrize("key", ["A.User@Example.com", "a.user@example.com"])
def test_send_knows_rows_without_a_trace_by_their_key(account: Account, key: str) -> None:
    """Where trace ids do not come back, the key does, an e-mail address in lower case."""
    account.traces = False
    actions = [
        dataclasses.replace(write(one), id_field="email") for one in (key, "b@example.com", "c@x.y")
    ]

    told = connected(account).send(actions)

    ids = {one["email"]: str(number) for number, one in account.records("contacts").items()}
    assert told == [Receipt(200, ids[(one.key or "").lower()]) for one in actions]


def test_send_takes_as_many_nameless_rows_as_actions() -> None:
    """If as many were written as were sent, all were, though not which is which."""
    rows = [{"id": str(i), "properties": {"email": "other"}} for i in range(2)]

    told = answering(200, {"status": "COMPLETE", "results": rows}).send(writes(2))
    alone = answering(200, {"status": "COMPLETE", "results": rows[:1]}).send(writes(1))

    assert told == [Receipt(200), Receipt(200)]
    assert alone == [Receipt(200, "0")]


@pytest.mark.parametrize("status", [200, 207])
def test_send_tells_each_row_its_own_error(status: int) -> None:
    """Errors of rows are found in 200 and 207 alike, by trace id or by key."""
    actions = writes(4)
    errors = [
        bad(objectWriteTraceId=[actions[2].id]),
        bad("OBJECT_NOT_FOUND", ids=["c-0"]),
        bad("INTERNAL_ERROR", objectWriteTraceId=actions[3].id),
    ]
    body = {"status": "COMPLETE", "results": [row(actions[1], 7)], "errors": errors}

    told = answering(status, body).send(actions)

    assert told[1] == Receipt(status, "7")
    assert [getattr(one, "permanent", None) for one in told] == [True, None, True, False]
    assert "VALIDATION_ERROR" in str(told[2])


def test_send_tells_the_first_of_a_rows_errors() -> None:
    """A row may be wrong in several ways; one of them is enough."""
    one = write()
    errors = [bad(name, objectWriteTraceId=[one.id]) for name in ("VALIDATION_ERROR", "CONFLICT")]

    error = only_error(answering(207, {"errors": errors}).send([one]))

    assert error.permanent


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("RATE_LIMITS", {"retry_after": 10.0}),
        ("MISSING_SCOPES", {"stops": True}),
        ("FORBIDDEN", {"permanent": True}),
        ("CONFLICT", {"permanent": False}),
        ("SOMETHING_NEW", {"permanent": False, "stops": False}),
    ],
)
def test_send_judges_a_row_by_its_category(category: str, expected: dict[str, Any]) -> None:
    """What may pass is tried again; what the account does not allow stops; the rest is final."""
    one = write()
    body = {"results": [], "errors": [bad(category, objectWriteTraceId=[one.id])]}

    error = only_error(answering(207, body).send([one]))

    assert {name: getattr(error, name) for name in expected} == expected
    assert not error.unknown


def test_an_error_in_200_is_an_error() -> None:
    """The status line alone says nothing: a body may tell of a failure."""
    error = refusal(answering(200, bad()), writes(2))

    assert error.permanent


@pytest.mark.parametrize(
    ("results", "errors"),
    [
        pytest.param([1], [], id="a missing row"),
        pytest.param([1, 0, 0], [], id="a row twice"),
        pytest.param([1, 0], [0], id="a row and an error"),
    ],
)
def test_send_takes_no_row_for_granted(results: list[int], errors: list[int]) -> None:
    """An action without exactly one row is not known to be written; others are not held up."""
    actions = writes(2)
    body = {
        "results": [row(actions[place]) for place in results],
        "errors": [bad(objectWriteTraceId=[actions[place].id]) for place in errors],
    }

    unclear, receipt = answering(200, body).send(actions)

    assert isinstance(unclear, DeliveryError)
    assert unclear.unknown
    assert not unclear.permanent
    assert receipt == Receipt(200, "1")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda a: {"results": [row(a[0]), row(a[1]), row(write())]}, id="surplus"),
        pytest.param(lambda a: {"results": [row(a[0]), {"id": "5"}, {"id": "6"}]}, id="nameless"),
        pytest.param(lambda a: {"results": [row(a[0])], "status": "PROCESSING"}, id="unfinished"),
        pytest.param(lambda a: {"results": [row(a[0])], "status": "CANCELED"}, id="cancelled"),
        pytest.param(lambda _: {"results": "none"}, id="no list"),
        pytest.param(lambda _: {"results": [7]}, id="no rows"),
        pytest.param(lambda _: [], id="no object"),
        pytest.param(lambda a: {"results": [row(a[0]), row(a[1])], "errors": [bad()]}, id="both"),
    ],
)
def test_send_believes_no_answer_to_something_else(body: Any) -> None:
    """An answer that does not fit the call says nothing of it, so it is made again."""
    actions = writes(2)

    error = refusal(answering(200, body(actions)), actions)

    assert error.unknown
    assert not error.permanent


def test_an_error_of_nobody_is_found_by_halving() -> None:
    """Where HubSpot does not say whose an error is, the batch is refused, to be sent in halves."""
    actions = writes(3)
    body = {"results": [row(actions[0])], "errors": [bad("CONFLICT"), bad("VALIDATION_ERROR")]}

    assert refusal(answering(207, body), actions).permanent
    assert only_error(answering(207, {"results": [], "errors": [bad()]}).send(writes(1))).permanent


def test_delivery_finds_the_one_bad_row_among_many(account: Account, outbox: Outbox) -> None:
    """A batch that is refused for one row costs that row alone, in a handful of calls."""
    for one in [*writes(40), write("bad", ml_score="high"), *writes(100)[41:]]:
        outbox.enqueue(one)

    done = Delivery(outbox, {DESTINATION: connected(account)}, retries=NO_PAUSE).run_once()

    assert (done.sent, done.dead) == (99, 1)
    assert len(account.records("contacts")) == 99
    assert len(account.calls) <= 9


def test_send_makes_one_call_a_kind_of_record(account: Account) -> None:
    """Kinds of records and key fields go in calls of their own, answered in the given order."""
    actions = [
        write("a", record="contacts"),
        write("b", record="companies"),
        write("c", record="contacts"),
        dataclasses.replace(write("d@x.y"), id_field="email"),
    ]

    told = connected(account).send(actions)

    assert [len(call.body["inputs"]) for call in account.calls] == [2, 1, 1]
    assert all(isinstance(one, Receipt) for one in told)
    assert len(account.records("companies")) == 1


def test_a_refused_kind_takes_nothing_from_the_others(account: Account) -> None:
    """Of several kinds, each bad row is found and the rest is written, in one go."""
    deals = [write(f"d-{i}", record="deals", ml_score=i) for i in range(6)]
    deals += [write("bad", record="deals", ml_score="high")]
    actions = [*writes(3), *deals, write("x", record="companies")]

    told = connected(account).send(actions)

    failed = {one.key for one, answer in zip(actions, told, strict=True) if _is_final(answer)}
    assert failed == {"bad"}
    assert sum(isinstance(one, Receipt) for one in told) == 10


@pytest.mark.parametrize(
    ("how", "arguments"),
    [("limit", {"retry_after": 3}), ("status", {"status": 401}), ("drop", {})],
)
def test_a_failure_of_a_later_kind_keeps_what_came_before(
    account: Account, how: str, arguments: dict[str, Any]
) -> None:
    """What was written is told so, though HubSpot takes no more; what was not, is next."""
    account.fail_next("")
    account.fail_next(how, **arguments)
    actions = [write("a"), write("b", record="deals"), write("c", record="companies")]

    told = connected(account).send(actions)

    assert isinstance(told[0], Receipt)
    assert all(isinstance(one, DeliveryError) and not one.permanent for one in told[1:])
    assert len(account.calls) == 2


def test_kinds_that_there_is_no_time_for_wait(account: Account) -> None:
    """A slow HubSpot holds a batch of several kinds no longer than it said, at no one's cost."""
    prompt = account.transport()

    def slow(request: httpx.Request) -> httpx.Response:
        time.sleep(0.3)
        return prompt.handle_request(request)

    destination = HubSpot(TOKEN, transport=httpx.MockTransport(slow), timeout_seconds=0.2)

    written, late = destination.send([write("a"), write("b", record="deals")])

    assert isinstance(written, Receipt)
    assert isinstance(late, DeliveryError)
    assert late.retry_after == 0
    assert len(account.calls) == 1


@pytest.mark.parametrize(
    ("changed", "remedy"),
    [
        ({"record": "", "id_field": ""}, "give the rule an upsert"),
        ({"key": None}, r"predict\(record, key="),
        ({"key": ""}, r"predict\(record, key="),
        ({"payload": {"list": [1]}}, "'list': a list"),
    ],
)
def test_what_is_no_record_is_given_up_alone(
    account: Account, changed: dict[str, Any], remedy: str
) -> None:
    """An event, or an action without a key, cannot be written, and says what would help."""
    told = connected(account).send([dataclasses.replace(write(), **changed), write("c-2")])
    (alone,) = connected(account).send([dataclasses.replace(write(), **changed)])

    assert _is_final(told[0])
    with pytest.raises(DeliveryError, match=remedy):
        raise only_error([alone])
    assert isinstance(told[1], Receipt)
    assert len(account.calls) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_stops_the_destination(account: Account, status: int) -> None:
    """Nobody sends more until somebody gives another token, and it says which."""
    account.fail_next("status", status=status, category="MISSING_SCOPES")

    error = refusal(connected(account), writes(2))

    assert error.stops
    assert "MISSING_SCOPES" in str(error)
    assert "token and the scopes" in str(error)


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        ({"retry_after": 7}, 7),
        ({}, 10),
        ({"policy": "DAILY"}, 3600),
        ({"policy": "DAILY", "retry_after": 60}, 60),
        ({"policy": "SOMETHING NEW"}, 10),
    ],
)
def test_send_waits_as_long_as_hubspot_asks(
    account: Account, arguments: dict[str, Any], seconds: float
) -> None:
    """The limit of calls pauses the whole destination, by the header or by the policy."""
    account.fail_next("limit", **arguments)

    error = refusal(connected(account), writes(1))

    assert error.retry_after == seconds
    assert not error.unknown


@pytest.mark.parametrize(("status", "seconds"), [(423, 2), (477, 3600)])
def test_send_waits_for_an_account_that_is_busy(status: int, seconds: float) -> None:
    """An account that is locked or moved is left alone, and told so."""
    assert refusal(answering(status, bad()), writes(1)).retry_after == seconds


@pytest.mark.parametrize(
    ("status", "body", "unknown"),
    [
        (500, bad(), True),
        (502, b"<html>", True),
        (503, b"", False),
        (302, b"", False),
        (200, b"<html>", True),
        (204, b"", True),
        (400, b"<html>a proxy</html>", True),
        (404, b"", True),
    ],
)
def test_what_is_not_hubspots_word_is_tried_again(status: int, body: Any, *, unknown: bool) -> None:
    """Failures and pages of proxies say nothing of an action, so it is sent again."""
    error = refusal(answering(status, body), writes(2))

    assert not error.permanent
    assert not error.stops
    assert error.unknown is unknown


@pytest.mark.parametrize("status", [400, 404, 409, 413])
def test_a_batch_is_refused_for_the_sake_of_a_row(status: int) -> None:
    """A refusal of many is permanent, so that the delivery finds the one."""
    assert refusal(answering(status, bad()), writes(2)).permanent


def test_a_conflict_of_one_row_may_pass() -> None:
    """Another may write the same record just now, so one row alone is tried again."""
    assert not refusal(answering(409, bad("CONFLICT")), writes(1)).permanent


def test_errors_show_codes_and_fields_but_no_value() -> None:
    """Of HubSpot's messages only its own words and the names that were sent are shown."""
    value = "jane_doe"
    message = (
        'Property values were not valid: [{"isValid":false,"message":"jane_doe was not a number",'
        '"error":"INVALID_DOUBLE","name":"ml_score"}] "jane_doe"'
    )
    one = write("jane_doe", ml_score=value)
    whole = bad(message=message, propertyName=["ml_score", value])
    nested = {**bad(), "errors": [{"message": value, "code": "INVALID_INTEGER"}]}

    errors = [refusal(answering(400, body), [one]) for body in (whole, nested)]

    assert errors[0].reason == "HTTP 400 Bad Request (VALIDATION_ERROR, INVALID_DOUBLE, 'ml_score')"
    assert errors[1].reason == "HTTP 400 Bad Request (VALIDATION_ERROR, INVALID_INTEGER)"
    assert all(value not in repr(error.args) for error in errors)


def test_the_token_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """No name, error or log has it."""
    with caplog.at_level("DEBUG"):
        error = refusal(answering(401, bad(message=TOKEN)), writes(1))

    shown = [repr(answering(200)), answering(200).name, repr(error.args), caplog.text]
    assert answering(200).name == "https://api.hubapi.com"
    assert TOKEN not in "".join(shown)


def test_a_write_whose_answer_is_lost_is_repeated(fake: HubSpotFake) -> None:
    """A timeout after the record was written leaves its fate open, and the next try one record."""
    fake.fail_next("stall")
    slow = HubSpot(TOKEN, url=fake.url, allow_private=True, timeout_seconds=0.3)

    error = refusal(slow, writes(1))
    again = slow.send(writes(1))

    assert error.unknown
    assert isinstance(again[0], Receipt)
    assert len(fake.records("contacts")) == 1


def test_describe_tells_what_a_mapping_may_set(account: Account) -> None:
    """Kinds, choices and what cannot be written are read of the properties."""
    account.properties |= {
        "team": {
            "type": "enumeration",
            "options": ["true", "false"],
            "fieldType": "booleancheckbox",
        },
        "place": {"type": "object_coordinates"},
        "email": {"type": "string"},
    }

    fields = connected(account).describe("contacts")

    assert fields["ext_id"] == Field(kind="text", max_length=65_536, unique=True)
    assert fields["ml_score"] == Field(kind="number")
    assert fields["ml_time"] == Field(kind="datetime")
    assert fields["ml_day"] == Field(kind="date")
    assert fields["ml_likely"] == fields["team"] == Field(kind="boolean")
    assert fields["dealstage"] == Field(kind="text", choices=("open", "closedwon", "closedlost"))
    assert fields["hs_object_id"] == Field(kind="number", writable=False)
    assert fields["place"] == Field()
    assert fields["email"].unique
    assert not connected(account).describe("companies")["email"].unique
    assert account.calls[0].path == "/crm/properties/2026-09/contacts"


def test_describe_says_that_there_is_no_such_kind(account: Account) -> None:
    """A kind of record that HubSpot does not know is a permanent error."""
    account.fail_next("status", status=404, category="NOT_FOUND")

    with pytest.raises(DeliveryError, match="NOT_FOUND") as caught:
        connected(account).describe("contatcs")

    assert caught.value.permanent


@pytest.mark.parametrize("options", [None, "open", [7, {"label": "Open"}]])
def test_describe_reads_no_choice_of_what_is_none(options: Any) -> None:
    """Options of another form, as of owners, leave any text to choose."""
    properties = [{"name": "owner", "type": "enumeration", "options": options}]

    assert answering(200, {"results": properties}).describe("deals") == {
        "owner": Field(kind="text")
    }


@pytest.mark.parametrize("body", [[], {}, {"results": [7]}, {"results": [{"type": "number"}]}])
def test_describe_believes_only_a_list_of_properties(body: Any) -> None:
    """An answer of another form is an error, not an empty description."""
    with pytest.raises(DeliveryError, match="no list of properties"):
        answering(200, body).describe("contacts")


def test_a_kind_of_record_cannot_leave_its_place_in_the_path(account: Account) -> None:
    """Whatever a rule names, only that part of the path is it."""
    refusal(connected(account), [write(record="../oauth?x=#y")])

    assert account.calls[0].path == "/crm/objects/2026-09/../oauth?x=#y/batch/upsert"


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"token": ""}, "token"),
        ({"token": "a b"}, "token"),
        ({"token": "a\r\nX: y"}, "token"),
        ({"token": None}, "token"),
        ({"api_version": "v3"}, "api_version"),
        ({"api_version": "2026-09/../.."}, "api_version"),
        ({"url": "http://api.hubapi.com"}, "https"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
    ],
)
def test_settings_are_checked(wrong: dict[str, Any], problem: str) -> None:
    """What cannot work is said when the destination is made, without the token."""
    with pytest.raises(SettingsError, match=f"HubSpot: .*{problem}") as caught:
        HubSpot(**{"token": TOKEN, **wrong})

    assert "a b" not in str(caught.value)


def _is_final(answer: Receipt | DeliveryError) -> bool:
    return isinstance(answer, DeliveryError) and answer.permanent
