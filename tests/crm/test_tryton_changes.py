"""What came of predictions, read from a real Tryton."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from crm.fakes.looking import look
from crm.tryton import tryton
from mlembed_crm.destinations.tryton import Tryton, changes
from mlembed_crm.destinations.tryton.values import plain
from mlembed_crm.errors import DeliveryError
from mlembed_crm.truths import Truth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crm.tryton import Server

# The first run on a machine installs what it runs against.
pytestmark = pytest.mark.timeout(900)

TRUTH = Truth(
    record="sale.opportunity", key="reference", field="state", values={"won": True, "lost": False}
)
ROW = {
    "id": 3,
    "reference": "a",
    "state": "won",
    "last_modified_at": {
        "__class__": "datetime",
        "year": 2026,
        "month": 1,
        "day": 2,
        "hour": 3,
        "minute": 4,
        "second": 5,
        "microsecond": 6,
    },
}
BEFORE = '["2026-01-01T00:00:00+00:00", 0, null]'


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Return a running Tryton; each test reads on from where it began."""
    with tryton() as running:
        yield running


@pytest.fixture(params=["rpc", "rest"])
def source(server: Server, request: pytest.FixtureRequest) -> Tryton:
    """Return the destination that reads it, by each of its ways."""
    way: dict[str, Any] = {"user": server.user, "password": server.password}
    if request.param == "rest":
        way = {"key": server.key()}
    return Tryton(server.url, server.database, allow_private=True, company=server.company, **way)


def read(*rows: dict[str, Any], cursor: str = "", date: bool = True) -> Any:
    """Return the page that is made of *rows*, as a server answers them."""
    stamp = {"type": "timestamp", "searchable": True}
    text = {"type": "char"}
    told = {"reference": text, "state": text, "last_modified_at": stamp, "create_date": stamp}
    headers = {"Date": "Fri, 02 Jan 2026 03:30:00 GMT"} if date else {}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("fields_get"):
            return httpx.Response(200, json=told)
        return httpx.Response(200, json=list(rows), headers=headers)

    transport = httpx.MockTransport(answer)
    source = Tryton("https://erp.example.com", "erp", key="k", transport=transport)
    return source.changes(TRUTH, cursor)


def test_opportunity_that_was_won_is_an_outcome(server: Server, source: Tryton) -> None:
    """What sales people do in Tryton is told by the key that was predicted for."""
    key = f"won-{uuid.uuid4().hex}"
    number = server.opportunity(key)
    before, cursor, _ = look(source, TRUTH)
    assert key not in {one.key for one in before}

    server.win(number)
    after, _, _ = look(source, TRUTH, cursor)

    (found,) = [one for one in after if one.key == key]
    assert found.value is True
    written = server.read(number, "write_date")["write_date"]
    assert dt.datetime.fromtimestamp(found.observed, dt.UTC).second == written["second"]


def test_none_is_passed_over_that_changed_at_the_same_moment(
    server: Server, source: Tryton, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records of one transaction have one time, and may be more than a page has."""
    monkeypatch.setattr(changes, "ROWS", 3)
    key = f"same-{uuid.uuid4().hex}"
    server.opportunities([f"{key}-{number}" for number in range(8)], comment="never written")
    truth = Truth(record="sale.opportunity", key="reference", field="conversion_probability")

    found, _, pages = look(source, truth)

    keys = [one.key for one in found if one.key.startswith(key)]
    assert sorted(keys) == [f"{key}-{number}" for number in range(8)]
    assert pages >= 3
    assert {one.value for one in found} == {0.5}


def test_amounts_and_related_records_are_told_plainly(server: Server, source: Tryton) -> None:
    """A decimal is a number, and a related record its id."""
    amount = {"__class__": "Decimal", "decimal": "12.5"}
    key = f"amount-{uuid.uuid4().hex}"
    server.opportunity(key, amount=amount)
    truth = Truth(record="sale.opportunity", key="party", field="amount", prediction_id="reference")

    found = {one.prediction_id: one for one in look(source, truth)[0]}

    assert found[key].value == 12.5
    assert found[key].key == str(server.party)


@pytest.mark.parametrize(
    ("record", "key", "said"),
    [("no.model", "reference", "no.model"), ("sale.opportunity", "nothing", "nothing")],
)
def test_unknown_names_stop(source: Tryton, record: str, key: str, said: str) -> None:
    """What a truth names wrongly somebody must correct."""
    with pytest.raises(DeliveryError, match=said) as caught:
        source.changes(Truth(record=record, key=key, field="state"), "")

    assert caught.value.stops


def test_computed_records_stop(source: Tryton) -> None:
    """Where no time of change is kept, every look would give everything."""
    truth = Truth(record="account.general_ledger.account", key="id", field="debit")

    with pytest.raises(DeliveryError, match="computed") as caught:
        source.changes(truth, "")

    assert caught.value.stops


@pytest.mark.parametrize(
    "cursor", ["x", "[]", '["2026-01-01T00:00:00", 1, null]', '["2026-01-01", "1", null]', "1"]
)
def test_damaged_cursor_stops(cursor: str) -> None:
    """A cursor that is none of ours is refused, with a remedy."""
    with pytest.raises(DeliveryError, match="begin again") as caught:
        read(cursor=cursor)

    assert caught.value.stops


def test_next_look_begins_before_this_one_did() -> None:
    """What is committed behind what was read is found, as late as ten minutes after."""
    assert json.loads(read(ROW).cursor) == ["2026-01-02T03:04:05.000006+00:00", 3, None]
    late = {**ROW, "last_modified_at": {**ROW["last_modified_at"], "minute": 25}}  # type: ignore[dict-item]
    assert json.loads(read(late).cursor)[0] == "2026-01-02T03:20:00+00:00"
    began = '["2026-01-01T00:00:00+00:00", 0, "2025-12-31T00:00:00+00:00"]'
    assert json.loads(read(late, cursor=began).cursor)[0] == "2025-12-31T00:00:00+00:00"


def test_server_without_a_clock_is_read_by_the_times_it_tells() -> None:
    """Without a date in the answer, the newest change stands for it."""
    assert json.loads(read(ROW, date=False).cursor)[0] == "2026-01-02T02:54:05.000006+00:00"
    assert read(date=False).cursor == ""
    assert read(date=False, cursor=BEFORE).cursor == '["2025-12-31T23:50:00+00:00", 0, null]'


@pytest.mark.parametrize(
    ("rows", "cursor"),
    [
        ([ROW, ROW], ""),
        ([{**ROW, "last_modified_at": None}], ""),
        ([{**ROW, "last_modified_at": {"__class__": "datetime", "year": "x"}}], ""),
        ([{**ROW, "last_modified_at": {"__class__": "timedelta", "seconds": 1}}], ""),
        ([ROW], '["2026-01-02T03:04:05.000006+00:00", 3, null]'),
        ([ROW], '["2027-01-01T00:00:00+00:00", 0, null]'),
    ],
)
def test_answer_that_does_not_go_on_is_none(rows: list[dict[str, Any]], cursor: str) -> None:
    """What is not behind its cursor, in order, would be given for ever, so it is an error."""
    with pytest.raises(DeliveryError) as caught:
        read(*rows, cursor=cursor)

    assert caught.value.unknown


def test_system_that_is_down_is_asked_again() -> None:
    """What is of the moment stops nothing."""
    transport = httpx.MockTransport(lambda _: httpx.Response(503))

    with pytest.raises(DeliveryError) as caught:
        Tryton("https://erp.example.com", "erp", key="k", transport=transport).changes(TRUTH, "")

    assert not caught.value.stops
    assert not caught.value.permanent


def test_dates_are_told_as_texts() -> None:
    """An outcome may be the day on which something happened."""
    assert plain({"__class__": "date", "year": 2026, "month": 1, "day": 2}) == "2026-01-02"
