"""Where proven bundles live: immutable versions, and aliases that point at them.

What a registry promises is written here once; how files and pointers lie is each kind's own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
from typing import TYPE_CHECKING, NoReturn

from mlembed.bundle.manifest import (
    MAX_MANIFEST_BYTES,
    version_key,
)
from mlembed.bundle.trust import Trust
from mlembed.errors import ConflictError, IntegrityError, NotFoundError, SettingsError
from mlembed.registry.assembly import assemble, checked_manifest, refuse_other_contents
from mlembed.registry.chain import before, chained
from mlembed.registry.holdings import Holdings
from mlembed.registry.pointer import (
    MAX_TEXT,
    Pointer,
    Ref,
    Target,
    read_entry,
    require_alias,
    require_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlembed.bundle.bundle import Bundle
    from mlembed.bundle.manifest import File, Manifest
    from mlembed.registry.issue import Issuer
    from mlembed.registry.pointer import Entry

_ATTEMPTS = 100  # promotions of others that may come first


class Registry(Holdings):
    """Versions and aliases of models; safe for several publishers.

    Attributes:
        trust: Whom a bundle must be signed by before an alias may point at it.
        issuer: Who moves aliases, and with which keys; this user, without any, where it is None.
    """

    def __init__(self) -> None:
        self.trust = Trust()
        self.issuer: Issuer | None = None

    def resolve(self, ref: Ref) -> Target:
        """Return what *ref* points at now; nobody's signature is asked for.

        Raises:
            NotFoundError: If there is no such model, version or alias; names what there is.
            IntegrityError: If what is stored of it is damaged.
            RegistryError: If the registry cannot be read.
        """
        if ref.is_alias:
            return self.entry(ref.name, ref.selector).pointer.target
        bundle_id = self.bundle_id(require_name(ref.name), ref.selector)
        if bundle_id is None:
            self.unknown(ref)
        return Target(ref.name, ref.selector, bundle_id)

    def fetch(self, target: Target) -> Bundle:
        """Return the bundle of *target*, its bytes verified, its signature not.

        Raises:
            IntegrityError: If its bytes are not those that were published, or are gone.
            RegistryError: If it cannot be read.
        """
        return assemble(
            target,
            str(self),
            self.blob(target, target.bundle_id, MAX_MANIFEST_BYTES),
            functools.partial(self.contents, target),
            self.signature(target),
        )

    def contents(self, target: Target, file: File) -> bytes:
        """Return the contents of a file of *target*, which `fetch` verifies.

        Raises:
            FileNotFoundError: If there is no such file.
        """
        sink = io.BytesIO()
        if not self.download(target, file, sink):
            raise FileNotFoundError(file.path)
        return sink.getvalue()  # the buffer's own bytes, without a copy

    def manifest(self, target: Target) -> Manifest:
        """Return the verified manifest of *target*, without its files.

        Raises:
            IntegrityError: If it is not what was published, or is gone.
            RegistryError: If it cannot be read.
        """
        data = self.blob(target, target.bundle_id, MAX_MANIFEST_BYTES)
        return checked_manifest(target, str(self), data)

    def publish(self, bundle: Bundle) -> Target:
        """Store *bundle* as a new version; the same bundle again mends what was damaged.

        It is signed on the way, if the issuer has a key and nobody signed it before; see `store_as_is`.

        Raises:
            ConflictError: If the version exists with other contents.
            RegistryError: If the registry cannot be written; nothing is visible then.
        """
        if self.issuer is not None and self.issuer.signer is not None and not bundle.signature:
            from mlembed.bundle.signature import sign  # others publish without

            bundle = dataclasses.replace(bundle, signature=sign(bundle, self.issuer.signer))
        return self.store_as_is(bundle)

    def store_as_is(self, bundle: Bundle) -> Target:
        """Store *bundle*, signed or not, as it is; see `publish`."""
        name, version = require_name(bundle.manifest.name), bundle.manifest.version
        target = Target(name, version, bundle.id)
        if not self.put(bundle) and self.resolve(Ref(name, version)) != target:
            refuse_other_contents(name, version)
        return target

    def promote(self, name: str, alias: str, version: str, reason: str = "") -> Pointer:
        """Point *alias* at *version*.

        Raises:
            NotFoundError: If there is no such version.
            IntegrityError: If its bundle is damaged, or not signed as the trust asks for; the alias
                stays where it is.
            RegistryError: If the registry cannot be written.
        """
        target = self.resolve(Ref(name, version))
        return self._move(name, alias, "promote", reason, lambda _history: target)

    def rollback(self, name: str, alias: str, reason: str = "") -> Pointer:
        """Point *alias* back at the bundle it served before the current one.

        Raises:
            NotFoundError: If there was none.
            IntegrityError: If the log is damaged.
        """
        with contextlib.suppress(IntegrityError):
            self.entry(name, alias)  # an unknown alias is named before anything is made
        return self._move(name, alias, "rollback", reason, before)

    def renew(self, name: str, alias: str, reason: str = "") -> Pointer:
        """Point *alias* at what it points at already, so that it expires later."""
        self.entry(name, alias)

        def same(history: list[Pointer]) -> Target:
            return history[-1].target

        return self._move(name, alias, "renew", reason, same)

    def pointer(self, name: str, alias: str) -> Pointer:
        """Return the current pointer of *alias*; see `resolve`."""
        return self.entry(name, alias).pointer

    def entry(self, name: str, alias: str) -> Entry:
        """Return the current pointer of *alias* as it is stored; see `resolve`."""
        data = self.poll(require_name(name), require_alias(alias), "").data
        if data is None:
            self.unknown(Ref(name, alias))
        place = f"the alias {name}@{alias} in {self}"
        entry = read_entry(data, place)
        if (entry.pointer.name, entry.pointer.alias) != (name, alias):
            raise IntegrityError(
                f"{place} speaks of {entry.pointer.name}@{entry.pointer.alias}; promote again"
            )
        self.trust.check_envelope(entry.envelope, place)
        return entry

    def entries(self, name: str, alias: str) -> list[Entry]:
        """Return every pointer of *alias* as stored, the oldest first and the current one last.

        Raises:
            NotFoundError: If there is no such alias.
            IntegrityError: If the log is damaged or does not hold the current pointer.
        """
        current = self.entry(name, alias)
        place = f"the log of {name}@{alias} in {self}"
        log = chained(self.log(name, alias), name, alias, place)
        # What lies beyond was logged by a promotion that did not come into force.
        log = [entry for entry in log if entry.pointer.serial <= current.pointer.serial]
        if not log or log[-1].pointer != current.pointer:
            raise IntegrityError(f"{place} does not hold the pointer in force; promote again")
        return log

    def history(self, name: str, alias: str) -> list[Pointer]:
        """Return what `entries` does, without the signatures."""
        return [entry.pointer for entry in self.entries(name, alias)]

    def next_version(self, name: str) -> str:
        """Return the version a new training run publishes: the next minor, 1.0.0 at first."""
        versions = self.versions(name)
        if not versions:
            return "1.0.0"
        major, minor, _ = version_key(versions[-1])
        return f"{major}.{minor + 1}.0"

    def unknown(self, ref: Ref) -> NoReturn:
        """Say that there is no *ref*, and what there is.

        Raises:
            NotFoundError: Always.
        """
        versions, aliases = self.versions(ref.name), self.aliases(ref.name)
        if not versions and not aliases:
            raise NotFoundError(f"{self} has no model '{ref.name}'; it has {_list(self.models())}")
        raise NotFoundError(
            f"'{ref.name}' has no {'alias' if ref.is_alias else 'version'} '{ref.selector}' in "
            f"{self}; it has the versions {_list(versions)} and the aliases {_list(aliases)}"
        )

    def _move(
        self,
        name: str,
        alias: str,
        action: str,
        reason: str,
        choose: Callable[[list[Pointer]], Target],
    ) -> Pointer:
        if len(reason) > MAX_TEXT:
            raise SettingsError(f"the reason may have {MAX_TEXT} characters at most")
        require_name(name), require_alias(alias)
        from mlembed.registry.issue import Issuer  # hosts start without

        issuer = self.issuer or Issuer()
        place = f"the log of {name}@{alias} in {self}"
        for _ in range(_ATTEMPTS):
            log = chained(self.log(name, alias), name, alias, place)
            in_force, last = self._history(name, alias, log, place)
            target = choose(in_force)
            self.trust.check_bundle(self.fetch(target))
            pointer = issuer.issue(target, alias, action, reason, last)
            data = pointer.sealed(issuer.signer)
            self.trust.check_envelope(read_entry(data, place).envelope, "the new pointer")
            if self.append(pointer, data):
                return pointer
        raise ConflictError(
            f"others moved {name}@{alias} in {self} {_ATTEMPTS} times meanwhile; try again"
        )

    def _history(
        self, name: str, alias: str, log: list[Entry], place: str
    ) -> tuple[list[Pointer], Pointer | None]:
        """Return what was in force, and the last pointer there was, in force or not.

        Also where the alias itself is damaged, or its log has been moved away. What is in force is
        signed as the trust asks, and so are all before it, by their digests; what lies beyond is
        judged one by one.
        """
        pointers = [entry.pointer for entry in log]
        last = pointers[-1] if log else None
        current: Pointer | None = None
        is_damaged = False
        try:
            current = self.entry(name, alias).pointer
        except NotFoundError:
            pass
        except IntegrityError:
            is_damaged = True
        for entry in log[-1:] if is_damaged else log:
            if current is None or entry.pointer.serial > current.serial:
                self.trust.check_envelope(entry.envelope, f"{place}, {entry.pointer.serial}")
        if current is None:
            return (pointers if is_damaged else []), last
        if last is None or last.serial < current.serial:
            return [*pointers, current], current
        return [pointer for pointer in pointers if pointer.serial <= current.serial], last


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
