"""Send what one delivery has claimed, and settle it, call by call.

The lease is renewed while a batch is taken apart, so nobody else sends what is in hand; where it
cannot be, the rest is left to whoever has it now.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mlembed_crm.errors import DeliveryError
from mlembed_crm.fates import given_back
from mlembed_crm.quiet import quiet_until
from mlembed_crm.sending import send

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from mlembed_crm.action import Action
    from mlembed_crm.destinations import Destination
    from mlembed_crm.fates import Fates
    from mlembed_crm.observing import Observer
    from mlembed_crm.outboxes import Attempt, Deliverable
    from mlembed_crm.sending import Answered


class Round:
    """One claimed batch.

    Args:
        outbox: Where it was claimed.
        destination: Where it goes.
        fates: Decides what becomes of each action.
        observer: Hears of it.
        lease_seconds: How long the claim holds.
        stop: Ends the round before its next call.

    Attributes:
        results: What became of the actions that were sent or given up.
        goes_on: Whether the destination takes more in this run.
        called: Whether anything was sent.
    """

    def __init__(
        self,
        outbox: Deliverable,
        destination: Destination,
        fates: Fates,
        observer: Observer,
        lease_seconds: float,
        stop: threading.Event | None,
    ) -> None:
        self._outbox = outbox
        self._destination = destination
        self._fates = fates
        self._observer = observer
        self._lease_seconds = lease_seconds
        self._stop = stop
        self._left: dict[str, Action] = {}
        self._ends = 0.0
        self._ended = False
        self.results: list[str] = []
        self.goes_on = True
        self.called = False

    def run(self, claimed: Sequence[Action]) -> None:
        """Send *claimed*; whatever cannot be is given back, and costs no attempt."""
        moment, clock = self._outbox.now(), time.monotonic()
        self._ends = clock + self._lease_seconds - self._destination.limits.call_seconds
        rest = self._ready(claimed, moment)
        self._left = {action.id: action for action in rest}
        watched = self._observer.watching(self._destination)
        for answered in send(watched, rest, self._may_go_on):
            self._settle([self._fate(one, moment - clock) for one in answered], told=True)
        if self._ended and {"sent", "dead"}.isdisjoint(self.results):
            self.goes_on = False
        if self._left:
            self._settle([given_back(action, moment) for action in self._left.values()])

    def _ready(self, claimed: Sequence[Action], moment: float) -> list[Action]:
        """Return those that may be sent now, and settle the others."""
        ready, over, later = [], [], []
        for action in claimed:
            ends = quiet_until(action.quiet, moment)
            why = self._fates.spent(self._destination, action)
            if why:
                over.append(self._fates.buried(action, why, tried=False))
            elif ends:
                later.append(given_back(action, ends))
            else:
                ready.append(action)
        self._settle(over, told=True)
        self._settle(later)
        return ready

    def _may_go_on(self) -> bool:
        """Wait until one more call may be made, if it may; the first is made in any case."""
        if not self.called:
            self.called = True
            return True
        limits = self._destination.limits
        if time.monotonic() + limits.pause_seconds >= self._ends:
            left = list(self._left.values())
            if not self._outbox.hold(left, self._lease_seconds):
                return False
            self._ends = time.monotonic() + self._lease_seconds - limits.call_seconds
        if self._stop is None:
            time.sleep(limits.pause_seconds)
            return True
        return not (self._stop.wait(limits.pause_seconds) or self._stop.is_set())

    def _fate(self, one: Answered, since: float) -> Attempt:
        del self._left[one.action.id]
        if isinstance(one.answer, DeliveryError) and one.answer.ends_all:
            self._ended = True
            # Where only the call has ended, the rest goes next.
            self.goes_on = self.goes_on and one.answer.retry_after == 0
        return self._fates.of(self._destination, one, one.started + since)

    def _settle(self, attempts: list[Attempt], *, told: bool = False) -> None:
        if not attempts:
            return
        self._outbox.settle(attempts)
        if told:
            ended = [one for one in attempts if one.tried or one.result == "dead"]
            self.results += [attempt.result for attempt in ended]
            self._observer.settled(ended)
