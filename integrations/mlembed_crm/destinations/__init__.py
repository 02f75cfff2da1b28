"""Where actions go: one protocol, one module a system."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mlembed_crm.action import Action

__all__ = ["Destination", "Receipt"]


@dataclasses.dataclass(frozen=True, slots=True)
class Receipt:
    """What a destination answered.

    Attributes:
        status: Its status code; 0 where it has none.
        remote_id: The id of the record there, where it gives one.
    """

    status: int = 0
    remote_id: str = ""


class Destination(Protocol):
    """Sends one action; may be called from any thread, and again with the same action."""

    @property
    def name(self) -> str:
        """What logs call it; holds no secret."""
        ...

    def send(self, action: Action, /) -> Receipt:
        """Send *action* within a bounded time, under its id.

        Raises:
            DeliveryError: If it was not taken; says whether to try again and when.
        """
        ...
