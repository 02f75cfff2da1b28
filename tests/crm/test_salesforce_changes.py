"""Outcomes read from Salesforce: none is passed over, none is read for ever."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

from crm.fakes.salesforce import Organization, connect, organization, refuse, say
from mlembed_crm.destinations.endpoint import Answer
from mlembed_crm.destinations.salesforce.changes import Place, page, place, query
from mlembed_crm.errors import DeliveryError
from mlembed_crm.truths import Found, Truth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed_crm.destinations.salesforce import Salesforce

TRUTH = Truth(
    record="Opportunity",
    key="Ext_Id__c",
    field="StageName",
    values={"Closed Won": True, "Closed Lost": False},
    prediction_id="ML_Prediction__c",
)
NOW = 1_795_600_800.0  # 2026-11-25T10:00:00Z
LONG_AGO = NOW - 86_400


@pytest.fixture
def server() -> Iterator[Organization]:
    """Return a running organization on a clock that stands still."""
    with organization() as running:
        running.date = NOW
        yield running


def change(number: int, when: float, stage: str = "Closed Won") -> dict[str, Any]:
    """Return a record that changed at *when*."""
    stamp = dt.datetime.fromtimestamp(when, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    return {
        "Id": f"006{number:012}",
        "SystemModstamp": stamp,
        "Ext_Id__c": f"c-{number}",
        "StageName": stage,
    }


def drain(crm: Salesforce, cursor: str = "") -> tuple[list[str], str]:
    """Return the keys of all pages from *cursor* on, and where to go on."""
    found: list[str] = []
    for _ in range(100):
        told = crm.changes(TRUTH, cursor)
        found += [outcome.key for outcome in told.found]
        cursor = told.cursor
        if not told.more:
            return found, cursor
    raise AssertionError("it goes on for ever")


def test_query_asks_in_the_order_of_changes() -> None:
    """Records come by time and then by id, from the place of the cursor on."""
    after = Place(dt.datetime(2026, 11, 25, 10, 0, 0, 5000, dt.UTC), "006000000000001AAA")

    assert query(TRUTH, after) == (
        "SELECT Id, SystemModstamp, Ext_Id__c, StageName, ML_Prediction__c FROM Opportunity "
        "WHERE SystemModstamp >= 2026-11-25T10:00:00.005Z AND (SystemModstamp > "
        "2026-11-25T10:00:00.005Z OR Id > '006000000000001AAA') "
        "ORDER BY SystemModstamp, Id LIMIT 2000"
    )


def test_query_asks_for_no_field_twice() -> None:
    """Salesforce refuses a field that is asked for twice, in whichever capitals."""
    truth = Truth(record="Case", key="id", field="Account.Rating")

    assert query(truth, None).startswith("SELECT id, SystemModstamp, Account.Rating FROM Case ")


@pytest.mark.parametrize(
    "name", ["Stage'Name", "(SELECT Id FROM Notes)", "a,b", "a b", "1a", "a..b", "a\n", "é"]
)
@pytest.mark.parametrize("part", ["record", "key", "field", "prediction_id"])
def test_changes_lets_nothing_but_names_into_a_query(
    server: Organization, part: str, name: str
) -> None:
    """SOQL has no parameters, so what is no name is refused, and somebody must mend it."""
    names: dict[str, Any] = {"record": "Case", "key": "A", "field": "B", part: name}

    with pytest.raises(DeliveryError) as caught:
        connect(server).changes(Truth(**names), "")

    assert caught.value.stops
    assert server.paths == []


def test_changes_tells_outcomes(server: Organization) -> None:
    """A record whose value is an outcome is found, with the time of its change."""
    server.history = [change(1, LONG_AGO), change(2, LONG_AGO + 1, "Prospecting")]

    told = connect(server).changes(TRUTH, "")

    assert told.found == [Found("c-1", "", value=True, observed=LONG_AGO)]
    assert not told.more


def test_changes_goes_on_after_its_cursor(server: Organization) -> None:
    """What was read is not read again; what changes later is."""
    server.history = [change(1, LONG_AGO)]
    crm = connect(server)
    _, cursor = drain(crm)
    server.history.append(change(2, LONG_AGO + 60))

    found, _ = drain(crm, cursor)

    assert found == ["c-2"]
    assert drain(crm, cursor)[1] == drain(crm, drain(crm, cursor)[1])[1]


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 10])
def test_changes_passes_over_no_record_of_the_same_moment(server: Organization, rows: int) -> None:
    """Pages that end amid records of one moment go on amid them, whatever their size."""
    server.page_rows = rows
    server.history = [change(number, LONG_AGO + number // 8) for number in range(20)]

    found, _ = drain(connect(server))

    assert found == [f"c-{number}" for number in range(20)]


def test_changes_gives_recent_records_again(server: Organization) -> None:
    """A record that is committed behind one that was read is found at the next look."""
    server.history = [change(2, NOW - 30)]
    crm = connect(server)
    first, cursor = drain(crm)
    server.history.append(change(1, NOW - 90))  # began before, committed after

    second, cursor = drain(crm, cursor)
    server.date = NOW + 3600
    third, cursor = drain(crm, cursor)

    assert (first, second, third) == (["c-2"], ["c-1", "c-2"], ["c-1", "c-2"])
    assert drain(crm, cursor)[0] == []


def test_changes_ends_where_all_is_recent(server: Organization) -> None:
    """More recent records than a page holds are read as they settle, not over and over."""
    server.page_rows = 3
    server.history = [change(number, NOW - 5) for number in range(10)]
    crm = connect(server)

    first, cursor = drain(crm)
    server.date = NOW + 3600
    second, _ = drain(crm, cursor)

    assert first == ["c-0", "c-1", "c-2"]
    assert second == [f"c-{number}" for number in range(10)]


@pytest.mark.parametrize("off", [-86_400 * 300, 86_400 * 300])
def test_changes_needs_no_clock_of_ours(server: Organization, off: float) -> None:
    """Whatever the time is here, only Salesforce's says what is recent."""
    server.date = NOW + off
    server.history = [change(1, NOW + off - 30), change(0, NOW + off - 3600)]
    crm = connect(server)
    _, cursor = drain(crm)

    assert drain(crm, cursor)[0] == ["c-1"]


def test_changes_goes_by_the_newest_record_where_there_is_no_clock(server: Organization) -> None:
    """Without a date in the answer, what is recent is so beside the newest record."""
    server.date = None
    server.history = [change(1, LONG_AGO), change(2, LONG_AGO + 700)]
    crm = connect(server)

    _, cursor = drain(crm)

    assert drain(crm, cursor)[0] == ["c-2"]


def test_changes_never_goes_back(server: Organization) -> None:
    """A clock of Salesforce's that is set back moves no cursor back."""
    server.history = [change(1, LONG_AGO), change(2, LONG_AGO + 1)]
    crm = connect(server)
    _, cursor = drain(crm)
    server.date = LONG_AGO - 7200
    server.history.append(change(3, LONG_AGO + 2))

    found, again = drain(crm, cursor)

    assert found == ["c-3"]
    assert again == cursor


def test_changes_follows_no_link(server: Organization) -> None:
    """The link to the next page, wherever it points, is not followed."""
    server.page_rows = 1
    server.history = [change(number, LONG_AGO) for number in range(3)]

    drain(connect(server))

    assert all(path.startswith("/services/data/v67.0/query?q=") for path in server.paths)


def test_page_that_does_not_go_on_is_an_error() -> None:
    """An answer that ends where it began would be read for ever."""
    row = change(1, LONG_AGO)
    body = json.dumps({"records": [row], "done": False}).encode()
    after = Place(dt.datetime.fromtimestamp(LONG_AGO, dt.UTC), row["Id"])

    with pytest.raises(DeliveryError, match="do not go on"):
        page(Answer(200, {"date": "Wed, 25 Nov 2026 10:00:00 GMT"}, body), TRUTH, after)


def test_page_reads_fields_of_a_parent_in_any_capitals() -> None:
    """A field is found by its path, however Salesforce writes its name."""
    row = {**change(1, LONG_AGO), "account": {"EXT__C": "c-9"}, "stagename": "Closed Lost"}
    del row["StageName"]
    truth = Truth(
        record="Opportunity", key="Account.Ext__c", field="StageName", values={"Closed Lost": False}
    )

    told = page(Answer(200, {}, json.dumps({"records": [row]}).encode()), truth, None)

    assert told.found == [Found("c-9", "", value=False, observed=LONG_AGO)]


def test_page_finds_nothing_at_a_parent_that_is_not_there() -> None:
    """A record without the parent has no key, and so tells no outcome."""
    row = {**change(1, LONG_AGO), "Account": None}
    truth = Truth(record="Opportunity", key="Account.Ext__c", field="StageName")

    told = page(Answer(200, {}, json.dumps({"records": [row]}).encode()), truth, None)

    assert told.found == []


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b"[]",
        b"{}",
        b'{"records": 1}',
        b'{"records": [1]}',
        b'{"records": [{"Id": "006000000000001"}]}',
        b'{"records": [{"Id": "006000000000001", "SystemModstamp": "2026-11-25"}]}',
        b'{"records": [{"Id": "x\' OR 1", "SystemModstamp": "2026-11-25T10:00:00Z"}]}',
    ],
)
def test_changes_takes_nothing_odd(server: Organization, content: bytes) -> None:
    """An answer that is none to the query moves no cursor."""
    server.scripts.append(say(200, content))

    with pytest.raises(DeliveryError) as caught:
        connect(server).changes(TRUTH, "")

    assert not caught.value.stops


@pytest.mark.parametrize(
    "cursor",
    [
        "yesterday",
        "2026-11-25T10:00:00.000",
        "2026-11-25T10:00:00.000Z x' OR Id != '",
        " ",
        "2026-11-25T10:00:00.000Z 006000000000001 x",
    ],
)
def test_changes_takes_no_damaged_cursor(server: Organization, cursor: str) -> None:
    """A cursor that is none of ours is refused, and gets into no query."""
    with pytest.raises(DeliveryError, match="begin again") as caught:
        connect(server).changes(TRUTH, cursor)

    assert caught.value.stops
    assert server.paths == []


def test_place_reads_what_it_writes() -> None:
    """A cursor names the same place after it was kept as text."""
    where = Place(dt.datetime(2026, 11, 25, 10, tzinfo=dt.UTC), "006000000000001AAA")

    assert place(str(where)) == where
    assert place(str(where._replace(id=""))) == where._replace(id="")


@pytest.mark.parametrize(
    ("status", "code", "stops"),
    [(400, "INVALID_FIELD", True), (403, "NO", True), (500, "UNKNOWN_EXCEPTION", False)],
)
def test_changes_stops_where_somebody_must_act(
    server: Organization, status: int, code: str, stops: Any
) -> None:
    """A query that will never be answered stops; one that may be is asked again."""
    server.scripts.append(refuse(status, code, "No such column 'StageName' on Ada Lovelace"))

    with pytest.raises(DeliveryError) as caught:
        connect(server).changes(TRUTH, "")

    assert caught.value.stops is stops
    assert not caught.value.permanent
    assert f"{code}, 'StageName'" in str(caught.value)
    assert "Ada" not in str(caught.value)
