"""Send a batch of actions, and find those of it that cannot be taken.

A destination that takes a batch as a whole or not at all says no to all for the sake of one. The
rest of what it refused is set aside until the one is found, and then sent at once: one bad action
among n costs at most log2(n) + 2 calls.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from mlembed_crm.destinations import Receipt
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mlembed_crm.action import Action
    from mlembed_crm.destinations import Destination

    Answer: TypeAlias = Receipt | DeliveryError

_LOG = logging.getLogger("mlembed")


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """What one call came to for one action.

    Attributes:
        action: What was sent.
        answer: What became of it.
        started: Clock before the call, in seconds of `time.monotonic`.
        seconds: How long the call took.
    """

    action: Action
    answer: Receipt | DeliveryError
    started: float
    seconds: float


def send(
    destination: Destination, actions: Sequence[Action], may_go_on: Callable[[], bool]
) -> Iterator[list[Answered]]:
    """Send *actions*; yield after each call what is known since.

    What is left without an answer was not sent, for want of time or because the destination took
    nothing any more.

    Args:
        destination: Where to.
        actions: At most as many as it takes at once.
        may_go_on: Whether there is time for one more call.
    """
    whole = list(actions)
    while whole and may_go_on():
        told = _call(destination, whole)
        if not told.refused or len(whole) == 1:
            yield told.answered(whole)
            return
        bad, whole = whole, []
        while bad:
            if not may_go_on():
                return
            half = max(1, len(bad) // 2)
            first, rest = bad[:half], bad[half:]
            told = _call(destination, first)
            if told.refused and len(first) > 1:
                whole += rest
                bad = first
                continue
            yield told.answered(first)
            if told.failed and not told.refused:
                return
            if told.refused:
                whole += rest
                break
            bad = rest


@dataclasses.dataclass(frozen=True, slots=True)
class _Told:
    answers: Sequence[Answer] | DeliveryError
    started: float
    seconds: float

    @property
    def failed(self) -> bool:
        return isinstance(self.answers, DeliveryError)

    @property
    def refused(self) -> bool:
        """Whether at least one of the batch cannot be taken."""
        error = self.answers
        return isinstance(error, DeliveryError) and error.permanent and not error.stops

    def answered(self, batch: list[Action]) -> list[Answered]:
        answers = self.answers
        each = [answers] * len(batch) if isinstance(answers, DeliveryError) else answers
        return [
            Answered(action, answer, self.started, self.seconds)
            for action, answer in zip(batch, each, strict=True)
        ]


def _call(destination: Destination, batch: list[Action]) -> _Told:
    started = time.monotonic()
    answers: Sequence[Answer] | DeliveryError
    try:
        answers = _checked(list(destination.send(batch)), len(batch))
    except DeliveryError as failure:
        answers = failure
    except Exception as failure:  # noqa: BLE001  a destination's bug must not stop the others
        _LOG.exception("destination %s has a bug", destination.name)
        reason = f"{type(failure).__name__} in the destination; see the log"
        answers = DeliveryError(reason, unknown=True)
    return _Told(answers, started, time.monotonic() - started)


def _checked(answers: list[Any], n_actions: int) -> Sequence[Answer]:
    if len(answers) != n_actions:
        raise DeliveryError(f"{len(answers)} answers to {n_actions} actions", unknown=True)
    for answer in answers:
        if not isinstance(answer, (Receipt, DeliveryError)):
            kind = type(answer).__name__
            raise DeliveryError(f"a {kind} where a Receipt was expected", unknown=True)
    return answers
