"""Tryton, against a real server: records written by both of its ways."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from crm.receiver import DESTINATION, NO_PAUSE, action
from crm.tryton import tryton
from mlembed_crm import Delivered, Delivery, Outbox, Receipt
from mlembed_crm.destinations import Field
from mlembed_crm.destinations.tryton import Tryton
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from crm.tryton import Server
    from mlembed_crm import Action

_numbers = itertools.count()


# The first run on a machine installs what it runs against.
pytestmark = pytest.mark.timeout(900)


class Counting(httpx.BaseTransport):
    """Carries requests, and keeps the methods that they called."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry a request."""
        body = json.loads(request.content) if request.content else {}
        self.called.append(body.get("method", request.method).rpartition(".")[2])
        with httpx.HTTPTransport() as transport:
            response = transport.handle_request(request)
            stream = httpx.ByteStream(b"".join(response.stream))  # type: ignore[arg-type]  # of a sync transport
        return httpx.Response(response.status_code, headers=response.headers, stream=stream)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Return a running Tryton; each test makes records of its own."""
    with tryton() as running:
        yield running


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    """Return the key of an application of its administrator."""
    return server.key()


@pytest.fixture(params=["rpc", "rest"])
def destination(server: Server, key: str, request: pytest.FixtureRequest) -> Tryton:
    """Return the destination, by each of its ways."""
    return by_rpc(server) if request.param == "rpc" else by_rest(server, key)


def by_rpc(server: Server, **arguments: Any) -> Tryton:
    """Return the destination that logs in."""
    every: dict[str, Any] = {
        "user": server.user,
        "password": server.password,
        "company": server.company,
        "allow_private": True,
        **arguments,
    }
    return Tryton(server.url, server.database, **every)


def by_rest(server: Server, key: str, **arguments: Any) -> Tryton:
    """Return the destination that has the key of an application."""
    every: dict[str, Any] = {"company": server.company, "allow_private": True, **arguments}
    return Tryton(server.url, server.database, key=key, **every)


def maker_like(destination: Tryton, server: Server, key: str) -> Tryton:
    """Return the destination by the same way, which makes records as well."""
    if destination.limits.batch == 20:
        return by_rest(server, key, create=True)
    return by_rpc(server, create=True)


def reference() -> str:
    """Return a key that no record has yet."""
    return f"lead-{next(_numbers)}"


def upsert(
    key: str, id_field: str = "reference", record: str = "sale.opportunity", **fields: Any
) -> Action:
    """Return an action that sets *fields* of the record that has *key*."""
    return dataclasses.replace(action(key), record=record, id_field=id_field, payload=fields)


def error_of(answer: object) -> DeliveryError:
    """Return *answer*, which is an error."""
    assert isinstance(answer, DeliveryError)
    return answer


def refusal(destination: Tryton, *actions: Action) -> DeliveryError:
    """Return the error for the first of *actions*, be it raised or answered."""
    try:
        return error_of(destination.send(actions)[0])
    except DeliveryError as error:
        return error


def test_send_sets_the_fields_of_the_record_that_has_the_key(
    server: Server, destination: Tryton
) -> None:
    """Two keys are two records; decimals, dates and None arrive as what they are."""
    first, second = reference(), reference()
    ids = server.opportunities([first, second], comment="old")

    answers = destination.send(
        [
            upsert(second, conversion_probability=0.83, amount=12.5, comment=None),
            upsert(first, conversion_probability=1, end_date="2027-01-31"),
        ]
    )

    assert answers == [Receipt(200, str(ids[1])), Receipt(200, str(ids[0]))]
    assert server.read(ids[1], "conversion_probability", "amount", "comment") == {
        "conversion_probability": 0.83,
        "amount": {"__class__": "Decimal", "decimal": "12.5"},
        "comment": None,
    }
    date = {"__class__": "date", "year": 2027, "month": 1, "day": 31}
    assert server.read(ids[0], "end_date", "comment") == {"end_date": date, "comment": "old"}


def test_send_by_id_writes_what_is_there_and_makes_nothing(
    server: Server, destination: Tryton
) -> None:
    """An id that is gone is final, and no record is made for it."""
    there = server.opportunity(reference())
    before = server.rpc("model.sale.opportunity.search_count", [])

    good, gone = destination.send(
        [upsert(str(there), "id", comment="x"), upsert("999999", "id", comment="x")]
    )

    assert good == Receipt(200, str(there))
    assert error_of(gone).permanent
    assert server.rpc("model.sale.opportunity.search_count", []) == before


def test_key_that_several_records_have_is_refused(server: Server, destination: Tryton) -> None:
    """References are not unique in Tryton: of two with one, none is written."""
    twice, once = reference(), reference()
    ids = server.opportunities([twice, twice, once], comment="old")

    ambiguous, good = destination.send([upsert(twice, comment="x"), upsert(once, comment="x")])

    assert error_of(ambiguous).permanent
    assert "unique" in error_of(ambiguous).reason
    assert good == Receipt(200, str(ids[2]))
    assert [server.read(number, "comment")["comment"] for number in ids] == ["old", "old", "x"]


def test_key_of_very_many_records_is_refused(server: Server, destination: Tryton) -> None:
    """Where too much is found for one answer, it says why."""
    many = reference()
    server.opportunities([many] * 12)

    error = refusal(destination, upsert(many, comment="x"))

    assert error.permanent
    assert "several" in error.reason


def test_create_makes_the_missing_record_and_finds_it_archived(
    server: Server, key: str, destination: Tryton
) -> None:
    """A record that was made is found again, though it is archived by then."""
    maker = maker_like(destination, server, key)
    name = reference()

    (made,) = maker.send([upsert(name, "name", "party.category", active=True)])
    maker.send([upsert(name, "name", "party.category", active=False)])
    (again,) = maker.send([upsert(name, "name", "party.category", active=True)])
    (neither,) = destination.send([upsert(reference(), "name", "party.category", active=True)])

    assert isinstance(made, Receipt)
    assert again == made
    assert "create=True" in error_of(neither).reason


def test_create_that_is_refused_does_not_lose_what_was_written(
    server: Server, key: str, destination: Tryton
) -> None:
    """Each of those that were refused together is tried alone."""
    maker = maker_like(destination, server, key)
    there = reference()
    number = server.opportunity(there)

    written, refused, made = maker.send(
        [
            upsert(there, comment="x"),
            upsert(reference(), conversion_probability=9.0),
            upsert(reference(), conversion_probability=0.9),
        ]
    )

    assert written == Receipt(200, str(number))
    assert error_of(refused).permanent
    assert isinstance(made, Receipt)


def test_nothing_to_set_is_no_change(server: Server, destination: Tryton) -> None:
    """A record of which no field is set is taken, and not stamped as changed."""
    key = reference()
    number = server.opportunity(key)

    assert destination.send([upsert(key)]) == [Receipt(0, str(number))]
    assert server.read(number, "write_date") == {"write_date": None}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"nothing": 1}, "'nothing' is no field"),
        ({"state": "won"}, "'state' is read-only"),
        ({"lines": "x"}, "type 'one2many', which an action cannot give"),
        ({"conversion_probability": "0.5"}, "'conversion_probability' takes float, not str"),
        ({"conversion_probability": True}, "'conversion_probability' takes float, not bool"),
        ({"conversion_probability": 0.12345}, "4 decimal places; say field(..., digits=4)"),
        ({"amount": "1"}, "'amount' takes numeric"),
        ({"comment": 5, "employee": "x"}, "'comment' takes text, not int; 'employee' takes"),
        ({"end_date": "2026-11-25T10:00:00.123Z"}, "'end_date' takes date"),
    ],
)
def test_value_that_a_field_cannot_hold_is_not_sent(
    server: Server, destination: Tryton, fields: dict[str, Any], said: str
) -> None:
    """It is refused by the fields' names, before Tryton breaks on it."""
    key = reference()
    number = server.opportunity(key)

    error = refusal(destination, upsert(key, **fields))

    assert error.permanent
    assert said in error.reason
    assert server.read(number, "write_date") == {"write_date": None}


def test_value_that_the_rules_forbid_is_named_by_its_field(server: Server) -> None:
    """A domain error tells the field, and neither the value nor the record."""
    key = reference()
    server.opportunity(key)

    error = refusal(by_rpc(server), upsert(key, conversion_probability=9.0))

    assert error.permanent
    assert error.reason == "UserError: not valid: conversion_probability"


def test_value_that_the_rules_forbid_by_rest(server: Server, key: str) -> None:
    """By REST, Tryton tells no more than that; the others of the batch are written."""
    bad, good = reference(), reference()
    ids = server.opportunities([bad, good])

    answers = by_rest(server, key).send(
        [upsert(bad, conversion_probability=9.0), upsert(good, conversion_probability=0.9)]
    )

    assert error_of(answers[0]).permanent
    assert error_of(answers[0]).reason == "HTTP 400: its rules do not allow this"
    assert answers[1] == Receipt(200, str(ids[1]))


def test_kinds_of_record_are_written_one_after_the_other(
    server: Server, destination: Tryton
) -> None:
    """A batch of several kinds is several calls, and a kind that is not there is its own loss."""
    key = reference()
    number = server.opportunity(key)
    party = str(server.party)

    answers = destination.send(
        [
            upsert(party, "id", "party.party", name="Customer"),
            upsert(key, "reference", "no.model", comment="x"),
            upsert(key, comment="x"),
            upsert(str(number), "id", comment="y"),
        ]
    )

    assert answers[0] == Receipt(200, party)
    assert error_of(answers[1]).permanent
    assert "'no.model'" in error_of(answers[1]).reason
    assert answers[2:] == [Receipt(200, str(number))] * 2


def test_poison_is_found_among_two_hundred(server: Server, tmp_path: Path) -> None:
    """One bad value costs few calls, and every other record is written."""
    keys = [reference() for _ in range(200)]
    ids = server.opportunities(list(keys))
    outbox = Outbox(tmp_path / "actions.db")
    for number, key in enumerate(keys):
        score = 9.0 if number == 137 else round(number / 200, 4)
        outbox.enqueue(upsert(key, conversion_probability=score))
    counting = Counting()
    deliver = Delivery(outbox, {DESTINATION: by_rpc(server, transport=counting)}, retries=NO_PAUSE)

    done = deliver.run_once()

    assert done == Delivered(sent=199, dead=1)
    assert counting.called.count("write") <= 16
    assert counting.called.count("login") == 1
    assert [one.key for one in outbox.list("dead")] == [keys[137]]
    written = server.rpc("model.sale.opportunity.read", ids, ["conversion_probability"])
    told = {row["id"]: row["conversion_probability"] for row in written}
    expected = [0.5 if n == 137 else round(n / 200, 4) for n in range(200)]
    assert [told[number] for number in ids] == expected


def test_wrong_password_stops_the_destination(server: Server) -> None:
    """A password that is no good stops everything, and is not shown."""
    error = refusal(by_rpc(server, user="nobody", password="hunter2"), upsert("a"))  # noqa: S106

    assert error.stops
    assert "password" in error.reason
    assert "hunter2" not in repr(error)


def test_wrong_database_stops_the_destination(server: Server, key: str) -> None:
    """A database that is not there stops everything, by either way."""
    wrong = dataclasses.replace(server, database="nothing")

    assert refusal(by_rpc(wrong), upsert("a")).stops
    assert refusal(by_rest(wrong, key), upsert("a")).stops


def test_expired_session_is_renewed_once(server: Server) -> None:
    """When a session is over, one new one is opened, and nothing is lost."""
    key = reference()
    number = server.opportunity(key)
    counting = Counting()
    destination = by_rpc(server, transport=counting)
    destination.send([upsert(key, comment="x")])
    with contextlib.closing(sqlite3.connect(server.file)) as database:
        database.execute("DELETE FROM ir_session")
        database.commit()
    server.login()

    (answer,) = destination.send([upsert(key, comment="y")])

    assert answer == Receipt(200, str(number))
    assert counting.called.count("login") == 2


def test_cancelled_application_stops_the_destination(server: Server) -> None:
    """A key that was taken back is no good any more."""
    key = server.key()
    (application,) = server.rpc(
        "model.res.user.application.search", [["key", "=", key]], 0, None, None
    )
    server.rpc("model.res.user.application.cancel", [application])

    error = refusal(by_rest(server, key), upsert("a"))

    assert error.stops
    assert key not in repr(error)


def test_describe_tells_types_and_choices(destination: Tryton) -> None:
    """The fields of a model are told as mappings name them."""
    fields = destination.describe("sale.opportunity")

    assert fields["conversion_probability"] == Field(kind="number")
    assert fields["amount"] == Field(kind="number")
    assert fields["id"] == Field(kind="integer", writable=False, unique=True)
    assert fields["state"].choices[:2] == ("lead", "opportunity")
    assert not fields["state"].writable
    assert fields["end_date"] == Field(kind="date")
    assert fields["lines"] == Field()


def test_describe_says_that_a_model_is_not_there(destination: Tryton) -> None:
    """A name that Tryton does not know is final."""
    with pytest.raises(DeliveryError, match=r"'no\.model'") as caught:
        destination.describe("no.model")

    assert caught.value.permanent
