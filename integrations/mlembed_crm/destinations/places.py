"""Keep where the reading of changes stands, in their order, so that none is passed over.

Systems stamp a record before they commit it, so one can appear behind those that were read. A look
therefore begins ten minutes before the one before it did, by the server's clock: what changed since
is given twice. The clock of this machine plays no part.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from typing import TYPE_CHECKING, NamedTuple

from mlembed_crm.destinations.answers import http_date
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from mlembed_crm.destinations.endpoint import Answer

SETTLED = dt.timedelta(minutes=10)


class Place(NamedTuple):
    """A place in the order of changes.

    Attributes:
        time: Of the change, with a zone; as exact as the system tells it.
        id: Of the last record of that time that was read; 0 where none was.
    """

    time: dt.datetime
    id: int = 0


class Cursor(NamedTuple):
    """Where a look stands.

    Attributes:
        place: After which to go on; None at the very beginning.
        floor: Where the next look begins at the latest; None before a look.
    """

    place: Place | None = None
    floor: dt.datetime | None = None

    def text(self, written: Callable[[dt.datetime], str]) -> str:
        """Return it as `read_cursor` reads it, its times as *written* gives them."""
        if self.place is None:
            return ""
        floor = None if self.floor is None else written(self.floor)
        return json.dumps([written(self.place.time), self.place.id, floor])


def read_cursor(text: str, read: Callable[[str], dt.datetime]) -> Cursor:
    """Return the cursor that a text names; of an empty one, the very beginning.

    Args:
        text: Of a page, or empty.
        read: Reads one of its times; raises `TypeError` or `ValueError` if it is none.

    Raises:
        DeliveryError: If it is none of ours; `stops`.
    """
    if not text:
        return Cursor()
    try:
        time, number, floor = json.loads(text)
        if not isinstance(number, int):
            raise TypeError
        return Cursor(Place(read(time), number), None if floor is None else read(floor))
    except (TypeError, ValueError):
        why = "the cursor is damaged; begin again with an empty one"
        raise DeliveryError(why, stops=True) from None


def next_look(last: Place | None, floor: dt.datetime | None) -> Cursor:
    """Return where to begin when all was read.

    Args:
        last: The last place that was read.
        floor: Where to begin at the latest.
    """
    starts = [place for place in (last, Place(floor) if floor else None) if place is not None]
    return Cursor(min(starts) if starts else None)


def settled(answer: Answer, newest: dt.datetime | None) -> dt.datetime | None:
    """Return the time before which nothing is committed any more, by the server's clock.

    Args:
        answer: Of the server.
        newest: Time of the newest change, which stands for the clock of a server that tells none.
    """
    now = http_date(answer.headers.get("date", "")) or newest
    return None if now is None else now - SETTLED


def require_fields(record: str, names: Iterable[str], known: Collection[str]) -> None:
    """Return if a kind of record has all the fields that a truth names.

    Raises:
        DeliveryError: If one is missing; `stops`.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        why = f"{record} has no field {', '.join(unknown)}; correct the truth's names"
        raise DeliveryError(why, stops=True)


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Let what is `permanent` stop the reading: no record is at fault, so somebody must act."""
    try:
        yield
    except DeliveryError as error:
        if error.permanent:
            raise DeliveryError(error.reason, status=error.status, stops=True) from error
        raise
