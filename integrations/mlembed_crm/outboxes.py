"""What an outbox does, wherever it keeps its actions: rules fill it, a delivery empties it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from mlembed_crm.action import Action
    from mlembed_crm.memory import Memory

__all__ = [
    "MAX_LEAD_SECONDS",
    "MAX_LEASE_SECONDS",
    "MAX_WAIT_SECONDS",
    "Attempt",
    "Deliverable",
    "Joins",
    "Queue",
]

MAX_LEASE_SECONDS = 600.0
MAX_LEAD_SECONDS = 3600.0  # how far ahead of ours the clock of a host may be
MAX_RETRY_AFTER_SECONDS = 86_400.0
MAX_WAIT_SECONDS = 25 * 3600.0  # a day of quiet hours, where a clock is set back in it


class Queue(Protocol):
    """Takes actions, and remembers what each rule did for each entity."""

    def enqueue(
        self, action: Action, *, memory: Memory | None = None, before: Memory | None = None
    ) -> bool:
        """Queue *action*, in the state that it has; return whether it was queued.

        Args:
            action: What to deliver, or to hold.
            memory: What its rule remembers of its entity from here on; None for nothing.
            before: What the rule remembered so far, and what decided this. If that is not so any
                more, another was faster, and nothing is queued.

        Raises:
            MlembedError: If it cannot be written; nothing is changed then.
        """
        ...

    def recall(self, rule: str, key: str) -> Memory | None:
        """Return what *rule* remembers of *key*; None where it has never acted."""
        ...

    def renew(self, memory: Memory) -> None:
        """Replace what a rule remembers, but for what it did."""
        ...


class Joins(Protocol):
    """An outbox that can be filled through a connection of the host's own."""

    def inside(self, connection: sqlite3.Connection, /) -> Queue:
        """Return the same outbox, filled in the transaction that *connection* has open."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to deliver an action, and what is to become of it.

    Attributes:
        action: As it was claimed.
        result: `sent`, `failed` (to be tried again) or `dead`.
        started: Unix time.
        seconds: How long it took.
        status: The status code of the destination's answer; 0 where there was none.
        detail: Why it was not taken, without a value of a record; or the id of the record there.
        retry_at: For `failed`, the Unix time before which it is not tried again.
        counted: Whether it counts; one that was told to wait does not.
        tried: Whether anything was sent, so that it is worth telling.
    """

    action: Action
    result: Literal["sent", "failed", "dead"]
    started: float = 0.0
    seconds: float = 0.0
    status: int = 0
    detail: str = ""
    retry_at: float = 0.0
    counted: bool = True
    tried: bool = True


class Deliverable(Protocol):
    """Gives each action to one delivery at a time, and remembers what became of it."""

    def claim(
        self, limit: int, lease_seconds: float, destinations: Collection[str], /
    ) -> tuple[Action, ...]:
        """Take up to *limit* actions of *destinations* that are due, for this caller alone.

        For one key and destination only the oldest pending action can be taken. Of values for the
        same fields of the same record only the newest is; the others are `superseded`.
        """
        ...

    def hold(self, actions: Sequence[Action], lease_seconds: float, /) -> bool:
        """Hold *actions* for as long again, from now; return whether they all are still held."""
        ...

    def settle(self, attempts: Sequence[Attempt], /) -> None:
        """Record what became of actions, and keep each attempt.

        What a delivery says of an action that is not held under its lease any more changes
        nothing; but taken is taken.
        """
        ...

    def pause(self, destination: str, until: float, reason: str = "") -> None:
        """Let nobody claim an action of *destination* before the Unix time *until*, a day at most.

        A pause that is longer stays; `resume` ends it.
        """
        ...

    def destinations(self) -> tuple[str, ...]:
        """Return the names of the destinations that actions wait for."""
        ...

    def prune(self, keep_seconds: float) -> int:
        """Delete what was settled longer ago than *keep_seconds*; return how many.

        What was given up stays, and of an action whose rule remembers it the memory.
        """
        ...

    def now(self) -> float:
        """Return the Unix time by the outbox's clock."""
        ...
