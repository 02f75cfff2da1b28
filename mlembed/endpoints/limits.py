"""What one client may ask, and how often."""

from __future__ import annotations

import collections
import dataclasses
import math
import threading
import time
import weakref
from typing import TYPE_CHECKING

from mlembed import forking
from mlembed.endpoints.problems import Problem, retry_after
from mlembed.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

_throttles: weakref.WeakSet[Throttle] = weakref.WeakSet()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How many requests a client may make of one model.

    Attributes:
        per_second: Requests a second, for as long as it likes.
        burst: Requests at once, after a pause.
    """

    per_second: float
    burst: int = 1

    def __post_init__(self) -> None:
        if not (0 < self.per_second < math.inf and self.burst >= 1):
            raise SettingsError("Rate: per_second must be above 0, and burst 1 or more")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may hold, and how many a client may make.

    Attributes:
        max_bytes: Longest body.
        max_records: Most records in a body.
        rate: Of each client and model; None for no throttle.
        max_clients: Clients that the throttle remembers; beyond, the one that was longest away is
            forgotten, so memory is bounded whoever comes.
    """

    max_bytes: int = 1024 * 1024
    max_records: int = 1_000
    rate: Rate | None = None
    max_clients: int = 10_000

    def __post_init__(self) -> None:
        counts = (self.max_bytes, self.max_records, self.max_clients)
        if not all(type(count) is int and count >= 1 for count in counts):
            raise SettingsError("Limits: max_bytes, max_records and max_clients must be 1 or more")


class Throttle:
    """A token bucket for each client and model of this process.

    Of a bucket only the time is kept at which it is full again (ITU-T I.371, GCRA), so one that is
    full is the same as none.

    Args:
        rate: How fast a bucket fills, and what it holds.
        max_clients: Buckets that are kept.
        clock: Seconds that only grow.
    """

    def __init__(
        self, rate: Rate, max_clients: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = 1.0 / rate.per_second
        self._room = self._interval * (rate.burst - 1)
        self._max_clients = max_clients
        self._clock = clock
        self._full_at: collections.OrderedDict[tuple[str, str], float] = collections.OrderedDict()
        self._changing = threading.Lock()
        _throttles.add(self)

    def take(self, client: str, model: str) -> None:
        """Take a token, or refuse the request; the lock is held for that moment alone.

        Raises:
            Problem: Of the kind `rate`, with the seconds after which there is one.
        """
        now, key = self._clock(), (client, model)
        with self._changing:
            full_at = max(now, self._full_at.get(key, now))
            wait = full_at - now - self._room
            if wait <= 1e-9 * self._interval:  # a sum of intervals is not exact
                self._full_at[key] = full_at + self._interval
                self._full_at.move_to_end(key)
                if len(self._full_at) > self._max_clients:
                    self._full_at.popitem(last=False)
                return
        raise Problem("rate", "Come back later", (), retry_after(wait))

    def __len__(self) -> int:
        return len(self._full_at)

    def renew(self) -> None:
        """Begin anew in a forked child, where the lock may be held by a thread that is gone."""
        self._changing = threading.Lock()


def _after_fork() -> None:
    for throttle in list(_throttles):
        throttle.renew()


forking.in_child(_after_fork)
