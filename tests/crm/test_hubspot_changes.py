"""Outcomes are read of HubSpot to the last one, however records change meanwhile."""

from __future__ import annotations

import email.utils
import itertools
import json
import random
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from crm.fakes.hubspot import TOKEN, Account
from mlembed_crm.destinations.hubspot import HubSpot, changes
from mlembed_crm.errors import DeliveryError
from mlembed_crm.truths import Found, Truth

if TYPE_CHECKING:
    from collections.abc import Callable

    from crm.receiver import Clock
    from mlembed_crm.truths import Page

WON = Truth(
    record="deals",
    key="ext_id",
    field="dealstage",
    values={"closedwon": True, "closedlost": False},
    prediction_id="ml_prediction",
)


@pytest.fixture
def account(clock: Clock) -> Account:
    """Return an account whose clock stands still at a whole second."""
    account = Account()
    clock.now = float(int(clock.now))
    account.clock = clock
    return account


@pytest.fixture
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a page be of three records, so that few fill many."""
    monkeypatch.setattr(changes, "PAGE", 3)


def hubspot(account: Account) -> HubSpot:
    """Return the destination that reads *account*."""
    return HubSpot(TOKEN, transport=account.transport())


def answering(body: Any, **headers: str) -> HubSpot:
    """Return a destination whose every call is answered so."""

    def handle(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=json.dumps(body).encode(), headers=headers)

    return HubSpot(TOKEN, transport=httpx.MockTransport(handle))


def close(account: Account, key: str, stage: str = "closedwon", **more: str) -> int:
    """Close the deal of *key*, now, as a person at HubSpot would; return its id."""
    same = [n for n, one in account.records("deals").items() if one["ext_id"] == key]
    return account.put("deals", {"ext_id": key, "dealstage": stage, **more}, *same)


def read(
    destination: HubSpot, cursor: str = "", between: Callable[[], object] = lambda: None
) -> tuple[list[Found], str]:
    """Read to the end, doing something between pages; return what was found, and the cursor."""
    found: list[Found] = []
    for n_pages in itertools.count():
        page: Page = destination.changes(WON, cursor)
        assert n_pages < 500, "it never ends"
        assert page.cursor != cursor or not page.more, "it goes nowhere"
        found += page.found
        cursor = page.cursor
        if not page.more:
            return found, cursor
        between()
    raise AssertionError


def test_changes_tell_what_came_of_predictions(account: Account, clock: Clock) -> None:
    """Key, prediction, outcome and time of each closed deal are given, the oldest first."""
    close(account, "b", ml_prediction="p-1")
    clock.now += 0.5
    close(account, "a", "closedlost")
    close(account, "c", "open")

    found, _ = read(hubspot(account))

    assert found == [
        Found("b", "p-1", True, clock.now - 0.5),  # noqa: FBT003  a tuple's
        Found("a", "", False, clock.now),  # noqa: FBT003  idem
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("false", False), ("0.5", 0.5), ("12", 12.0), ("1e999", "1e999"), ("x", "x")],
)
def test_an_outcome_without_a_table_is_what_its_field_holds(text: str, value: Any) -> None:
    """HubSpot gives every value as a text; numbers and booleans are read of it."""
    truth = Truth(record="contacts", key="ext_id", field="paid")
    values = {"ext_id": "a", "paid": text, "lastmodifieddate": "2026-11-20T08:00:00Z"}

    page = answering({"results": [{"id": "1", "properties": values}]}).changes(truth, "")

    assert [one.value for one in page.found] == [value]


def test_records_without_an_outcome_are_not_read(account: Account) -> None:
    """A search asks for records that have the field, so the others cost nothing."""
    account.put("deals", {"ext_id": "a"})
    account.put("deals", {"ext_id": "b", "dealstage": ""})

    found, _ = read(hubspot(account))

    assert found == []
    (call,) = account.calls
    assert call.path == "/crm/objects/2026-09/deals/search"
    assert {"propertyName": "dealstage", "operator": "HAS_PROPERTY"} in (
        call.body["filterGroups"][0]["filters"]
    )


@pytest.mark.parametrize(
    ("record", "name"),
    [("contacts", "lastmodifieddate"), ("deals", "hs_lastmodifieddate")],
)
def test_contacts_tell_of_their_change_by_another_name(record: str, name: str) -> None:
    """Each kind is searched by the property that holds the time of its change."""
    truth = Truth(record=record, key="ext_id", field="dealstage")

    body = changes.query(truth, changes.read_cursor("5"))

    assert body["sorts"] == [{"propertyName": name, "direction": "ASCENDING"}]
    assert name in body["properties"]


@pytest.mark.usefixtures("_small_pages")
@pytest.mark.parametrize("n_records", [0, 1, 2, 3, 4, 6, 7, 20])
@pytest.mark.parametrize("step_seconds", [0.0, 0.001, 1.0])
def test_changes_are_read_to_the_end(
    account: Account, clock: Clock, n_records: int, step_seconds: float
) -> None:
    """Whether all changed at one instant or each at its own, none is missing at a page's edge."""
    for i in range(n_records):
        close(account, f"d-{i}")
        clock.now += step_seconds

    found, _ = read(hubspot(account))

    assert {one.key for one in found} == {f"d-{i}" for i in range(n_records)}


@pytest.mark.usefixtures("_small_pages")
def test_an_import_between_others_is_walked_by_ids(account: Account, clock: Clock) -> None:
    """An instant that fills pages neither ends the reading nor hides what is after it."""
    keys = [f"d-{i}" for i in range(17)]
    for i, key in enumerate(keys):
        clock.now += 0.001 if i < 4 or i > 12 else 0
        close(account, key)

    found, _ = read(hubspot(account))

    assert {one.key for one in found} == set(keys)


@pytest.mark.usefixtures("_small_pages")
@pytest.mark.parametrize("seed", range(25))
def test_no_change_is_passed_over_while_others_are_made(
    account: Account, clock: Clock, seed: int
) -> None:
    """Records that change between pages and looks are all given, with what they hold in the end."""
    chance = random.Random(seed)  # noqa: S311  chooses, guards nothing
    keys = [f"d-{i}" for i in range(30)]
    told: dict[str, Any] = {}
    destination = hubspot(account)

    def change() -> None:
        for _ in range(chance.randrange(4)):
            close(account, chance.choice(keys), chance.choice(["closedwon", "closedlost"]))
            clock.now += chance.choice([0, 0, 0.001, 0.4, 3])

    cursor = ""
    for _ in range(12):
        for _ in range(chance.randrange(5)):
            change()
        found, cursor = read(destination, cursor, change)
        told |= {one.key: one.value for one in found}
        clock.now += chance.choice([0, 5, 100])
    found, _ = read(destination, cursor)
    told |= {one.key: one.value for one in found}

    there = {one["ext_id"]: one["dealstage"] for one in account.records("deals").values()}
    assert told == {key: stage == "closedwon" for key, stage in there.items()}


def test_a_change_that_is_found_late_is_found(account: Account, clock: Clock) -> None:
    """A search may not see at once what was changed; the last minute is read again."""
    close(account, "a")
    _, cursor = read(hubspot(account))
    clock.now -= 50
    close(account, "late")
    clock.now += 55

    found, _ = read(hubspot(account), cursor)

    assert {one.key for one in found} == {"a", "late"}


def test_what_is_settled_is_not_read_again(account: Account, clock: Clock) -> None:
    """Once a minute has passed, a look at which nothing is new gives nothing."""
    close(account, "a")
    clock.now += 61
    _, cursor = read(hubspot(account))

    found, same = read(hubspot(account), cursor)

    assert found == []
    assert same == cursor


def test_this_machines_clock_does_not_matter(
    account: Account, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is settled is told by HubSpot's own clock."""
    monkeypatch.setattr("time.time", lambda: clock.now + 86_400)
    close(account, "a")

    _, cursor = read(hubspot(account))

    assert int(cursor) == (clock.now - 60) * 1000


@pytest.mark.parametrize("date", ["", "soon"])
def test_without_a_date_this_machines_clock_serves(date: str, clock: Clock) -> None:
    """An answer that does not tell its time is read all the same."""
    values = {"hs_lastmodifieddate": str(int(clock.now * 1000)), "dealstage": "open"}
    body = {"results": [{"id": "1", "properties": values}]}

    page = answering(body, Date=date).changes(WON, "")

    assert int(page.cursor) == pytest.approx((clock.now - 60) * 1000, abs=30_000)


def test_a_date_without_a_zone_is_of_utc() -> None:
    """The header's other forms are read as the standard has them."""
    date = email.utils.formatdate(1_800_000_000, localtime=False)
    values = {"hs_lastmodifieddate": "2027-01-15T08:00:00", "dealstage": "open"}

    page = answering({"results": [{"id": "1", "properties": values}]}, Date=date).changes(WON, "")

    assert page.cursor == "1799999940000"


@pytest.mark.parametrize(("cursor", "after"), [("5", "7"), ("7", "7/0"), ("7/0", "7/2")])
def test_a_short_page_is_not_the_last_where_hubspot_says_so(cursor: str, after: str) -> None:
    """Fewer rows than were asked for are not the end of them while HubSpot tells of more."""
    body = {**rows(7, 7), "paging": {"next": {"after": "2"}}}

    page = answering(body).changes(WON, cursor)

    assert (page.cursor, page.more) == (after, True)


@pytest.mark.parametrize("cursor", ["x", "-1", "1/", "1/2/3", "1.5", " 1", "9" * 99])
def test_a_foreign_cursor_is_refused(account: Account, cursor: str) -> None:
    """A cursor of something else reads nothing, and says what to do."""
    with pytest.raises(DeliveryError, match="begin anew") as caught:
        hubspot(account).changes(WON, cursor)

    assert caught.value.permanent
    assert not account.calls


def rows(*changed: int, first_id: int = 1) -> dict[str, Any]:
    """Return an answer of records that changed then, of ids that go up."""
    return {
        "results": [
            {"id": str(first_id + i), "properties": {"hs_lastmodifieddate": str(moment)}}
            for i, moment in enumerate(changed)
        ]
    }


@pytest.mark.parametrize(
    ("cursor", "body"),
    [
        ("5", rows(7, 6)),
        ("5", rows(4, 6)),
        ("5", rows(*[6] * 101)),
        ("5/10", rows(5, 5, first_id=10)),
        ("5/10", {"results": [*rows(5, first_id=12)["results"], *rows(5, first_id=11)["results"]]}),
    ],
)
def test_rows_that_were_not_asked_for_are_not_trusted(cursor: str, body: Any) -> None:
    """To go on after rows in another order could pass over some, or never end."""
    with pytest.raises(DeliveryError, match="in another order") as caught:
        answering(body).changes(WON, cursor)

    assert caught.value.unknown


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"results": {}},
        {"results": [7]},
        {"results": [{"id": "x", "properties": {"hs_lastmodifieddate": "1"}}]},
        {"results": [{"id": "1", "properties": {}}]},
        {"results": [{"id": "1", "properties": {"hs_lastmodifieddate": None}}]},
        {"results": [{"id": "1", "properties": {"hs_lastmodifieddate": "yesterday"}}]},
        {"results": [{"id": "1"}]},
        {"results": [], "paging": {"next": {"after": "100"}}},
    ],
)
def test_an_answer_of_another_form_is_an_error(body: Any) -> None:
    """It is not taken for a page without changes."""
    with pytest.raises(DeliveryError, match="HTTP 200 with") as caught:
        answering(body).changes(WON, "")

    assert not caught.value.permanent


@pytest.mark.parametrize(
    ("how", "arguments", "expected"),
    [
        ("limit", {"retry_after": 2}, {"retry_after": 2}),
        ("status", {"status": 403, "category": "MISSING_SCOPES"}, {"stops": True}),
        ("status", {"status": 400, "category": "VALIDATION_ERROR"}, {"permanent": True}),
        ("html", {}, {"permanent": False, "unknown": True}),
    ],
)
def test_a_search_that_fails_says_how(
    account: Account, how: str, arguments: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Whoever reads can tell whether to wait, to act or to give up."""
    account.fail_next(how, **arguments)

    with pytest.raises(DeliveryError) as caught:
        hubspot(account).changes(WON, "")

    assert {name: getattr(caught.value, name) for name in expected} == expected
