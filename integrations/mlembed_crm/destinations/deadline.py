"""End an HTTP request by a deadline.

The client's timeouts bound one read each, so a receiver that sends a byte at a time could hold a
delivery for hours, past its lease. Here a timer shuts the socket down, whatever is being waited
for.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

_LEAST_SECONDS = 0.001


class Deadline:
    """A time by which the connections seen by `trace` are cut.

    Args:
        seconds: From now.

    Attributes:
        passed: Whether it came.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._ends = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.name = "mlembed-deadline"

    def remaining(self) -> float:
        """Return the seconds that are left, never 0: that would mean not to wait at all."""
        return max(self._ends - time.monotonic(), _LEAST_SECONDS)

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take the socket of a new connection; give this to httpx as the `trace` extension."""
        if event != "connection.connect_tcp.complete":
            return
        # A duplicate stays valid when TLS takes the descriptor over.
        duplicate = info["return_value"].get_extra_info("socket").dup()
        with self._lock:
            self._forget()
            self._socket = duplicate
        if self.passed:
            self._cut()

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._forget()

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
