"""Send what waits in the outbox, until it is taken or given up.

A batch is claimed, sent and settled at a time, so its lease outlives the attempt. What dies in
between is sent again under the same ids when the lease ends.
"""

from __future__ import annotations

import atexit
import dataclasses
import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from mlembed.errors import SettingsError
from mlembed_crm.destinations import Limits
from mlembed_crm.fates import Fates, Remedies, Retries
from mlembed_crm.observing import Observer
from mlembed_crm.outboxes import MAX_LEASE_SECONDS
from mlembed_crm.pacing import Pace
from mlembed_crm.rounds import Round

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mlembed_crm.destinations import Destination
    from mlembed_crm.outboxes import Deliverable

_LOG = logging.getLogger("mlembed")
_EXIT_SECONDS = 2.0
_PRUNE_SECONDS = 3600.0


@dataclasses.dataclass(frozen=True, slots=True)
class Delivered:
    """What one run did: actions taken, to be tried again, and given up."""

    sent: int = 0
    failed: int = 0
    dead: int = 0

    def __add__(self, other: Delivered) -> Delivered:
        return Delivered(self.sent + other.sent, self.failed + other.failed, self.dead + other.dead)

    def __str__(self) -> str:
        return f"{self.sent} sent, {self.failed} to be tried again, {self.dead} given up"


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
        remedies: How people put things right, for the log.

    Attributes:
        total: What all runs of this object did.
    """

    def __init__(
        self,
        outbox: Deliverable,
        destinations: Mapping[str, Destination],
        *,
        retries: Retries | None = None,
        lease_seconds: float = 120.0,
        poll_seconds: float = 1.0,
        keep_sent_seconds: float | None = 30 * 86_400.0,
        remedies: Remedies | None = None,
    ) -> None:
        if not destinations:
            raise SettingsError("Delivery: destinations must name at least one")
        if not poll_seconds > 0:
            raise SettingsError("Delivery: poll_seconds must be more than 0")
        if not 0 < lease_seconds <= MAX_LEASE_SECONDS:
            raise SettingsError(f"Delivery: lease_seconds must be in (0, {MAX_LEASE_SECONDS:g}]")
        for name, destination in destinations.items():
            _require_destination(name, destination)
        self.outbox = outbox
        self.destinations = dict(destinations)
        self._fates = Fates(outbox, retries or Retries(), remedies or Remedies())
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._keep_sent_seconds = keep_sent_seconds
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._pid = 0
        self._next_prune = 0.0
        self._counting = threading.Lock()
        self.total = Delivered()
        self._warned: set[str] = set()
        self._paces = {
            name: Pace(destination.limits.pause_seconds)
            for name, destination in self.destinations.items()
        }
        self._observers = {name: Observer(name) for name in self.destinations}

    def only(self, names: Collection[str]) -> None:
        """Deliver to *names* alone from here on.

        Raises:
            SettingsError: If one of them is no destination here.
        """
        for name in names:
            if name not in self.destinations:
                there = ", ".join(sorted(self.destinations))
                raise SettingsError(f"there is no destination '{name}'; it has {there}")
        self._warned |= self.destinations.keys() - set(names)
        self.destinations = {name: self.destinations[name] for name in names}

    def run_once(self, stop: threading.Event | None = None) -> Delivered:
        """Send everything that is due, or until *stop* is set; return what became of it.

        A destination that cannot be reached is left alone for the rest of the run.

        Raises:
            OutboxError: If the outbox cannot be read or written.
        """
        counts = {"sent": 0, "failed": 0, "dead": 0}
        open_names = sorted(self.destinations)
        self._warn_unknown()
        while open_names and not (stop is not None and stop.is_set()):
            for name in open_names.copy():
                if not self._serve(name, counts, stop):
                    open_names.remove(name)
            if open_names:
                pauses = min(self._paces[name].left() for name in open_names)
                (stop or self._stop).wait(min(pauses, self._poll_seconds))
        self._prune()
        done = Delivered(**counts)
        with self._counting:
            self.total += done
        return done

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

    def start(self, workers: int = 1) -> Delivery:
        """Deliver on background threads of this process; a second call changes nothing.

        Args:
            workers: How many threads; more than one where calls take long.
        """
        if not self._threads or self._pid != os.getpid():
            self._pid, self._stop = os.getpid(), threading.Event()
            self._threads = [
                threading.Thread(
                    target=self.run_forever,
                    args=(self._stop,),
                    name="mlembed-delivery",
                    daemon=True,
                )
                for _ in range(workers)
            ]
            for thread in self._threads:
                thread.start()
            _started.add(self)
        return self

    def close(self, timeout_seconds: float = 15.0) -> None:
        """Stop the background threads, after the attempts that are running."""
        threads, self._threads = self._threads, []
        if self._pid == os.getpid():  # a forked child must not touch what its parent waits for
            self._stop.set()
            ends = time.monotonic() + timeout_seconds
            for thread in threads:
                thread.join(max(0.0, ends - time.monotonic()))

    def _serve(self, name: str, counts: dict[str, int], stop: threading.Event | None) -> bool:
        """Claim, send and settle one batch; return whether the destination may take more."""
        destination = self.destinations[name]
        limits = destination.limits
        turn = limits.call_seconds + limits.pause_seconds
        lease = min(MAX_LEASE_SECONDS, max(self._lease_seconds, 2 * turn))
        pace = self._paces[name]
        if not pace.begin():
            return True
        batch = Round(self.outbox, destination, self._fates, self._observers[name], lease, stop)
        try:
            claimed = self.outbox.claim(limits.batch, lease, [name])
            if claimed:
                batch.run(claimed)
        finally:
            pace.end(called=batch.called)
        for result in batch.results:
            counts[result] += 1
        return bool(claimed) and batch.goes_on

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


def _require_destination(name: str, destination: Any) -> None:
    for part in ("name", "limits", "send"):
        if not hasattr(destination, part):
            raise SettingsError(
                f"destination '{name}' is a {type(destination).__name__} without '{part}'; one has "
                "name, limits (mlembed_crm.Limits) and send(actions)"
            )
    if not isinstance(destination.limits, Limits):
        raise SettingsError(f"destination '{name}': limits must be mlembed_crm.Limits(...)")


_started: weakref.WeakSet[Delivery] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for delivery in list(_started):
        delivery.close(_EXIT_SECONDS)
