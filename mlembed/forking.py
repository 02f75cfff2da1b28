"""What a forked child does first, whoever forked it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_renewals: list[Callable[[], None]] = []
_pid = os.getpid()


def in_child(renew: Callable[[], None]) -> None:
    """Call *renew* in every process that is forked from this one, in the order of these calls."""
    _renewals.append(renew)


def _renew_all() -> None:
    global _pid  # noqa: PLW0603  which process this was, the last time
    _pid = os.getpid()
    for renew in _renewals:
        renew()


def _tell_python() -> None:
    """Do in a worker of uWSGI what it leaves out unless told `--py-call-uwsgi-fork-hooks`.

    Whoever forks a Python process by other means than Python's must call PyOS_AfterFork_Child in the
    child. Without, threads that are gone count as alive, and no hook is run: not ours, and not
    those of OpenTelemetry or logging. The worker would log nothing and follow no alias.
    """
    if os.getpid() != _pid:
        import ctypes

        ctypes.pythonapi.PyOS_AfterFork_Child()


def _hook_uwsgi(uwsgi: Any) -> None:
    try:
        from uwsgidecorators import postfork  # which would replace a hook of ours
    except Exception:  # noqa: BLE001  it may be missing, and raises its own kind without a master
        before = getattr(uwsgi, "post_fork_hook", None)

        def hook() -> None:
            _tell_python()
            if before is not None:
                before()

        uwsgi.post_fork_hook = hook
    else:
        postfork(_tell_python)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
if "uwsgi" in sys.modules:
    _hook_uwsgi(sys.modules["uwsgi"])
