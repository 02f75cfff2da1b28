"""The rows that wait for a database: taken by any thread, and made by the one that writes them."""

from __future__ import annotations

import collections
import itertools
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from django.db.models import Model


class Waiting(NamedTuple):
    """Rows that are to be written.

    Attributes:
        n_bytes: What they hold in memory, about.
        n_rows: How many they are.
        make: Makes them, on the writer's thread.
    """

    n_bytes: int
    n_rows: int
    make: Callable[[], Iterable[Model]]


_NOTHING = Waiting(0, 0, tuple)


class Backlog:
    """What waits, in the order in which it came, and the rows in hand.

    Args:
        lose: Hears how many rows could not be made, and why.

    Attributes:
        in_hand: Rows that are made, and not written.
        n_waiting: How many more are to be made.
    """

    def __init__(self, lose: Callable[[int, Exception], None]) -> None:
        self.in_hand: list[Model] = []
        self.n_waiting = 0
        self._lose = lose
        self._queue: collections.deque[Waiting | threading.Event] = collections.deque()
        self._making: Iterator[Model] = iter(())
        self._made = _NOTHING
        self._reached: list[threading.Event] = []
        self._n_bytes = 0
        # A signal's handler may predict while its thread holds it.
        self._counting = threading.RLock()

    @property
    def n_rows(self) -> int:
        """How many rows are taken and not written."""
        return self.n_waiting + len(self.in_hand)

    def has_room(self, n_bytes: int, max_bytes: int) -> bool:
        """Tell whether *n_bytes* more are below *max_bytes*; what is alone always has room."""
        return not self._n_bytes or self._n_bytes + n_bytes <= max_bytes

    def add(self, rows: Waiting, max_bytes: int) -> bool:
        """Take rows; return False where there is no room."""
        with self._counting:
            if not self.has_room(rows.n_bytes, max_bytes):
                return False
            self._n_bytes += rows.n_bytes
            self.n_waiting += rows.n_rows
        self._queue.append(rows)
        return True

    def mark(self) -> threading.Event:
        """Return what is set once all that was taken before this call is written."""
        done = threading.Event()
        self._queue.append(done)
        return done

    def take(self, n_rows: int) -> bool:
        """Have *n_rows* rows in hand, or those up to the next mark; return whether to do anything."""
        while len(self.in_hand) < n_rows and not self._reached:
            before = len(self.in_hand)
            try:
                self.in_hand.extend(itertools.islice(self._making, n_rows - before))
                self._count(len(self.in_hand) - before)
            except Exception as error:  # noqa: BLE001  one odd row must not hold up the others
                self._count(len(self.in_hand) - before)
                self._making = iter(())
                self._lose(self._made.n_rows, error)
            if len(self.in_hand) > before:
                continue
            self._count(self._made.n_rows)
            with self._counting:
                self._n_bytes -= self._made.n_bytes
            self._made = _NOTHING
            if not self._queue:
                break
            item = self._queue.popleft()
            if isinstance(item, threading.Event):
                self._reached.append(item)
            else:
                self._made, self._making = item, _made_by(item)
        return bool(self.in_hand or self._reached)

    def written(self, rows: Iterable[Model]) -> None:
        """Put *rows* out of hand."""
        done = {id(row) for row in rows}
        self.in_hand = [row for row in self.in_hand if id(row) not in done]

    def settle(self) -> None:
        """Set the marks that were reached; all in hand must be written."""
        reached, self._reached = self._reached, []
        for mark in reached:
            mark.set()

    def _count(self, n_rows: int) -> None:
        """Count *n_rows* of the item at hand as no longer waiting."""
        n_rows = min(n_rows, self._made.n_rows)
        self._made = self._made._replace(n_rows=self._made.n_rows - n_rows)
        with self._counting:
            self.n_waiting -= n_rows


def _made_by(item: Waiting) -> Iterator[Any]:
    yield from item.make()
