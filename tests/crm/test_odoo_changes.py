"""What came of predictions, read from a stand-in for Odoo."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from crm.fakes.looking import look
from crm.fakes.odoo import DATABASE, KEY, odoo
from mlembed_crm.destinations.odoo import Odoo, changes
from mlembed_crm.errors import DeliveryError
from mlembed_crm.truths import Truth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crm.fakes.odoo import Odoo as Server

TRUTH = Truth(record="crm.lead", key="ref", field="stage", values={"won": True, "lost": False})


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a running stand-in, whose records changed an hour ago."""
    with odoo() as running:
        running.now -= dt.timedelta(hours=1)
        yield running


def connected(server: Server) -> Odoo:
    """Return the destination that reads *server*."""
    return Odoo(server.url, DATABASE, KEY, allow_private=True)


def test_changes_tells_outcomes_and_when(server: Server) -> None:
    """A lead that is won or lost is an outcome, and one that is open is none; lost ones are archived."""
    server.lead(ref="a", stage="won")
    server.lead(ref="b", stage="lost", active=False)
    server.lead(ref="c")

    found, _, _ = look(connected(server), TRUTH)

    assert [(one.key, one.value) for one in found] == [("a", True), ("b", False)]
    changed = server.now.replace(tzinfo=dt.UTC, microsecond=0).timestamp()
    assert {one.observed for one in found} == {changed}


def test_next_look_gives_what_changed_since(server: Server) -> None:
    """What was read and is settled is not given again; what changes later is."""
    first = server.lead(ref="a", stage="won")
    source = connected(server)
    _, cursor, _ = look(source, TRUTH)
    assert look(source, TRUTH, cursor)[0] == []
    server.now += dt.timedelta(minutes=30)
    server.write([first], {"stage": "lost"})

    found, _, _ = look(source, TRUTH, cursor)

    assert [(one.key, one.value) for one in found] == [("a", False)]


@pytest.mark.parametrize(
    "step", [dt.timedelta(0), dt.timedelta(milliseconds=7), dt.timedelta(seconds=1)]
)
@pytest.mark.parametrize("backwards", [False, True])
def test_none_is_passed_over_whatever_changed_together(
    server: Server, monkeypatch: pytest.MonkeyPatch, step: dt.timedelta, *, backwards: bool
) -> None:
    """Through pages smaller than what changed in one second, each record is given, and it ends."""
    monkeypatch.setattr(changes, "ROWS", 4)
    for number in range(30):
        server.lead(ref=f"r{number}", stage="won")
    order = sorted(server.leads, reverse=backwards)
    for number in order:
        server.leads[number]["write_date"] = server.now
        server.now += step

    found, cursor, pages = look(connected(server), TRUTH)

    assert {one.key for one in found} == {f"r{number}" for number in range(30)}
    assert len(found) <= 60
    assert pages <= 30
    assert look(connected(server), TRUTH, cursor)[0] == []


def test_change_that_was_committed_late_is_given(server: Server) -> None:
    """A record that appears behind one that was read is found by the next look."""
    server.now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    server.lead(ref="a", stage="won")
    _, cursor, _ = look(connected(server), TRUTH)
    server.now -= dt.timedelta(minutes=5)
    server.lead(ref="late", stage="won")

    found, _, _ = look(connected(server), TRUTH, cursor)

    assert "late" in {one.key for one in found}


def test_next_look_begins_before_the_last_one_did(server: Server) -> None:
    """However long a look takes, what was committed meanwhile behind it is found by the next."""
    server.lead(ref="a", stage="won")
    began = "2020-01-01 00:00:00"

    page = connected(server).changes(TRUTH, json.dumps(["2021-01-01 00:00:00", 0, began]))

    assert [one.key for one in page.found] == ["a"]
    assert json.loads(page.cursor) == [began, 0, None]


def test_empty_system_has_a_cursor(server: Server) -> None:
    """Nothing there yet is no error, and what comes is found."""
    found, cursor, _ = look(connected(server), TRUTH)
    server.now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    server.lead(ref="a", stage="won")

    assert found == []
    assert [one.key for one in look(connected(server), TRUTH, cursor)[0]] == ["a"]


def test_numbers_booleans_and_empty_fields(server: Server) -> None:
    """A field's own value is the outcome where no words are given, and an empty one is none."""
    server.lead(ref="a", probability=12.5, hot=True)
    server.lead(ref="b")
    server.lead(probability=3.0)

    numbers = Truth(record="crm.lead", key="ref", field="probability")
    booleans = Truth(record="crm.lead", key="ref", field="hot")

    assert [(one.key, one.value) for one in look(connected(server), numbers)[0]] == [("a", 12.5)]
    assert [(one.key, one.value) for one in look(connected(server), booleans)[0]] == [
        ("a", True),
        ("b", False),
    ]


def test_related_record_and_prediction_are_named(server: Server) -> None:
    """A key may be the id of a related record, which Odoo tells with its name."""
    server.lead(ref="p-1", partner_id=[7, "Customer"], stage="won")
    truth = Truth(
        record="crm.lead",
        key="partner_id",
        field="stage",
        values={"won": True},
        prediction_id="ref",
    )

    ((found),) = look(connected(server), truth)[0]

    assert (found.key, found.prediction_id) == ("7", "p-1")


@pytest.mark.parametrize("cursor", ["x", "[]", '["2026-01-01", 1, null]', '[null, "1", null]', "1"])
def test_damaged_cursor_stops(server: Server, cursor: str) -> None:
    """A cursor that is none of ours is refused, with a remedy."""
    with pytest.raises(DeliveryError, match="begin again") as caught:
        connected(server).changes(TRUTH, cursor)

    assert caught.value.stops


@pytest.mark.parametrize(
    "truth",
    [
        Truth(record="no.model", key="ref", field="stage"),
        Truth(record="crm.lead", key="nothing", field="stage"),
    ],
)
def test_unknown_names_stop(server: Server, truth: Truth) -> None:
    """What a truth names wrongly somebody must correct."""
    with pytest.raises(DeliveryError) as caught:
        connected(server).changes(truth, "")

    assert caught.value.stops


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": 1, "ref": "a", "stage": "won", "write_date": "yesterday"}],
        [{"id": 1, "ref": "a", "stage": "won", "write_date": False}],
        [
            {"id": 1, "ref": "a", "stage": "won", "write_date": "2026-01-02 00:00:00"},
            {"id": 2, "ref": "b", "stage": "won", "write_date": "2026-01-01 00:00:00"},
        ],
    ],
)
def test_answer_out_of_order_is_none(server: Server, rows: list[dict[str, Any]]) -> None:
    """What is not in the order of changes is not believed, so that none is passed over."""
    server.answers.append(None)
    server.answers.append((200, json.dumps(rows).encode(), {}))

    with pytest.raises(DeliveryError) as caught:
        connected(server).changes(TRUTH, "")

    assert caught.value.unknown


def test_answer_before_its_cursor_is_none(server: Server) -> None:
    """The same record again and again is an error, not an endless look."""
    row = {"id": 3, "ref": "a", "stage": "won", "write_date": "2026-01-01 00:00:00"}
    server.answers.append(None)
    server.answers.append((200, json.dumps([row]).encode(), {}))

    with pytest.raises(DeliveryError) as caught:
        connected(server).changes(TRUTH, '["2026-01-01 00:00:00", 3, null]')

    assert caught.value.unknown


def test_server_without_a_clock_is_read_by_the_times_it_tells() -> None:
    """Without a date in the answer, the newest change stands for it."""
    fields = {
        "ref": {"type": "char"},
        "stage": {"type": "char"},
        "write_date": {"type": "datetime"},
    }
    row = {"id": 3, "ref": "a", "stage": "won", "write_date": "2026-01-01 12:00:00"}

    def read(*rows: dict[str, Any]) -> str:
        def answer(request: httpx.Request) -> httpx.Response:
            asked = request.url.path.rpartition("/")[2] == "fields_get"
            return httpx.Response(200, json=fields if asked else list(rows))

        transport = httpx.MockTransport(answer)
        source = Odoo("https://erp.example.com", DATABASE, KEY, transport=transport)
        return source.changes(TRUTH, "").cursor

    assert read() == ""
    assert json.loads(read(row)) == ["2026-01-01 11:50:00", 0, None]


def test_system_that_is_down_is_asked_again(server: Server) -> None:
    """What is of the moment stops nothing."""
    server.answers.append((503, b"", {}))

    with pytest.raises(DeliveryError) as caught:
        connected(server).changes(TRUTH, "")

    assert not caught.value.stops
    assert not caught.value.permanent
