"""Say what an interrupted run left: nothing published, or a whole version, and how to go on."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERRUPTED = 130  # 128 and the number of SIGINT, as shells count


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
    except KeyboardInterrupt:
        remedy = f"; {trace.remedy}" if trace.remedy else ""
        sys.stderr.write(f"interrupted; {trace.left}{remedy}\n")
        raise typer.Exit(INTERRUPTED) from None
