"""The log of an alias: every pointer there was, each with the digest of the one before.

A gap, a swapped file or a changed word breaks the chain, and a broken chain is refused: who
served what, and when, is either known or said to be unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlembed.errors import IntegrityError, NotFoundError
from mlembed.registry.pointer import read_entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlembed.registry.pointer import Entry, Pointer, Target


def chained(log: Iterable[tuple[int, bytes]], name: str, alias: str, place: str) -> list[Entry]:
    """Read the stored pointers of *alias* of *name*, the oldest first.

    A log may begin late, where what was before has been moved away, and has no gap after.

    Raises:
        IntegrityError: If the chain is broken; names the first bad serial.
    """
    entries: list[Entry] = []
    for serial, data in log:
        try:
            entry = read_entry(data, f"{place}, serial {serial}")
            pointer = entry.pointer
            if (pointer.name, pointer.alias, pointer.serial) != (name, alias, serial):
                raise IntegrityError(f"it is serial {pointer.serial} of another log")
            if not _follows(pointer, entries[-1].pointer if entries else None):
                raise IntegrityError("another one was before it")
        except IntegrityError as error:
            raise IntegrityError(
                f"{place}: serial {serial} does not follow from the pointers before it; restore "
                "the log from a copy, or move it away and promote again to begin a new one"
            ) from error
        entries.append(entry)
    return entries


def _follows(pointer: Pointer, last: Pointer | None) -> bool:
    if last is None:
        return (pointer.prev == "") == (pointer.serial == 1)
    return (pointer.serial, pointer.prev) == (last.serial + 1, last.digest)


def before(history: list[Pointer]) -> Target:
    """Return the bundle that was served before the last one of *history*; rollbacks undo.

    Raises:
        NotFoundError: If there was none.
    """
    served: list[Target] = []
    for pointer in history:
        if pointer.action == "rollback" and pointer.target in served:
            while served[-1] != pointer.target:
                served.pop()
        elif not served or served[-1] != pointer.target:
            served.append(pointer.target)
    if len(served) < 2:  # noqa: PLR2004  the current one and one before
        raise NotFoundError("there is no earlier version to roll back to; promote one by name")
    return served[-2]
