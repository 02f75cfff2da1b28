"""End an HTTP exchange by a deadline.

The timeouts of httpx bound one read each: a server that sends a byte at a time, or one
`100 Continue` after the other, could hold a thread for days. Here a timer shuts the socket down,
whatever is being waited for; only the system's look-up of a name cannot be cut short.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Self

from mlembed.errors import RegistryError

if TYPE_CHECKING:
    from types import TracebackType

_LEAST_SECONDS = 0.001  # httpx takes 0 for: do not wait at all


class Deadline:
    """A time by which the watched connection is cut.

    Args:
        seconds: From now.

    Attributes:
        seconds: The same.
        passed: Whether it came.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = min(seconds, threading.TIMEOUT_MAX)
        self.passed = False
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(self.seconds, self._cut)
        self._timer.daemon = True
        self._timer.name = "mlembed-deadline"

    def elapsed(self) -> float:
        """Return the seconds since it was set."""
        return time.monotonic() - self._begun

    def remaining(self) -> float:
        """Return the seconds that are left, never 0."""
        return max(self.seconds - self.elapsed(), _LEAST_SECONDS)

    def watch(self, connection: socket.socket) -> None:
        """Cut *connection*, and no longer the one before, when the time comes."""
        with contextlib.suppress(OSError):  # closed by now; the next one will be seen too
            # A duplicate of our own: its number cannot come to name another file meanwhile.
            duplicate = socket.fromfd(connection.fileno(), connection.family, connection.type)
            with self._lock:
                self._forget()
                self._socket = duplicate
            if self.passed:
                self._cut()

    def forget(self) -> None:
        """Watch nothing any more; a closed connection stays open while it is watched."""
        with self._lock:
            self._forget()

    def __enter__(self) -> Self:
        try:
            self._timer.start()
        except RuntimeError as error:
            raise RegistryError(
                "cannot ask the registry: this process can start no thread; raise its limit, or "
                "ask before it ends"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        self.forget()

    def _cut(self) -> None:
        with self._lock:
            self.passed = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _forget(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
