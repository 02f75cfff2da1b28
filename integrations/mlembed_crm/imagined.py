"""See what rules would do, and do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlembed_crm.action import payload_text
from mlembed_crm.memory import memory_id

if TYPE_CHECKING:
    from mlembed_crm.action import Action
    from mlembed_crm.memory import Memory
    from mlembed_crm.outboxes import Queue


class Imagined:
    """A queue that takes nothing, but remembers as one would.

    Args:
        queue: What it remembers at first; None for nothing, as where no rule has ever acted.
    """

    def __init__(self, queue: Queue | None = None) -> None:
        self._queue = queue
        self._ids: set[str] = set()
        self._memories: dict[str, Memory] = {}
        self._renewed: dict[str, Memory] = {}

    def enqueue(
        self, action: Action, *, memory: Memory | None = None, before: Memory | None = None
    ) -> bool:
        """Take *action* as the queue would, and keep nothing of it but its memory."""
        del before  # nobody else is here to be faster
        payload_text(action.payload)
        if action.id in self._ids:
            return False
        self._ids.add(action.id)
        if memory is not None and action.key is not None:
            self._memories[memory_id(action.rule, action.key)] = memory
        return True

    def recall(self, rule: str, key: str) -> Memory | None:
        """Return what *rule* would remember of *key* by now."""
        memory = self._memories.get(memory_id(rule, key))
        if memory is None and self._queue is not None:
            memory = self._queue.recall(rule, key)
        return None if memory is None else self._renewed.get(memory.action_id, memory)

    def renew(self, memory: Memory) -> None:
        """Replace what a rule would remember."""
        self._renewed[memory.action_id] = memory
