"""End runs of the graph that take too long.

One thread a process looks at the runs under way, a few times within the shortest limit; the
runtime itself then stops at its next operator. Without limits there is no such thread.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mlembed import forking
from mlembed.errors import PredictionTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOKS = 4  # within the shortest limit
_LEAST_SECONDS = 0.001
_IDLE_SECONDS = 1.0

T = TypeVar("T")


class RunOptions(Protocol):
    """The part of the runtime's options that ends a run."""

    terminate: bool


class Limit:
    """The limit of one run at a time.

    Args:
        options: Options of the run.
        seconds: Longest time it may take.
    """

    def __init__(self, options: Any, seconds: float) -> None:
        self.options: RunOptions = options
        self.seconds = seconds
        self.deadline = math.inf
        self.changing = threading.Lock()
        _watch.add(self)

    def around(self, run: Callable[[], T]) -> Callable[[], T]:
        """Return *run* with the limit around each call.

        The function raises PredictionTimeoutError where the run was ended.
        """

        def limited() -> T:
            self.deadline = time.monotonic() + self.seconds
            _watch.wake()
            try:
                return run()
            except Exception as error:
                if not self.options.terminate:
                    raise
                raise PredictionTimeoutError(
                    f"the graph was stopped after {self.seconds * 1000:g} ms; "
                    "raise timeout_ms or make the model smaller"
                ) from error
            finally:
                with self.changing:  # or the look at this run would end the next one
                    self.deadline = math.inf
                    self.options.terminate = False

        return limited

    def look(self, now: float) -> bool:
        """End the run where its time is over; return whether one is under way."""
        with self.changing:
            if self.deadline <= now:
                self.options.terminate = True
            return self.deadline < math.inf


class _Watch:
    """The thread that looks at every limit; it ends when no run was under way for a second."""

    def __init__(self) -> None:
        self._limits: weakref.WeakSet[Limit] = weakref.WeakSet()
        # Held for a moment; a signal's handler may predict while its thread holds it.
        self._changing = threading.RLock()
        self._thread: threading.Thread | None = None

    def add(self, limit: Limit) -> None:
        with self._changing:
            self._limits.add(limit)

    def wake(self) -> None:
        if self._thread is not None:
            return
        with self._changing:
            if self._thread is None:
                thread = threading.Thread(
                    target=self._look_forever, name="mlembed-deadline", daemon=True
                )
                # Where no thread can be had, a run without a limit is better than none.
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _look_forever(self) -> None:
        last = time.monotonic()
        while True:
            with self._changing:
                limits = list(self._limits)
            now = time.monotonic()
            if any([limit.look(now) for limit in limits]):  # noqa: C419  every one is looked at
                last = now
            elif now - last > _IDLE_SECONDS:
                self._thread = None
                if not any(limit.deadline < math.inf for limit in limits):
                    return
                self._thread = threading.current_thread()  # a run began that had found one
            shortest = min((limit.seconds for limit in limits), default=_IDLE_SECONDS)
            limits.clear()
            time.sleep(max(_LEAST_SECONDS, min(shortest, _IDLE_SECONDS) / _LOOKS))


_watch = _Watch()


def _after_fork() -> None:
    global _watch  # noqa: PLW0603  its thread and its locks are the parent's
    _watch = _Watch()


forking.in_child(_after_fork)
