"""Let one thread at a time do what must not be done twice at once, such as loading a version.

A lock that is waited for with a limit stays locked for good where a signal's handler raises
between its acquisition and the statement that would release it. A turn belongs to an object
instead: it is over when its holder gives it back, or is gone with the call that had it.
"""

from __future__ import annotations

import threading
import time
import weakref

_PAUSE_SECONDS = 0.002


class Holder:
    """Who has a turn; keep it in a local variable."""

    __slots__ = ("__weakref__",)


class Turn:
    """A turn that one holder at a time has."""

    def __init__(self) -> None:
        # Held for a moment; a signal's handler may come here while its thread holds it.
        self._changing = threading.RLock()
        self._holder: weakref.ref[Holder] | None = None

    def take(self, holder: Holder, timeout_seconds: float) -> bool:
        """Wait at most *timeout_seconds* for the turn; return whether *holder* has it."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            with self._changing:
                if self._holder is None or self._holder() is None:
                    self._holder = weakref.ref(holder)
                    return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE_SECONDS)

    def give_back(self, holder: Holder) -> None:
        """End the turn of *holder*, if it has it."""
        with self._changing:
            if self._holder is not None and self._holder() is holder:
                self._holder = None
