"""Tell the host's log what it should know, and never fail because that cannot be told.

Python's logging raises where a host closed stderr and set nothing else up, and a host's own
handlers may raise anything; a prediction or a thread of ours must not end for that.
"""

from __future__ import annotations

import contextlib
import logging

_LOG = logging.getLogger("mlembed")


def tell(level: int, message: str, *values: object, traceback: bool = False) -> None:
    """Log *message* for the caller.

    Args:
        level: A level of `logging`.
        message: With a `%s` for each value.
        values: What stands in its places.
        traceback: Whether the exception that is being handled is shown.
    """
    with contextlib.suppress(Exception):
        _LOG.log(level, message, *values, exc_info=traceback, stacklevel=2)
