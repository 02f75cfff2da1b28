"""Run the command line: `python -m mlembed`, or `mlembed`."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from mlembed.errors import MissingExtraError

if TYPE_CHECKING:
    from types import FrameType

_INTERRUPTED = 130


def main() -> None:
    """Run one command and exit with its code."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, _leave)
    try:
        from mlembed.cli.app import run
        from mlembed.cli.interruption import listen
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("mlembed"):
            raise
        sys.stderr.write(f"error: {MissingExtraError('the command line', 'train')}\n")
        sys.exit(2)
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if ours:
        listen()
    try:
        code = run()
        _pass_over(ours=ours)
    except KeyboardInterrupt:
        _pass_over(ours=ours)
        sys.stderr.write("interrupted\n")
        code = _INTERRUPTED
    sys.exit(code)


def _pass_over(*, ours: bool) -> None:
    """Let no Ctrl-C change what has ended: Python would show where its own exit was interrupted."""
    if ours:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End at once: while libraries load there is nothing to put away, and a traceback helps no one."""
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
