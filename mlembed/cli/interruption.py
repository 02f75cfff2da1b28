"""Say what an interrupted run left: nothing published, or a whole version, and how to go on."""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

INTERRUPTED = 130  # 128 and the number of SIGINT, as shells count


class _Ear:
    """Whether Ctrl-C was pressed, whatever a library makes of the exception.

    A module of C that is interrupted while it loads says ImportError; a driver of a database and a
    model that is being fitted have names of their own for it.
    """

    heard = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.heard = True
        raise KeyboardInterrupt


_EAR = _Ear()


def listen() -> None:
    """Remember from here on that Ctrl-C was pressed."""
    signal.signal(signal.SIGINT, _EAR)
    sys.unraisablehook = _pass_over


def _pass_over(lost: sys.UnraisableHookArgs) -> None:
    """Tell of what a destructor or a callback of C let go, but not of Ctrl-C: it is remembered."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)


def require_uninterrupted() -> None:
    """Raise the Ctrl-C that a library has swallowed, as a destructor and a callback of C do.

    Raises:
        KeyboardInterrupt: If it was pressed.
    """
    if _EAR.heard:
        raise KeyboardInterrupt


def is_interrupted(error: BaseException) -> bool:
    """Tell whether *error* is Ctrl-C or came after it, and no exit that a command chose."""
    if isinstance(error, typer.Exit):
        return False
    return isinstance(error, KeyboardInterrupt) or _EAR.heard


class Trace:
    """What a run has done so far.

    Attributes:
        left: What it leaves if it is interrupted now.
        remedy: How to go on after that, or empty.
    """

    def __init__(self) -> None:
        self.left = "nothing was published"
        self.remedy = ""


@contextlib.contextmanager
def traced() -> Iterator[Trace]:
    """Let Ctrl-C in the block end the command with one line and exit code 130."""
    trace = Trace()
    try:
        yield trace
    except (KeyboardInterrupt, Exception) as error:
        if not is_interrupted(error):
            raise
        remedy = f"; {trace.remedy}" if trace.remedy else ""
        sys.stderr.write(f"interrupted; {trace.left}{remedy}\n")
        raise typer.Exit(INTERRUPTED) from None
