"""Keep what has become of one batch of actions, and when there is no more time for it.

What was not sent for want of time goes next: that counts as no attempt.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mlembed_crm.destinations import Receipt
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlembed_crm.destinations.groups import Answers


class Batch:
    """What has become of the actions of one call of `send`.

    Attributes:
        ends: The `time.monotonic` after which nothing is called any more.
        answers: By the action's place.
        halted: Why nothing more is called; None while there is no reason.
    """

    def __init__(self, ends: float, answers: Answers) -> None:
        self.ends = ends
        self.answers = answers
        self.halted: DeliveryError | None = None

    @property
    def wrote(self) -> bool:
        """Whether a record was written."""
        return any(isinstance(answer, Receipt) for answer in self.answers.values())

    def failed(self, places: Iterable[int], error: DeliveryError) -> None:
        """Answer *error* for the actions at *places*, and halt if it ends all."""
        self.answers.update(dict.fromkeys(places, error))
        if error.ends_all:
            self.halted = error


def require_time(ends: float) -> None:
    """Return if there is time for a call.

    Args:
        ends: The `time.monotonic` after which nothing is called any more.

    Raises:
        DeliveryError: If there is none; nothing was sent, and this counts as no attempt.
    """
    if time.monotonic() >= ends:
        raise DeliveryError("it is too slow for all of them; the rest goes next", retry_after=0.0)
