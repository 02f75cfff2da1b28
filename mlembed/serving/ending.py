"""Let no thread be inside the runtime when the interpreter ends.

The interpreter ends daemon threads where they next want to run Python. One that comes back from
the runtime then is ended within C++ code, and that aborts the whole process.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, NoReturn, Protocol

from mlembed.errors import InferenceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_WAIT_SECONDS = 5.0
_PAUSE_SECONDS = 0.001
_RUNTIME = "onnxruntime."
# The frames that are passed on the way into the runtime; and the one in which a thread is held.
_ON_THE_WAY = {
    ("mlembed.serving.deadline", "limited"),
    (__name__, "hold_back"),
    ("mlembed.serving.session", "_load"),
    ("mlembed.serving.session", "run"),
}
_HELD = (__name__, "_hold")

_runners: set[weakref.ref[Runner]] = set()  # a set's own methods are atomic, so it needs no lock
_ending: int | None = None  # the thread that ends the interpreter, once one does


class Runner(Protocol):
    """What enters the runtime by calling its own `run`."""

    run: Callable[[], object]


def register(runner: Runner) -> None:
    """Hold the runs of *runner* back once the interpreter ends; they cost nothing until then."""
    if _ending is not None:
        runner.run = _held_back(runner.run)
    _runners.add(weakref.ref(runner, _runners.discard))


def hold_back() -> None:
    """Keep a thread that does not end the interpreter out of the runtime once another does.

    Raises:
        InferenceError: If the interpreter has still not ended after some seconds.
    """
    if _ending is None or _ending == threading.get_ident():
        return
    _hold()


def _hold() -> NoReturn:
    time.sleep(_WAIT_SECONDS)  # nearly always the process ends meanwhile
    raise InferenceError("the interpreter is ending; predict before that, or in its own thread")


def arm() -> None:
    """Look after the end of the interpreter, before all else that is registered so far does."""
    if _ending is None:
        atexit.unregister(_end)
        atexit.register(_end)


def _held_back(run: Callable[[], object]) -> Callable[[], object]:
    def held_back() -> object:
        hold_back()
        return run()

    return held_back


def _end() -> None:
    """Close the way into the runtime, and wait a while for those who are inside."""
    global _ending  # noqa: PLW0603  told once, read by every thread
    _ending = threading.get_ident()
    for reference in list(_runners):
        runner = reference()
        if runner is not None:
            runner.run = _held_back(runner.run)
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline and any(map(_is_inside, _others())):
        time.sleep(_PAUSE_SECONDS)


def _others() -> list[FrameType]:
    frames = sys._current_frames()  # noqa: SLF001  the way CPython documents to see other threads
    return [frame for thread, frame in frames.items() if thread != _ending]


def _is_inside(frame: FrameType | None) -> bool:
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        place = (name, frame.f_code.co_name)
        if place == _HELD:
            return False
        if name.startswith(_RUNTIME) or place in _ON_THE_WAY:
            return True
        frame = frame.f_back
    return False
