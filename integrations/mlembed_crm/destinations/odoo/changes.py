"""Read in Odoo which records have changed, in the order of their changes.

Odoo keeps the time of a change to the microsecond but tells it to the second, so the records of one
second are read in the order of their ids. A transaction stamps its records before it commits, so
one can appear behind those that were read: a look begins ten minutes before the one before it did,
by the server's clock. What changed since is given twice, and nothing is passed over.
"""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING, Any

from mlembed_crm.destinations.odoo.errors import odd
from mlembed_crm.destinations.odoo.values import plain, read_time, time_text
from mlembed_crm.destinations.places import (
    Cursor,
    Place,
    next_look,
    read_cursor,
    require_fields,
    settled,
)
from mlembed_crm.truths import Found, Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlembed_crm.destinations.endpoint import Answer
    from mlembed_crm.destinations.odoo.calls import Calls
    from mlembed_crm.truths import Truth

ROWS = 200

_TIME = "write_date"
_SECOND = dt.timedelta(seconds=1)


def read_changes(
    calls: Calls, fields: Mapping[str, Any], truth: Truth, cursor: str, ends: float
) -> Page:
    """Return the page of changes after *cursor*.

    Args:
        calls: How to call Odoo.
        fields: The definitions of the fields of the truth's model.
        truth: What to read.
        cursor: Of the page before, or empty.
        ends: The `time.monotonic` after which nothing is called any more.

    Raises:
        DeliveryError: If it cannot be read; `stops` if somebody must act.
    """
    after = read_cursor(cursor, read_time)
    require_fields(truth.record, (_TIME, *truth.fields), fields)

    def ask(domain: Sequence[Any], order: str) -> _Rows:
        names = (_TIME, *truth.fields)
        rows, answer = calls.search(truth.record, domain, names, limit=ROWS, order=order, ends=ends)
        return _Rows(rows, answer)

    seen: list[Found] = []
    place = after.place
    if after.place is not None:
        same = ask(within(after.place), "id")
        same.require_rising([(row["id"],) for row in same.rows], (after.place.id,))
        seen = same.outcomes(truth, fields)
        if len(same.rows) >= ROWS:
            at = Cursor(same.last(), after.floor or same.settled())
            return Page(seen, at.text(time_text), more=True)
        place = same.last() or after.place
    later = ask(since(after.place), f"{_TIME}, id")
    first = after.place.time + _SECOND if after.place else dt.datetime.min.replace(tzinfo=dt.UTC)
    later.require_rising([(time,) for time in later.times], (first,), strict=False)
    found = [*seen, *later.outcomes(truth, fields)]
    floor = after.floor or later.settled()
    if len(later.rows) < ROWS:
        begins = next_look(later.last() or place, floor)
        return Page(found, begins.text(time_text), more=False)
    # Its last second may not be whole, so that is read by itself, from its beginning.
    at = Cursor(Place(later.times[-1]), floor)
    return Page(found, at.text(time_text), more=True)


def within(place: Place) -> list[Any]:
    """Return the condition for what is left of a place's second."""
    return [
        [_TIME, ">=", time_text(place.time)],
        [_TIME, "<", time_text(place.time + _SECOND)],
        ["id", ">", place.id],
    ]


def since(place: Place | None) -> list[Any]:
    """Return the condition for what changed after a place's second."""
    if place is None:
        return [[_TIME, "!=", False]]
    return [[_TIME, ">=", time_text(place.time + _SECOND)]]


class _Rows:
    """Some records that were found, and the times of their changes."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], answer: Answer) -> None:
        self.rows, self.answer = rows, answer
        try:
            self.times = [read_time(row.get(_TIME)) for row in rows]
        except ValueError:
            raise odd(answer) from None

    def require_rising(self, places: Sequence[Any], first: Any, *, strict: bool = True) -> None:
        """Return if *places* rise from *first*: else the same would be given for ever."""
        before = [first, *places]
        for one, following in itertools.pairwise(before):
            if one > following or (strict and one == following):
                raise odd(self.answer)

    def outcomes(self, truth: Truth, fields: Mapping[str, Any]) -> list[Found]:
        """Return the outcomes that they tell."""
        told = (
            truth.found(
                {name: plain(row.get(name), fields[name]) for name in truth.fields},
                time.timestamp(),
            )
            for row, time in zip(self.rows, self.times, strict=True)
        )
        return [found for found in told if found is not None]

    def last(self) -> Place | None:
        """Return the place behind all of them."""
        if not self.rows:
            return None
        at = self.times[-1]
        ids = [row["id"] for row, time in zip(self.rows, self.times, strict=True) if time == at]
        return Place(at, max(ids))

    def settled(self) -> dt.datetime | None:
        """Return the time before which nothing is committed any more."""
        return settled(self.answer, self.times[-1] if self.times else None)
