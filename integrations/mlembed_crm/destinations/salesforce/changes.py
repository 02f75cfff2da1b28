"""Read in Salesforce which records have changed, in the order of their changes.

The cursor never passes what Salesforce's own clock calls recent: a transaction stamps its records
before it commits, so one can appear behind those that were read. Recent records are given at once,
and again at the next look. The clock of this machine plays no part.
"""

from __future__ import annotations

import datetime as dt
import re
import urllib.parse
from typing import TYPE_CHECKING, Any, NamedTuple

from mlembed_crm.destinations.answers import http_date
from mlembed_crm.destinations.salesforce.answers import accepted, changed
from mlembed_crm.destinations.values import moment
from mlembed_crm.errors import DeliveryError
from mlembed_crm.truths import Page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlembed_crm.destinations.endpoint import Answer
    from mlembed_crm.destinations.salesforce.login import Session
    from mlembed_crm.truths import Truth

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,254}")
ROWS = 2000
# Salesforce ends a transaction after 10 minutes.
SETTLED = dt.timedelta(minutes=10)

_PATH = re.compile(rf"{NAME.pattern}(\.{NAME.pattern}){{0,5}}")
_ID = re.compile(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")


class Place(NamedTuple):
    """A place in the order of changes.

    Attributes:
        time: Of the change, with a zone.
        id: Of the last record there that was read; empty where none was.
    """

    time: dt.datetime
    id: str = ""

    def __str__(self) -> str:
        return f"{_literal(self.time)} {self.id}".rstrip()


def read_changes(session: Session, base: str, truth: Truth, cursor: str, ends: float) -> Page:
    """Return the page of changes after *cursor*.

    Args:
        session: To call with.
        base: Path of the API's version.
        truth: What to read.
        cursor: Of the page before, or empty.
        ends: The `time.monotonic` by which to end.

    Raises:
        DeliveryError: If it cannot be read; `stops` if somebody must act.
    """
    after = place(cursor)
    path = f"{base}/query?q={urllib.parse.quote(query(truth, after), safe='')}"
    try:
        answer = accepted(session.call("GET", path, ends), truth.fields)
    except DeliveryError as error:
        raise changed(error, permanent=False, stops=error.stops or error.permanent) from error
    return page(answer, truth, after)


def query(truth: Truth, after: Place | None) -> str:
    """Return the SOQL that asks for the records after a place.

    Raises:
        DeliveryError: If a name of *truth* is none of Salesforce's: SOQL has no parameters, so
            nothing else may get into it.
    """
    for name, pattern in ((truth.record, NAME), *((field, _PATH) for field in truth.fields)):
        if not pattern.fullmatch(name):
            raise DeliveryError(f"'{name[:80]}' is no name of Salesforce's; mend it", stops=True)
    # No field may be asked for twice, and case makes no difference.
    fields = {name.lower(): name for name in ("Id", "SystemModstamp", *truth.fields)}
    where = ""
    if after is not None:
        where = f" WHERE SystemModstamp >= {_literal(after.time)}"
        if after.id:
            tie = f"SystemModstamp > {_literal(after.time)} OR Id > '{after.id}'"
            where = f"{where} AND ({tie})"
    return (  # the names are checked above
        f"SELECT {', '.join(fields.values())} FROM {truth.record}{where} "  # noqa: S608
        f"ORDER BY SystemModstamp, Id LIMIT {ROWS}"
    )


def page(answer: Answer, truth: Truth, after: Place | None) -> Page:
    """Return what the answer to that query tells.

    Raises:
        DeliveryError: If it is no such answer, or would be given for ever.
    """
    rows, done = _rows(answer)
    places = [_place_of(row, answer) for row in rows]
    values = ({name: value_of(row, name) for name in truth.fields} for row in rows)
    found = [
        outcome
        for at, known in zip(places, values, strict=True)
        if (outcome := truth.found(known, at.time.timestamp())) is not None
    ]
    if not places:
        return Page(found, "" if after is None else str(after), more=False)
    last = places[-1]
    # Before this, nothing is committed any more.
    settled = (http_date(answer.headers.get("date", "")) or last.time) - SETTLED
    if last.time >= settled:
        held = Place(settled) if after is None or after.time < settled else after
        return Page(found, str(held), more=False)
    more = not done or len(rows) == ROWS
    if more and last == after:
        raise DeliveryError("the changes do not go on after their cursor", stops=True)
    return Page(found, str(last), more)


def place(cursor: str) -> Place | None:
    """Return the place that a cursor names; None for the beginning.

    Raises:
        DeliveryError: If it is none of ours; `stops`.
    """
    if not cursor:
        return None
    time, _, name = cursor.partition(" ")
    at = moment(time)
    if at is None or not (name == "" or _ID.fullmatch(name)):
        raise DeliveryError("the cursor is damaged; begin again with an empty one", stops=True)
    return Place(at, name)


def value_of(row: Mapping[str, Any], name: str) -> Any:
    """Return the value of a field, or of a field of a record that it refers to.

    Salesforce answers with a field's own capitals, whichever it was asked with.
    """
    value: Any = row
    for part in name.lower().split("."):
        if not isinstance(value, dict):
            return None
        value = next((found for key, found in value.items() if key.lower() == part), None)
    return value


def _rows(answer: Answer) -> tuple[list[dict[str, Any]], bool]:
    told = answer.json()
    rows = told.get("records") if isinstance(told, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _odd(answer)
    return rows, told.get("done") is not False


def _place_of(row: Mapping[str, Any], answer: Answer) -> Place:
    at, name = moment(value_of(row, "SystemModstamp")), value_of(row, "Id")
    if at is None or not isinstance(name, str) or not _ID.fullmatch(name):
        raise _odd(answer)
    return Place(at, name)


def _odd(answer: Answer) -> DeliveryError:
    return DeliveryError("the answer is none to a query", status=answer.status, unknown=True)


def _literal(time: dt.datetime) -> str:
    return time.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
