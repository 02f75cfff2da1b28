"""Odoo, against a stand-in that is not verified against a live one."""

from __future__ import annotations

import dataclasses
import http
import json
import pickle
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from crm.fakes.odoo import DATABASE, KEY, odoo
from crm.receiver import action
from mlembed.errors import SettingsError
from mlembed_crm import Receipt
from mlembed_crm.destinations import Field
from mlembed_crm.destinations.odoo import Odoo
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crm.fakes.odoo import Odoo as Server
    from mlembed_crm import Action


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a running stand-in."""
    with odoo() as running:
        yield running


def connected(server: Server, **arguments: Any) -> Odoo:
    """Return the destination that writes to *server*."""
    return Odoo(server.url, DATABASE, KEY, **{"allow_private": True, **arguments})


def upsert(
    key: str | None, id_field: str = "ref", record: str = "crm.lead", **fields: Any
) -> Action:
    """Return an action that sets *fields* of the lead that has *key*."""
    return dataclasses.replace(action(key), record=record, id_field=id_field, payload=fields)


def error_of(answer: object) -> DeliveryError:
    """Return *answer*, which is an error."""
    assert isinstance(answer, DeliveryError)
    return answer


def raised(odoo: Odoo, *actions: Action) -> DeliveryError:
    """Return the error that sending *actions* raises."""
    with pytest.raises(DeliveryError) as caught:
        odoo.send(actions)
    return caught.value


def scripted(server: Server, status: int, body: Any = b"", **headers: str) -> None:
    """Answer the next call that is not scripted yet so."""
    told = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    server.answers.append((status, told, named))


def test_send_sets_the_fields_of_the_record_that_has_the_key(server: Server) -> None:
    """Each record gets its own values, in Odoo's way of writing, and tells its id."""
    first, second = server.lead(ref="a"), server.lead(ref="b", name="B")
    answers = connected(server).send(
        [
            upsert("b", probability=12.5, scored_at="2026-11-25T10:00:00.123Z", name=None),
            upsert("a", probability=83, deadline="2026-11-30", hot=False, stage="won"),
        ]
    )

    assert answers == [Receipt(200, str(second)), Receipt(200, str(first))]
    assert server.leads[second]["probability"] == 12.5
    assert server.leads[second]["scored_at"] == "2026-11-25 10:00:00"
    assert server.leads[second]["name"] is False
    assert server.leads[first]["deadline"] == "2026-11-30"
    assert server.leads[first]["hot"] is False


def test_send_finds_what_is_archived(server: Server) -> None:
    """A record that is archived is written, and not made a second time."""
    lead = server.lead(ref="a", active=False)

    assert connected(server, create=True).send([upsert("a", probability=1)]) == [
        Receipt(200, str(lead))
    ]
    assert len(server.leads) == 1


def test_send_looks_up_once_and_writes_equal_values_at_once(server: Server) -> None:
    """A batch costs one search, and one call for all that are set to the same."""
    for ref in "abcd":
        server.lead(ref=ref)
    destination = connected(server)

    destination.send([upsert(ref, hot=ref != "c") for ref in "abcd"])
    destination.send([upsert("a", probability=1)])

    assert len(server.called("search_read")) == 2
    assert [len(call["ids"]) for call in server.called("write")] == [3, 1, 1]
    assert len(server.called("fields_get")) == 1


@pytest.mark.parametrize(("id_field", "key"), [("ref", "nobody"), ("id", "999"), ("number", "7")])
def test_missing_record_is_final_and_not_made(server: Server, id_field: str, key: str) -> None:
    """What is not there is not made unless that was asked for."""
    (answer,) = connected(server).send([upsert(key, id_field, probability=1)])

    assert error_of(answer).permanent
    assert "create=True" in error_of(answer).reason
    assert not server.leads


def test_create_makes_the_missing_record_with_its_key(server: Server) -> None:
    """With create, the record is made under its key, and found the next time."""
    destination = connected(server, create=True)

    made = destination.send([upsert("a", probability=3), upsert("b", probability=4)])
    again = destination.send([upsert("a", probability=5)])

    assert made == [Receipt(200, "1"), Receipt(200, "2")]
    assert again == [Receipt(200, "1")]
    assert [lead["ref"] for lead in server.leads.values()] == ["a", "b"]
    assert server.leads[1]["probability"] == 5


def test_id_is_never_made(server: Server) -> None:
    """Not even with create is a record made for an id that is gone."""
    (answer,) = connected(server, create=True).send([upsert("999", "id", probability=1)])

    assert error_of(answer).permanent
    assert not server.leads


def test_key_that_several_records_have_is_refused(server: Server) -> None:
    """Of two records with one key none is written, and the others of the batch are."""
    for ref in ("a", "a", "b"):
        server.lead(ref=ref)

    ambiguous, good = connected(server).send(
        [upsert("a", probability=1), upsert("b", probability=1)]
    )

    assert error_of(ambiguous).permanent
    assert good == Receipt(200, "3")
    assert [lead["probability"] for lead in server.leads.values()] == [False, False, 1]


def test_key_of_very_many_records_does_not_hide_the_others(server: Server) -> None:
    """Where too much is found for one answer, each key is looked up alone."""
    for _ in range(40):
        server.lead(ref="a")
    server.lead(ref="b")

    ambiguous, good = connected(server).send(
        [upsert("a", probability=1), upsert("b", probability=1)]
    )

    assert error_of(ambiguous).permanent
    assert good == Receipt(200, "41")


def test_bad_value_is_refused_for_its_own_record_alone(server: Server) -> None:
    """A refusal is that record's, and shows the exception but none of what Odoo repeats."""
    for ref in "abc":
        server.lead(ref=ref)

    answers = connected(server).send(
        [upsert("a", probability=5), upsert("b", probability=777.25), upsert("c", probability=6)]
    )

    assert answers[::2] == [Receipt(200, "1"), Receipt(200, "3")]
    error = error_of(answers[1])
    assert error.permanent
    assert error.reason == f"HTTP 422 {http.HTTPStatus(422).phrase}: ValidationError"
    assert "777" not in repr(error)


def test_record_that_is_gone_costs_its_equals_nothing(server: Server) -> None:
    """Where equal values are refused together, each record is tried alone."""
    for ref in "ab":
        server.lead(ref=ref)
    gone = {"name": "odoo.exceptions.MissingError", "message": "secret"}
    server.answers.extend([None, None])
    scripted(server, 404, gone)
    scripted(server, 404, gone)

    first, second = connected(server).send([upsert("a", hot=True), upsert("b", hot=True)])

    assert error_of(first).permanent
    assert "MissingError" in error_of(first).reason
    assert second == Receipt(200, "2")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"nothing": 1}, "'nothing' is no field"),
        ({"tag_ids": 1}, "'tag_ids' is of Odoo's type 'many2many'"),
        ({"probability": "much", "hot": 3}, "'probability' takes float, not str; 'hot'"),
        ({"deadline": "2026-11-25T10:00:00.000Z"}, "'deadline' takes date"),
        ({"scored_at": "2026-11-25"}, "'scored_at' takes datetime"),
        ({"scored_at": "soon"}, "'scored_at' takes datetime"),
        ({"score": 4.5}, "'score' takes integer"),
        ({"name": 5}, "'name' takes char"),
    ],
)
def test_value_that_a_field_cannot_hold_is_not_sent(
    server: Server, fields: dict[str, Any], said: str
) -> None:
    """It is refused by the fields' names, before Odoo breaks on it."""
    server.lead(ref="a")

    (answer,) = connected(server).send([upsert("a", **fields)])

    assert error_of(answer).permanent
    assert said in error_of(answer).reason
    assert not server.called("write")


@pytest.mark.parametrize(
    ("id_field", "key"),
    [("id", "x"), ("id", "01"), ("id", "-1"), ("id", str(2**31)), ("number", "1.5"), ("hot", "1")],
)
def test_key_that_a_field_cannot_hold_is_not_looked_up(
    server: Server, id_field: str, key: str
) -> None:
    """No two keys are one record, and none breaks the search of the others."""
    (answer,) = connected(server).send([upsert(key, id_field, probability=1)])

    assert error_of(answer).permanent
    assert f"'{id_field}'" in error_of(answer).reason
    assert not server.called("search_read")


def test_new_field_is_learned(server: Server) -> None:
    """A field that was added since the last look is found."""
    server.lead(ref="a")
    destination = connected(server)
    destination.send([upsert("a", hot=True)])
    server.fields["extra"] = {"type": "char", "readonly": False}

    assert destination.send([upsert("a", extra="x")]) == [Receipt(200, "1")]


def test_events_and_keyless_actions_are_final(server: Server) -> None:
    """What names no record is refused with a remedy, and the rest goes on."""
    server.lead(ref="a")
    event = dataclasses.replace(action("a"), record="", id_field="")

    answers = connected(server).send([event, upsert(None, hot=True), upsert("a", hot=True)])

    assert "upsert" in error_of(answers[0]).reason
    assert "no key" in error_of(answers[1]).reason
    assert error_of(answers[0]).permanent
    assert error_of(answers[1]).permanent
    assert answers[2] == Receipt(200, "1")


def test_unknown_model_does_not_lose_what_was_written(server: Server) -> None:
    """The failure of a later kind of record is that kind's alone."""
    server.lead(ref="a")

    good, bad = connected(server).send(
        [upsert("a", hot=True), upsert("a", record="no.model", hot=True)]
    )

    assert good == Receipt(200, "1")
    assert error_of(bad).permanent
    assert "'no.model'" in error_of(bad).reason


def test_refused_key_stops_the_destination(server: Server) -> None:
    """A key that is no good stops everything, and says how long keys live."""
    server.key = "another"

    error = raised(connected(server), upsert("a", hot=True))

    assert error.stops
    assert "three months" in error.reason
    assert KEY not in repr(error)


def test_unknown_database_stops_the_destination(server: Server) -> None:
    """A page instead of an answer means the wrong place."""
    destination = Odoo(server.url, "nothing", KEY, allow_private=True)

    error = raised(destination, upsert("a", hot=True))

    assert error.stops
    assert "database" in error.reason


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (403, {"name": "odoo.exceptions.AccessDenied"}, {"stops": True}),
        (403, b"<html>", {"stops": True}),
        (409, {"name": "odoo.exceptions.LockError"}, {}),
        (500, {"name": "psycopg2.errors.SerializationFailure", "message": "v"}, {"unknown": True}),
        (502, b"<html>", {"unknown": True}),
        (503, b"<html>", {}),
        (200, b"<html>", {"unknown": True}),
        (200, {"error": "v"}, {"unknown": True}),
        (200, [{"id": 5, "ref": "other"}], {"unknown": True}),
        (200, [{"ref": "a"}], {"unknown": True}),
        (302, b"", {}),
        (429, b"", {"retry_after": 60.0}),
    ],
)
def test_failed_search_is_judged(
    server: Server, status: int, body: Any, expected: dict[str, Any]
) -> None:
    """Whatever is no answer is tried again, later or when somebody has acted."""
    server.answers.append(None)
    scripted(server, status, body)

    error = raised(connected(server), upsert("a", hot=True))

    plain = {"permanent": False, "stops": False, "unknown": False, "retry_after": None}
    told = {name: getattr(error, name) for name in plain}
    assert told == {**plain, **expected}
    assert error.status in {status, 0}
    assert pickle.loads(pickle.dumps(error)).args == error.args  # noqa: S301  our own


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (403, {"name": "odoo.exceptions.AccessError"}, {"permanent": True}),
        (500, {"name": "builtins.ValueError", "message": "v"}, {"permanent": True}),
        (500, {"name": "psycopg2.OperationalError", "message": "v"}, {"unknown": True}),
        (500, {"name": "no name: 4111"}, {"unknown": True}),
        (200, False, {"unknown": True}),
        (200, b"", {"unknown": True}),
    ],
)
def test_failed_write_is_judged(
    server: Server, status: int, body: Any, expected: dict[str, Any]
) -> None:
    """A write fails for its record, for good only where its values are the reason."""
    server.lead(ref="a")
    server.answers.extend([None, None])
    scripted(server, status, body)

    (answer,) = connected(server).send([upsert("a", hot=True)])

    plain = {"permanent": False, "stops": False, "unknown": False}
    told = {name: getattr(answer, name) for name in plain}
    assert told == {**plain, **expected}
    assert "4111" not in repr(answer)


def test_pause_ends_the_batch_and_keeps_what_was_written(server: Server) -> None:
    """Told to wait, nothing more is called, and what was taken stays taken."""
    for ref in "abc":
        server.lead(ref=ref)
    server.answers.extend([None, None, None])
    scripted(server, 429, Retry_After="7")

    answers = connected(server).send([upsert(r, score=i) for i, r in enumerate("abc")])

    assert answers[0] == Receipt(200, "1")
    assert [error_of(answer).retry_after for answer in answers[1:]] == [7.0, 7.0]
    assert len(server.called("write")) == 2


def test_nothing_to_set_is_no_change(server: Server) -> None:
    """A record of which no field is set is taken without a call."""
    server.lead(ref="a")

    assert connected(server).send([upsert("a")]) == [Receipt(0, "1")]
    assert not server.called("write")


@pytest.mark.parametrize(
    ("status", "body", "flag"),
    [
        (422, {"name": "odoo.exceptions.ValidationError"}, "permanent"),
        (200, [], "unknown"),
        (200, [1, 2], "unknown"),
        (200, True, "unknown"),
    ],
)
def test_failed_create_is_judged(server: Server, status: int, body: Any, flag: str) -> None:
    """A record that was not made, or of which no id is told, is an error; the next one is made."""
    server.answers.extend([None, None])
    scripted(server, status, body)

    failed, made = connected(server, create=True).send(
        [upsert("a", hot=True), upsert("b", hot=True)]
    )

    assert getattr(failed, flag)
    assert isinstance(made, Receipt)


@pytest.mark.parametrize("body", [[], {"ref": "char"}])
def test_definitions_that_are_none_are_unknown(server: Server, body: Any) -> None:
    """What does not define fields is not taken for that."""
    scripted(server, 200, body)

    assert raised(connected(server), upsert("a", hot=True)).unknown


def test_key_that_breaks_the_search_is_found(server: Server) -> None:
    """Where the search for all breaks, each is looked up alone."""
    server.lead(ref="b")
    broken = {"name": "builtins.ValueError", "message": "v"}
    server.answers.append(None)
    scripted(server, 500, broken)
    scripted(server, 500, broken)

    bad, wrong, good = connected(server).send(
        [upsert("a", hot=True), upsert("b", hot="?"), upsert("b", hot=True)]
    )

    assert error_of(bad).unknown
    assert error_of(wrong).permanent
    assert good == Receipt(200, "1")


def test_slow_server_is_not_called_beyond_its_time() -> None:
    """When the time of a batch is over the rest is left for the next, at no attempt's cost."""
    called: list[str] = []

    def slow(request: httpx.Request) -> httpx.Response:
        method = request.url.path.rpartition("/")[2]
        called.append(method)
        if method == "fields_get":
            return httpx.Response(200, json={"ref": {"type": "char"}, "hot": {"type": "boolean"}})
        time.sleep(0.3)
        return httpx.Response(200, json=[{"id": 1, "ref": "a"}])

    transport = httpx.MockTransport(slow)
    destination = Odoo(
        "https://erp.example.com", DATABASE, KEY, timeout_seconds=0.2, transport=transport
    )

    (answer,) = destination.send([upsert("a", hot=True)])

    assert error_of(answer).retry_after == 0.0
    assert not error_of(answer).unknown
    assert called == ["fields_get", "search_read"]


def test_describe_tells_types_choices_and_sizes(server: Server) -> None:
    """The fields of a model are told as mappings name them."""
    fields = connected(server).describe("crm.lead")

    assert fields["ref"] == Field(kind="text", max_length=40, strict=True)
    assert fields["stage"] == Field(kind="text", choices=("new", "won", "lost"), strict=True)
    assert fields["id"] == Field(kind="integer", writable=False, unique=True)
    assert fields["write_date"] == Field(kind="datetime", writable=False)
    assert fields["probability"] == Field(kind="number")
    assert fields["tag_ids"] == Field()


def test_describe_says_that_a_model_is_not_there(server: Server) -> None:
    """A name that Odoo does not know is final, and a model that may not be read stops."""
    destination = connected(server)

    with pytest.raises(DeliveryError) as unknown:
        destination.describe("no.model")
    scripted(server, 403, {"name": "odoo.exceptions.AccessError"})
    with pytest.raises(DeliveryError) as forbidden:
        destination.describe("crm.lead")

    assert unknown.value.permanent
    assert forbidden.value.stops


def test_name_and_repr_hold_no_secret() -> None:
    """Neither the key nor the database is shown."""
    destination = Odoo("https://erp.example.com/private", DATABASE, KEY)

    assert destination.name == "https://erp.example.com"
    assert repr(destination) == "Odoo('https://erp.example.com/...')"
    assert destination.limits.batch == 20


@pytest.mark.parametrize(
    ("database", "key"), [("", KEY), (DATABASE, ""), (DATABASE, "a\nb"), (DATABASE, "ké")]
)
def test_malformed_settings_are_refused(database: str, key: str) -> None:
    """What cannot be in a header is refused at once, unseen."""
    with pytest.raises(SettingsError) as caught:
        Odoo("https://erp.example.com", database, key)

    assert "ké" not in str(caught.value)


def test_request_is_built_as_documented() -> None:
    """One POST a call, to the model's method, with the key, the database and named arguments."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"ref": {"type": "char"}})

    Odoo("https://erp.example.com", DATABASE, KEY, transport=httpx.MockTransport(answer)).describe(
        "crm.lead"
    )

    (request,) = seen
    assert (request.method, str(request.url.path)) == ("POST", "/json/2/crm.lead/fields_get")
    assert request.headers["authorization"] == f"bearer {KEY}"
    assert request.headers["x-odoo-database"] == DATABASE
    assert json.loads(request.content) == {"attributes": ["type", "readonly", "size", "selection"]}
