"""Tell a check that a decision function is asked for, not a probability.

A classifier without probabilities is refused as a candidate, and welcome inside of calibration.
"""

from __future__ import annotations

import contextlib
import contextvars
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_suffices: contextvars.ContextVar[bool] = contextvars.ContextVar("suffices", default=False)


@contextlib.contextmanager
def decision_suffices() -> Iterator[None]:
    """Let checks and preparations inside accept classifiers that have no probability."""
    token = _suffices.set(True)
    try:
        yield
    finally:
        _suffices.reset(token)


def is_decision_enough() -> bool:
    """Tell whether the caller reads a decision function where there is one."""
    return _suffices.get()
