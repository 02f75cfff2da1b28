"""Send what waits in the outbox, until it is taken or given up.

An action is claimed, sent and marked one at a time, so its lease outlives the attempt. What dies
in between is sent again under the same id when the lease ends.
"""

from __future__ import annotations

import atexit
import dataclasses
import logging
import os
import random
import threading
import weakref
from typing import TYPE_CHECKING

from mlembed.errors import SettingsError
from mlembed_crm.errors import DeliveryError
from mlembed_crm.outbox import MAX_LEASE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlembed_crm.action import Action
    from mlembed_crm.destinations import Destination
    from mlembed_crm.outbox import Outbox

_LOG = logging.getLogger("mlembed")
_EXIT_SECONDS = 2.0
_PRUNE_SECONDS = 3600.0
_MAX_EXPONENT = 30


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How long to go on with an action that is not taken.

    The pause before an attempt is drawn between 0 and a bound that doubles each time.

    Attributes:
        first_seconds: The bound after the first attempt.
        most_seconds: The greatest bound.
        attempts: Attempts after which an action is dead.
        age_seconds: Age at which a failing action is dead; it is tried once in any case.
    """

    first_seconds: float = 5.0
    most_seconds: float = 4 * 3600.0
    attempts: int = 24
    age_seconds: float = 3 * 86_400.0

    def __post_init__(self) -> None:
        if not 0 <= self.first_seconds <= self.most_seconds or self.attempts < 1:
            raise SettingsError("Retries: need 0 <= first_seconds <= most_seconds, attempts >= 1")

    def pause_seconds(self, attempts: int) -> float:
        """Return how long to wait after *attempts* attempts."""
        bound = self.first_seconds * 2.0 ** min(attempts - 1, _MAX_EXPONENT)
        return random.uniform(0.0, min(self.most_seconds, bound))  # noqa: S311  spreads retries, guards nothing


@dataclasses.dataclass(frozen=True, slots=True)
class Delivered:
    """What one run did: actions taken, to be tried again, and given up."""

    sent: int = 0
    failed: int = 0
    dead: int = 0


class Delivery:
    """Delivers the actions of *outbox* to *destinations*.

    Any number may run on one outbox, in threads and processes: each action is one's at a time. The
    thread that `start` makes belongs to its process; a forked child that is to deliver calls
    `start` itself.

    Args:
        outbox: What to deliver.
        destinations: By the name that rules give. Actions of other names are left alone.
        retries: How long to go on.
        lease_seconds: How long an action is held; longer than an attempt may take.
        poll_seconds: Pause between looks at an outbox in which nothing is due.
        keep_sent_seconds: Sent actions are deleted after that; None keeps them.
    """

    def __init__(
        self,
        outbox: Outbox,
        destinations: Mapping[str, Destination],
        *,
        retries: Retries | None = None,
        lease_seconds: float = 120.0,
        poll_seconds: float = 1.0,
        keep_sent_seconds: float | None = 30 * 86_400.0,
    ) -> None:
        if not destinations:
            raise SettingsError("Delivery: destinations must name at least one")
        if not poll_seconds > 0:
            raise SettingsError("Delivery: poll_seconds must be more than 0")
        if not 0 < lease_seconds <= MAX_LEASE_SECONDS:
            raise SettingsError(f"Delivery: lease_seconds must be in (0, {MAX_LEASE_SECONDS:g}]")
        self.outbox = outbox
        self.destinations = dict(destinations)
        self.retries = retries or Retries()
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._keep_sent_seconds = keep_sent_seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._next_prune = 0.0
        self._warned: set[str] = set()

    def run_once(self, stop: threading.Event | None = None) -> Delivered:
        """Send everything that is due, or until *stop* is set; return what became of it.

        A destination that cannot be reached is left alone for the rest of the run.

        Raises:
            OutboxError: If the outbox cannot be read or written.
        """
        counts = {"sent": 0, "failed": 0, "dead": 0}
        open_names = set(self.destinations)
        self._warn_unknown()
        while open_names and not (stop is not None and stop.is_set()):
            claimed = self.outbox.claim(1, self._lease_seconds, sorted(open_names))
            if not claimed:
                break
            outcome, reached = self._deliver(claimed[0])
            counts[outcome] += 1
            if not reached:
                open_names.discard(claimed[0].destination)
        self._prune()
        return Delivered(**counts)

    def run_forever(self, stop: threading.Event) -> None:
        """Deliver until *stop* is set; whatever fails is logged and tried again.

        Set *stop* from another thread, never from a signal handler, which can interrupt the wait
        for it and then hang: there, use `start` and `close`.
        """
        problem = ""
        while not stop.is_set():
            try:
                self.run_once(stop)
                problem = ""
            except Exception as error:  # noqa: BLE001  the loop must outlive a full disk and a bug
                if problem != str(error):
                    problem = str(error)
                    _LOG.exception("delivery from %s failed; it goes on", self.outbox)
            stop.wait(self._poll_seconds)

    def start(self) -> Delivery:
        """Deliver on a background thread of this process; a second call changes nothing."""
        if self._thread is None or self._pid != os.getpid():
            self._pid, self._stop = os.getpid(), threading.Event()
            self._thread = threading.Thread(
                target=self.run_forever, args=(self._stop,), name="mlembed-delivery", daemon=True
            )
            self._thread.start()
            _started.add(self)
        return self

    def close(self, timeout_seconds: float = 15.0) -> None:
        """Stop the background thread, after the attempt that is running."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None and self._pid == os.getpid():
            thread.join(timeout_seconds)

    def _deliver(self, action: Action) -> tuple[str, bool]:
        destination = self.destinations[action.destination]
        if action.attempts > self.retries.attempts:
            return self._bury(action, f"none of {self.retries.attempts} attempts ended"), True
        try:
            destination.send(action)
        except DeliveryError as error:
            return self._give_back(action, error), error.reached
        except Exception as error:  # noqa: BLE001  a destination's bug must not stop the others
            _LOG.exception("action %s: destination %s has a bug", action.id, destination.name)
            reason = DeliveryError(f"{type(error).__name__} in the destination; see the log")
            return self._give_back(action, reason), True
        self.outbox.mark_sent(action)
        return "sent", True

    def _give_back(self, action: Action, error: DeliveryError) -> str:
        now = self.outbox.now()
        if error.permanent:
            return self._bury(action, error.reason)
        # An attempt that was told to wait says nothing about the action: it does not count.
        counted = error.retry_after is None
        if counted and action.attempts >= self.retries.attempts:
            return self._bury(action, f"{error.reason}, after {action.attempts} attempts")
        if now - action.queued >= self.retries.age_seconds:
            return self._bury(action, f"{error.reason}, after {now - action.queued:.0f} s")
        pause = self.retries.pause_seconds(max(1, action.attempts))
        if error.retry_after is not None:
            self.outbox.pause(action.destination, now + error.retry_after)
            pause += error.retry_after
        self.outbox.mark_failed(action, error.reason, now + pause, counted=counted)
        _LOG.warning(
            "action %s of rule '%s' not taken by '%s': %s; next attempt in %.0f s",
            *(action.id, action.rule, action.destination, error.reason, pause),
        )
        return "failed"

    def _bury(self, action: Action, reason: str) -> str:
        self.outbox.mark_dead(action, reason)
        _LOG.error(
            "action %s of rule '%s' is given up: '%s' said %s. Send it again with: "
            "python -m mlembed_crm redeliver",
            *(action.id, action.rule, action.destination, reason),
        )
        return "dead"

    def _warn_unknown(self) -> None:
        for name in self.outbox.destinations():
            if name not in self.destinations and name not in self._warned:
                self._warned.add(name)
                _LOG.warning("actions wait for '%s', which is no destination here", name)

    def _prune(self) -> None:
        now = self.outbox.now()
        if self._keep_sent_seconds is not None and now >= self._next_prune:
            self._next_prune = now + _PRUNE_SECONDS
            self.outbox.prune(self._keep_sent_seconds)


_started: weakref.WeakSet[Delivery] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for delivery in list(_started):
        delivery.close(_EXIT_SECONDS)
