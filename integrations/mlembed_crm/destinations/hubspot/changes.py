"""Ask HubSpot's search for the records that changed, a page at a time, and pass over none.

HubSpot's own paging counts rows, so a record that changes while it is paged moves all behind it by
one, and one is never seen; and it ends at 10,000. So each page here is a search of its own: for
what changed at the instant of the last row or after, in the order of time. Where one instant fills
a whole page, as after an import, the records of that instant are walked by their ids.

What changed lately may not be found yet, and servers' clocks differ: the last page's cursor goes
back to a minute before HubSpot's own time, and what changed since is given again.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mlembed_crm.destinations.answers import http_date
from mlembed_crm.errors import DeliveryError
from mlembed_crm.truths import Page

if TYPE_CHECKING:
    from mlembed_crm.destinations.endpoint import Answer
    from mlembed_crm.truths import Truth

CONTACTS = {"contacts", "contact", "0-1"}
PAGE = 100
OVERLAP_SECONDS = 60.0

_ID = "hs_object_id"
_CURSOR = re.compile(r"(\d{1,15})(?:/(\d{1,20}))?", re.ASCII)


class Cursor(NamedTuple):
    """Where to go on.

    Attributes:
        since: The instant from which on to search, Unix milliseconds.
        above: Of the records of that very instant, only those whose id is greater; None for all
            of that instant and later.
    """

    since: int
    above: int | None = None

    def __str__(self) -> str:
        return f"{self.since}" if self.above is None else f"{self.since}/{self.above}"


class _Row(NamedTuple):
    id: int
    changed: int
    values: Mapping[str, Any]


def read_cursor(text: str) -> Cursor:
    """Return the cursor of *text*; of an empty one, the very beginning.

    Raises:
        DeliveryError: If it is not one that a page gave.
    """
    found = _CURSOR.fullmatch(text or "0")
    if not found:
        raise DeliveryError(
            "the cursor is none of HubSpot's; begin anew with an empty one",
            permanent=True,
        )
    return Cursor(int(found[1]), None if found[2] is None else int(found[2]))


def query(truth: Truth, cursor: Cursor) -> dict[str, Any]:
    """Return the body of the search for the page at *cursor*."""
    changed = changed_property(truth.record)
    filters = [
        {"propertyName": truth.field, "operator": "HAS_PROPERTY"},
        {"propertyName": changed, "operator": "GTE", "value": str(cursor.since)},
    ]
    order = changed
    if cursor.above is not None:
        filters += [
            {"propertyName": changed, "operator": "LTE", "value": str(cursor.since)},
            {"propertyName": _ID, "operator": "GT", "value": str(cursor.above)},
        ]
        order = _ID
    return {
        "filterGroups": [{"filters": filters}],
        "sorts": [{"propertyName": order, "direction": "ASCENDING"}],
        "properties": [*truth.fields, changed],
        "limit": PAGE,
    }


def page(truth: Truth, cursor: Cursor, answer: Answer) -> Page:
    """Return what *answer* holds, and where to go on.

    Raises:
        DeliveryError: If the rows are not those that were asked for, in that order: to go on
            after them could pass over others.
    """
    body = answer.json()
    rows = _rows(body, changed_property(truth.record), answer.status)
    _require_order(rows, cursor, answer.status)
    full = len(rows) >= PAGE or _tells_of_more(body)
    if full and not rows:
        raise _malformed(answer.status, "no rows, and yet more of them")
    after = _next(rows, cursor, full=full)
    more = after is not None
    if after is None:
        now = _now(answer) - int(OVERLAP_SECONDS * 1000)
        last = rows[-1].changed + 1 if rows else cursor.since
        after = Cursor(max(0, min(last, now)))
    found = (truth.found(_read(truth, row.values), row.changed / 1000) for row in rows)
    return Page(tuple(one for one in found if one is not None), str(after), more)


def changed_property(record: str) -> str:
    """Return the property that tells when a record changed."""
    return "lastmodifieddate" if record in CONTACTS else "hs_lastmodifieddate"


def _next(rows: list[_Row], cursor: Cursor, *, full: bool) -> Cursor | None:
    """Return where the next page begins; None if all was read."""
    if cursor.above is not None:
        return Cursor(cursor.since, rows[-1].id) if full else Cursor(cursor.since + 1)
    if not full:
        return None
    last = rows[-1].changed
    return Cursor(last, 0 if last == cursor.since else None)


def _require_order(rows: list[_Row], cursor: Cursor, status: int) -> None:
    if cursor.above is None:
        keys, least = [row.changed for row in rows], cursor.since
        ordered = all(one <= other for one, other in itertools.pairwise(keys))
    else:
        keys, least = [row.id for row in rows], cursor.above + 1
        ordered = all(one < other for one, other in itertools.pairwise(keys))
    if len(rows) > PAGE or not ordered or (keys and keys[0] < least):
        raise _malformed(status, "rows other than those asked for, or in another order")


def _rows(body: Any, changed: str, status: int) -> list[_Row]:
    results = body.get("results") if isinstance(body, Mapping) else None
    if not isinstance(results, list):
        raise _malformed(status, "no list of results")
    try:
        return [
            _Row(int(one["id"]), _milliseconds(one["properties"][changed]), one["properties"])
            for one in results
        ]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise _malformed(status, "a row without an id or the time of its change") from None


def _tells_of_more(body: Mapping[str, Any]) -> bool:
    paging = body.get("paging")
    return isinstance(paging, Mapping) and bool(paging.get("next"))


def _malformed(status: int, what: str) -> DeliveryError:
    return DeliveryError(f"HTTP {status} with {what}", status=status, unknown=True)


def _milliseconds(text: Any) -> int:
    if not isinstance(text, str):
        raise TypeError
    if text.isascii() and text.isdecimal():
        return int(text)
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return (moment - dt.datetime.fromtimestamp(0, dt.UTC)) // dt.timedelta(milliseconds=1)


def _now(answer: Answer) -> int:
    """Return HubSpot's time in Unix milliseconds; this machine's where it does not tell."""
    moment = http_date(answer.headers.get("date", ""))
    return int((time.time() if moment is None else moment.timestamp()) * 1000)


def _read(truth: Truth, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return *values* with the outcome as what it is: HubSpot gives every value as a text."""
    read = {name: value if value != "" else None for name, value in values.items()}
    text = read.get(truth.field)
    if not truth.values and isinstance(text, str):
        read[truth.field] = _scalar(text)
    return read


def _scalar(text: str) -> bool | float | str:
    if text in {"true", "false"}:
        return text == "true"
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text
