"""Let others see predictions on the caller's thread: actions, requests, tests.

A hook never changes an answer: what it raises is logged and dropped.
"""

from __future__ import annotations

import functools
import logging
import threading
from typing import TYPE_CHECKING, Protocol

from mlembed.telemetry.notices import tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed.serving.prediction import Prediction

    Hooks = tuple["PredictionHook", ...]

subscribed: Hooks = ()
_writing = threading.Lock()


class PredictionHook(Protocol):
    """Sees each single prediction on the caller's thread, after the decision."""

    def __call__(self, prediction: Prediction, /) -> None:
        """Return within microseconds; a raised exception is logged and dropped."""


def subscribe(hook: PredictionHook) -> Callable[[], None]:
    """Call *hook* with every prediction of this process; return the function that ends it."""
    mine = functools.partial(hook)  # the same hook may subscribe twice, and end once
    _replace(lambda others: (*others, mine))
    return lambda: _replace(lambda others: tuple(other for other in others if other is not mine))


def _replace(change: Callable[[Hooks], Hooks]) -> None:
    global subscribed  # noqa: PLW0603  a tuple replaced whole, so that readers need no lock
    with _writing:
        subscribed = change(subscribed)


def notify(prediction: Prediction) -> None:
    """Show *prediction* to every hook."""
    for hook in subscribed:
        try:
            hook(prediction)
        except Exception:  # noqa: BLE001  the host's answer must not depend on a hook
            tell(
                logging.ERROR,
                "prediction hook %r failed; the prediction stands",
                hook,
                traceback=True,
            )
