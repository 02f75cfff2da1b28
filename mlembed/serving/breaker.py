"""Leave a graph alone for a while that fails again and again.

A host that waits for a timeout at every request is slower than one without a model. After so many
failures in a row answers fail at once; then one call tries, and its success ends the pause.
"""

from __future__ import annotations

import threading
import time
import weakref

from mlembed import forking
from mlembed.errors import CircuitOpenError, MlembedError, PredictionTimeoutError

_breakers: weakref.WeakSet[Breaker] = weakref.WeakSet()


class Breaker:
    """The circuit breaker of one model.

    Args:
        name: The model, for the error.
        failures: Failures in a row that open it; 0 for never.
        seconds: Pause before a call tries again.

    Attributes:
        failed: Failures in a row so far.
        is_open: Whether calls must ask `enter` first.
    """

    def __init__(self, name: str, failures: int, seconds: float) -> None:
        self._name = name
        self._failures = failures
        self._seconds = seconds
        # Held for a moment; a signal's handler may predict while its thread holds it.
        self._changing = threading.RLock()
        self._retry_at = 0.0
        self._version = ""
        self.failed = 0
        self.is_open = False
        _breakers.add(self)

    def enter(self, version: str) -> None:
        """Let one call try where the pause is over, or where *version* is not what failed.

        Raises:
            CircuitOpenError: If the graph is to be left alone.
        """
        with self._changing:
            if version != self._version:
                self.failed, self.is_open = 0, False
            elif time.monotonic() < self._retry_at:
                raise CircuitOpenError(
                    f"{self._name}@{version} failed {self.failed} times in a row and is left alone "
                    f"for {self._seconds:g} s; the log names the failures"
                )
            else:
                self._retry_at = time.monotonic() + self._seconds

    def fail(self, error: Exception, version: str) -> None:
        """Note a failure; a record that does not fit is none of the graph's."""
        if not self._failures or isinstance(error, CircuitOpenError):
            return
        if isinstance(error, MlembedError) and not isinstance(error, PredictionTimeoutError):
            if self.is_open:
                with self._changing:
                    self._retry_at = 0.0  # it was let in to try the graph, and did not
            return
        with self._changing:
            self.failed = self.failed + 1 if version == self._version else 1
            self._version = version
            if self.failed >= self._failures:
                self.is_open = True
                self._retry_at = time.monotonic() + self._seconds

    def succeed(self) -> None:
        """Note that the graph answered."""
        with self._changing:
            self.failed, self.is_open = 0, False

    def renew(self) -> None:
        """Begin anew in a forked child, where the lock may be held by a thread that is gone."""
        self._changing = threading.RLock()
        self.failed, self.is_open = 0, False


def _after_fork() -> None:
    for breaker in list(_breakers):
        breaker.renew()


forking.in_child(_after_fork)
