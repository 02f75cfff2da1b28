"""Where actions go: one protocol, and a module or a package for each system."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

from mlembed.errors import SettingsError
from mlembed_crm.outboxes import MAX_LEASE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlembed_crm.action import Action
    from mlembed_crm.errors import DeliveryError
    from mlembed_crm.upsert import Kind

__all__ = ["Described", "Destination", "Field", "Limits", "Receipt"]


@dataclasses.dataclass(frozen=True, slots=True)
class Receipt:
    """What a destination answered for one action that it took.

    Attributes:
        status: Its status code; 0 where it has none.
        remote_id: The id of the record there, where it gives one.
    """

    status: int = 0
    remote_id: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How a destination wants to be called.

    Attributes:
        batch: Most actions of one call.
        pause_seconds: Least time from the end of a call to the next of the same delivery.
        call_seconds: Longest that one call may take.
        idempotent: Whether an action that arrives twice does what it does once. Where it does not,
            one whose fate is unknown is left to people.
    """

    batch: int = 1
    pause_seconds: float = 0.0
    call_seconds: float = 30.0
    idempotent: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.batch, bool) or not isinstance(self.batch, int) or self.batch < 1:
            raise SettingsError("Limits: batch is a number of actions, 1 or more")
        if not 0 < self.call_seconds <= MAX_LEASE_SECONDS / 2:
            raise SettingsError(
                f"Limits: call_seconds must be in (0, {MAX_LEASE_SECONDS / 2:g}], half of a lease"
            )
        longest = MAX_LEASE_SECONDS - self.call_seconds
        if not 0 <= self.pause_seconds < longest:
            raise SettingsError(
                f"Limits: pause_seconds must be 0 or more, and below {longest:g}: with a call it must "
                "be shorter than a lease"
            )


class Destination(Protocol):
    """Sends actions; may be called from any thread, and again with the same actions."""

    @property
    def name(self) -> str:
        """What logs call it; holds no secret."""
        ...

    @property
    def limits(self) -> Limits:
        """How it wants to be called."""
        ...

    def send(self, actions: Sequence[Action], /) -> Sequence[Receipt | DeliveryError]:
        """Send *actions*, at most `limits.batch`, within `limits.call_seconds`, under their ids.

        Args:
            actions: One or more; no two of them have the same key.

        Returns:
            What became of each, in their order. An error is returned, not raised, where the
            destination told which action it is about.

        Raises:
            DeliveryError: If none of them was taken. One that is `permanent` means that at least
                one of them cannot be taken: where there are several, the delivery finds which.
        """
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a destination's kind of record.

    Attributes:
        kind: What it holds; None where that is no kind that a mapping can give.
        writable: Whether it can be set.
        max_length: Most characters; None for any.
        choices: What it takes, where it takes but some texts; empty for any.
        unique: Whether no two records have the same value, so that it can identify one.
        strict: Whether it is a text that takes texts alone; others make one of a number or a boolean.
    """

    kind: Kind | None = None
    writable: bool = True
    max_length: int | None = None
    choices: tuple[str, ...] = ()
    unique: bool = False
    strict: bool = False


class Described(Protocol):
    """A destination that can tell of its fields, so that mappings are checked before they are used."""

    def describe(self, record: str, /) -> Mapping[str, Field]:
        """Return the fields of a kind of record, by name.

        Raises:
            DeliveryError: If it cannot be asked, or has no such kind; `permanent` for the latter.
        """
        ...
