"""Read in Tryton which records have changed, in the order of their changes.

A transaction stamps its records when it begins, so one can appear behind those that were read. A
look therefore begins ten minutes before the one before it did, by the server's clock: what changed
since is given twice, and nothing is passed over. The clock of this machine plays no part.
"""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING, Any

from mlembed_crm.destinations.places import (
    Cursor,
    Place,
    next_look,
    read_cursor,
    require_fields,
    settled,
)
from mlembed_crm.destinations.tryton.calls import Search
from mlembed_crm.destinations.tryton.errors import odd
from mlembed_crm.destinations.tryton.values import moment, plain
from mlembed_crm.errors import DeliveryError
from mlembed_crm.truths import Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlembed_crm.destinations.endpoint import Answer
    from mlembed_crm.destinations.tryton.calls import Calls
    from mlembed_crm.truths import Truth

ROWS = 200

_TIME = "last_modified_at"  # of a record that was never written, when it was made


def read_changes(
    calls: Calls, fields: Mapping[str, Any], truth: Truth, cursor: str, ends: float
) -> Page:
    """Return the page of changes after *cursor*.

    Args:
        calls: How to call Tryton.
        fields: The definitions of the fields of the truth's model.
        truth: What to read.
        cursor: Of the page before, or empty.
        ends: The `time.monotonic` after which nothing is called any more.

    Raises:
        DeliveryError: If it cannot be read; `stops` if somebody must act.
    """
    after = read_cursor(cursor, _zoned)
    require_fields(truth.record, truth.fields, fields)
    # A record that a query makes up changes whenever it is looked at.
    if _TIME not in fields or not fields.get("create_date", {}).get("searchable"):
        raise DeliveryError(f"{truth.record} is computed; no change of it is known", stops=True)
    search = Search(
        truth.record,
        domain(after.place),
        (_TIME, *truth.fields),
        limit=ROWS,
        order=(_TIME, "id"),
    )
    rows, answer = calls.search(search, ends, several=False)
    return page(rows, answer, truth, after)


def domain(place: Place | None) -> list[Any]:
    """Return the condition for what changed after a place."""
    if place is None:
        return []
    time = moment(place.time)
    return ["OR", [_TIME, ">", time], [[_TIME, "=", time], ["id", ">", place.id]]]


def page(rows: Sequence[Mapping[str, Any]], answer: Answer, truth: Truth, after: Cursor) -> Page:
    """Return what was found after a cursor.

    Raises:
        DeliveryError: If it is not that, so that it would be given for ever.
    """
    try:
        told = [{name: plain(row.get(name)) for name in (_TIME, *truth.fields)} for row in rows]
        times = [dt.datetime.fromisoformat(values[_TIME]) for values in told]
    except (TypeError, ValueError):
        raise odd(answer) from None
    places = [Place(time, row["id"]) for time, row in zip(times, rows, strict=True)]
    before = places if after.place is None else [after.place, *places]
    if any(one >= following for one, following in itertools.pairwise(before)):
        raise odd(answer)
    found = [
        outcome
        for time, values in zip(times, told, strict=True)
        if (outcome := truth.found(values, time.timestamp())) is not None
    ]
    last = before[-1] if before else None
    floor = after.floor or settled(answer, last.time if last else None)
    more = len(rows) >= ROWS
    at = Cursor(last, floor) if more else next_look(last, floor)
    return Page(found, at.text(dt.datetime.isoformat), more)


def _zoned(text: str) -> dt.datetime:
    time = dt.datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError
    return time.astimezone(dt.UTC)
