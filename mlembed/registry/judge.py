"""Judge an alias's pointer before it is believed.

It must be signed as the host asks, speak of what was asked for, and follow from what was seen
before: TUF's timestamp role in small (https://theupdateframework.github.io/specification).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

from mlembed.errors import IntegrityError, PointerError
from mlembed.registry.pointer import read_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlembed.bundle.trust import Trust
    from mlembed.registry.memory import Remembered
    from mlembed.registry.pointer import Entry, Pointer, Ref
    from mlembed.registry.registry import Registry

TOLERANCE = dt.timedelta(days=1)  # how far the clocks of publisher and host may differ
MAX_JUMP = 1_000  # serials that may be missed between two looks
_MAX_FIRST_SERIAL = 1_000_000
_WALKED = 100  # skipped pointers that are read, to see that they lead to the new one


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a host believes.

    Attributes:
        trust: Whose signatures it asks for.
        epoch: Raised by hand where serials must begin anew, as after a key was stolen.
        min_serials: Lowest serial that is believed at the first start, by `name@alias`.
        bundled: Where bundles are that were shipped with the application; empty for none.
    """

    trust: Trust
    epoch: int = 0
    min_serials: Mapping[str, int] = dataclasses.field(default_factory=dict)
    bundled: str = ""


class Judge:
    """What *policy* believes of the pointers in *registry*."""

    def __init__(self, registry: Registry, policy: Policy) -> None:
        self._registry = registry
        self._policy = policy

    def __str__(self) -> str:
        return str(self._registry)

    def judged(self, ref: Ref, data: bytes) -> Entry:
        """Read a stored pointer of *ref*.

        Raises:
            SignatureError: If nobody trusted signed it.
            IntegrityError: If it is none, or speaks of another alias.
        """
        place = f"the pointer of {ref} in {self}"
        entry = read_entry(data, place)
        self._policy.trust.check_envelope(entry.envelope, place)
        if (entry.pointer.name, entry.pointer.alias) != (ref.name, ref.selector):
            raise IntegrityError(
                f"{place} speaks of {entry.pointer.name}@{entry.pointer.alias}; promote again"
            )
        return entry

    def follow(self, ref: Ref, pointer: Pointer, known: Remembered) -> None:
        """Refuse a pointer that does not follow what has been seen.

        Raises:
            PointerError: Saying how.
        """
        place, serial = f"the pointer of {ref} in {self}", pointer.serial
        least = self._policy.min_serials.get(str(ref), 0)
        furthest = known.serial + MAX_JUMP if known.serial else max(_MAX_FIRST_SERIAL, least)
        if serial < known.serial:
            raise PointerError(
                f"{place} has serial {serial}, and {known.serial} was seen before: an old one was "
                "put back. To go back on purpose: mlembed registry rollback"
            )
        if serial < least:
            raise PointerError(
                f"{place} has serial {serial}, and MLEMBED_MIN_SERIALS wants {least} at least: an "
                "old one was put back, or the setting is wrong"
            )
        if serial > furthest:
            raise PointerError(
                f"{place} has serial {serial}, and {known.serial} was the last; it is too far "
                "ahead. If it is meant, raise MLEMBED_EPOCH on this host"
            )
        if serial == known.serial and pointer.digest != known.digest:
            raise PointerError(f"{place}: there are two with serial {serial}. {_FORKED}")
        if known.serial and not self._leads(ref, pointer, known):
            raise PointerError(f"{place} does not follow from serial {known.serial}. {_FORKED}")

    def _leads(self, ref: Ref, pointer: Pointer, known: Remembered) -> bool:
        """Tell whether the pointers since the last one seen lead to *pointer*."""
        missed = pointer.serial - known.serial - 1
        if missed < 0 or missed > _WALKED:
            return True
        prev = known.digest
        if missed:
            log = dict(self._registry.log(ref.name, ref.selector, known.serial, pointer.serial))
            for serial in range(known.serial + 1, pointer.serial):
                if serial not in log:
                    return True  # moved away, or not there yet: nothing can be told
                # Not judged by its signature: the one at the head vouches for it, by its digest.
                between = read_entry(
                    log[serial], f"the pointer {serial} of {ref} in {self}"
                ).pointer
                if between.prev != prev:
                    return False
                prev = between.digest
        return pointer.prev == prev


_FORKED = (
    "Its history has forked: two publishers, or a stolen key. Compare mlembed registry log with "
    "this host, then raise MLEMBED_EPOCH here to begin anew"
)
