"""Keep the least time between the calls to a destination, however many workers send."""

from __future__ import annotations

import threading
import time


class Pace:
    """Lets one call at a time begin, and the next not before a pause is over.

    Args:
        pause_seconds: From the end of a call to the next; 0 lets any number run at once.
    """

    def __init__(self, pause_seconds: float) -> None:
        self._pause_seconds = pause_seconds
        self._lock = threading.Lock()
        self._running = False
        self._next = 0.0

    def begin(self) -> bool:
        """Begin a call, if that may be now."""
        if not self._pause_seconds:
            return True
        with self._lock:
            if self._running or time.monotonic() < self._next:
                return False
            self._running = True
            return True

    def end(self, *, called: bool) -> None:
        """End what was begun.

        Args:
            called: Whether anything was sent, so that the pause begins.
        """
        with self._lock:
            self._running = False
            if called:
                self._next = time.monotonic() + self._pause_seconds

    def left(self) -> float:
        """Return the seconds until the next call may begin, as far as is known."""
        with self._lock:
            if self._running:  # which ends nobody knows when, and a pause follows it
                return self._pause_seconds
            return max(0.0, self._next - time.monotonic())
