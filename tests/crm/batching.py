"""A destination in this process that takes batches, and says no as it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlembed_crm import Limits, Receipt
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlembed_crm import Action


class Batches:
    """Takes batches as a whole or not at all.

    Args:
        batch: Most actions of a call.
        refuses: Which actions it refuses for good; a batch with one of them is refused whole.
        each: Whether it tells which it refused, and takes the others.
        fails: Raised by the next call, in order; None lets it pass.

    Attributes:
        calls: The keys of each call.
        taken: The keys that were taken.
    """

    name = "batches"

    def __init__(
        self,
        batch: int = 200,
        refuses: Callable[[Action], bool] = lambda _: False,
        *,
        each: bool = False,
        fails: Sequence[DeliveryError | None] = (),
        idempotent: bool = True,
    ) -> None:
        self.limits = Limits(batch=batch, idempotent=idempotent)
        self._refuses, self._each, self._fails = refuses, each, list(fails)
        self.calls: list[list[str | None]] = []
        self.taken: list[str | None] = []

    def send(self, actions: Sequence[Action], /) -> list[Receipt | DeliveryError]:
        """Take *actions* or say why not."""
        self.calls.append([action.key for action in actions])
        error = self._fails.pop(0) if self._fails else None
        if error is not None:
            raise error
        refused = DeliveryError("no such value", permanent=True, status=400)
        bad = [self._refuses(action) for action in actions]
        if any(bad) and not self._each:
            raise refused
        self.taken += [action.key for action, no in zip(actions, bad, strict=True) if not no]
        return [
            refused if no else Receipt(200, f"id-{action.key}")
            for action, no in zip(actions, bad, strict=True)
        ]
