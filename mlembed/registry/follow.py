"""A registry as a host sees it: trusted signatures, remembered serials, a cache, the last good.

A pointer that is older than one seen before, forked, far ahead, expired or not signed as the
settings ask is refused, and what serves goes on serving.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlembed.errors import ExpiredError, IntegrityError
from mlembed.registry.judge import TOLERANCE, Judge
from mlembed.registry.memory import Good, Memory, Remembered

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed.bundle.bundle import Bundle
    from mlembed.registry.cache import Cache
    from mlembed.registry.judge import Policy
    from mlembed.registry.pointer import Entry, Ref, Target
    from mlembed.registry.registry import Registry
from mlembed.registry.shipped import Shipped
from mlembed.registry.through import Through


class Resort(NamedTuple):
    """What may serve where the registry gives nothing: its name, and how to get it."""

    what: str
    bring: Callable[[], Bundle]


class Followed:
    """The bundles of *registry*, followed by a host.

    Args:
        registry: Where they are.
        policy: What is believed.
        memory: Remembers serials and what served; None for a process that remembers nothing.
        cache: Holds files; None where the registry is as near as a cache.
    """

    def __init__(
        self, registry: Registry, policy: Policy, memory: Memory | None, cache: Cache | None
    ) -> None:
        self._registry = registry
        self._policy = policy
        self._judge = Judge(registry, policy)
        self._memory = memory
        self._cache = cache
        self._through = None
        if cache is not None:
            self._through = Through(registry, cache, signatures=bool(policy.trust.keys))
        self._known: dict[Ref, Remembered] = {}
        self._etags: dict[Ref, str] = {}
        self._seen: dict[Ref, Entry] = {}

    def __str__(self) -> str:
        return str(self._registry)

    def resolve(self, ref: Ref) -> Target:
        """Return what *ref* points at now, after its pointer was judged.

        Raises:
            NotFoundError: If the model, version or alias does not exist; names what does.
            SignatureError: If nobody trusted signed the pointer.
            PointerError: If it is older than one seen before, forked, or far ahead.
            ExpiredError: If it has expired, by more than a day.
            IntegrityError: If it is not as it was written.
            RegistryError: If the registry cannot be read.
        """
        if not ref.is_alias:
            good = self._remembered(ref).good
            return good.target if good is not None else self._registry.resolve(ref)
        entry = self._look(ref)
        pointer = entry.pointer
        if pointer.expired(dt.datetime.now(dt.UTC), TOLERANCE):
            raise ExpiredError(
                f"the pointer of {ref} in {self} expired {pointer.expires}; "
                f"mlembed registry renew {ref}"
            )
        return pointer.target

    def fetch(self, target: Target) -> Bundle:
        """Return the bundle of *target*, its bytes and its signature verified.

        Raises:
            SignatureError: If nobody trusted signed it.
            IntegrityError: If its bytes are not those that were published, or are gone.
            RegistryError: If it cannot be read.
        """
        if self._through is None:
            return self._trusted(self._registry.fetch(target))
        try:
            return self._trusted(self._through.fetch(target))
        except IntegrityError:  # the cache may be what is damaged, or may hold an old signature
            return self._trusted(self._through.fetch(target, anew=True))

    def holds(self, target: Target) -> bool:
        """Tell whether *target* is on this machine, so that `fetch` downloads nothing."""
        return self._through is None or self._through.holds(target)

    def size(self, target: Target) -> int:
        """Return the bytes of all files of *target*, reading its manifest alone.

        Raises:
            IntegrityError: If the manifest is gone, or not what was published.
            RegistryError: If it cannot be read.
        """
        if self._through is None:
            manifest = self._registry.fetch(target).manifest
        else:
            manifest = self._through.manifest(target)
        return sum(file.size for file in manifest.files)

    def confirm(self, ref: Ref, target: Target) -> None:
        """Remember that *target* serves *ref*: it has proved itself.

        Only now is the pointer's ETag kept: one kept before would hide what is bad behind "not
        modified" for good.
        """
        entry = self._seen.get(ref)
        if entry is not None and entry.pointer.target != target:
            return
        known = self._remembered(ref)
        etag = self._etags.get(ref, known.etag)
        pointer = entry.data if entry is not None else b""
        last = known.good
        if last is not None and (last.target, last.pointer, known.etag) == (target, pointer, etag):
            return
        good = Good(
            target=target,
            pointer=pointer,
            blobs=self._through.files(target) if self._through is not None else (),
        )
        previous = last if last is not None and last.target != target else known.previous
        newer = dataclasses.replace(known, etag=etag, good=good, previous=previous)
        self._remember(ref, newer)
        if self._cache is not None and self._memory is not None:
            self._cache.trim(self._memory.blobs() | {*good.blobs})

    def last_resorts(self, ref: Ref) -> list[Resort]:
        """Return what may serve *ref* where the registry gives nothing, the best first.

        What served before is still judged by its signatures, but may have expired.
        """
        known = self._remembered(ref)
        resorts = [
            Resort(f"{what}, {good.target.version}", functools.partial(self._again, ref, good))
            for what, good in (
                ("what served last", known.good),
                ("what did before", known.previous),
            )
            if good is not None
        ]
        if self._policy.bundled:
            shipped = Shipped(Path(self._policy.bundled), self._policy.trust)
            bring = functools.partial(shipped.bundle, ref)
            resorts.append(Resort(f"what was shipped in {shipped}", bring))
        return resorts

    @property
    def problem(self) -> str:
        """Why cache or memory could not be written last, or empty."""
        problems = (getattr(keeper, "problem", "") for keeper in (self._cache, self._memory))
        return "; ".join(filter(None, problems))

    def _look(self, ref: Ref) -> Entry:
        """Return the pointer in force, asked for once, with what is already known of it."""
        known = self._remembered(ref)
        entry = self._seen.get(ref)
        if entry is None and known.good is not None and known.etag:
            with contextlib.suppress(IntegrityError):  # keys may have changed since
                entry = self._judge.judged(ref, known.good.pointer)
        polled = self._registry.poll(ref.name, ref.selector, known.etag if entry else "")
        if polled.unchanged and entry is not None:
            self._judge.follow(ref, entry.pointer, known)  # a newer one may have been seen since
            self._seen[ref] = entry
            return entry
        if polled.data is None:
            self._registry.unknown(ref)
        entry = self._judge.judged(ref, polled.data)
        self._judge.follow(ref, entry.pointer, known)
        self._seen[ref], self._etags[ref] = entry, polled.etag
        pointer = entry.pointer
        if pointer.serial > known.serial:
            newer = dataclasses.replace(known, serial=pointer.serial, digest=pointer.digest)
            self._remember(ref, newer)
        return entry

    def _again(self, ref: Ref, good: Good) -> Bundle:
        """Return the bundle that served before."""
        if ref.is_alias and self._judge.judged(ref, good.pointer).pointer.target != good.target:
            raise IntegrityError(f"what was remembered of {ref} is not what its pointer says")
        return self.fetch(good.target)

    def _trusted(self, bundle: Bundle) -> Bundle:
        self._policy.trust.check_bundle(bundle)
        return bundle

    def _remembered(self, ref: Ref) -> Remembered:
        known = self._known.get(ref)
        if known is None:
            known = self._memory.read(ref) if self._memory is not None else Remembered()
            if known.epoch != self._policy.epoch:
                # What served still did; which serials are believed begins anew. What a lower epoch
                # remembers is not written over a higher one, see Memory.
                known = Remembered(
                    epoch=self._policy.epoch, good=known.good, previous=known.previous
                )
            self._known[ref] = known
        return known

    def _remember(self, ref: Ref, remembered: Remembered) -> None:
        self._known[ref] = remembered
        if self._memory is not None:
            self._memory.write(ref, remembered)
