"""A registry that is a tree of files: a directory, a static web site or a bucket.

A version is visible only once all its files are, and is never changed after. A pointer is logged
under its serial before it comes into force, and a serial can be created once: whoever comes second
begins again. Locks only keep an alias from going back for a moment: where they lie, nothing is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from mlembed.bundle import strictjson
from mlembed.bundle.bundle import sha256
from mlembed.bundle.manifest import (
    MAX_SIGNATURE_BYTES,
    File,
    is_name,
    is_sha256,
    is_version,
    version_key,
)
from mlembed.errors import BundleError, IntegrityError
from mlembed.registry.pointer import MAX_POINTER_BYTES, Ref, require_name
from mlembed.registry.registry import Registry
from mlembed.registry.store import MODELS, Polled, Store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mlembed.bundle.bundle import Bundle
    from mlembed.registry.collecting import Collected
    from mlembed.registry.pointer import Pointer, Target

_MAX_RECORD_BYTES = 4096
_MAX_DIGITS = 17
MAX_INDEX_BYTES = 4 * 1024 * 1024


class TreeRegistry(Registry):
    """Versions and aliases of models in *store*."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store

    def __str__(self) -> str:
        return str(self.store)

    def models(self) -> list[str]:
        """Return the names of all models, sorted."""
        names = (item.name for item in self.store.listing(""))
        return sorted(name for name in names if is_name(name) and self.versions(name))

    def versions(self, name: str) -> list[str]:
        """Return the versions of *name*, the oldest first."""
        return sorted(
            filter(is_version, self._stems(f"{require_name(name)}/versions")), key=version_key
        )

    def aliases(self, name: str) -> list[str]:
        """Return the aliases of *name*, sorted."""
        return sorted(filter(is_name, self._stems(f"{require_name(name)}/aliases")))

    def bundle_id(self, name: str, version: str) -> str | None:
        """Return the id of the bundle that *version* is, None where there is no such version."""
        path = f"{require_name(name)}/versions/{version}.json"
        raw = self.store.read(path, _MAX_RECORD_BYTES)
        if raw is None:
            return None
        try:
            bundle_id = strictjson.loads(raw, path)["bundle_id"]
        except (BundleError, KeyError, TypeError):
            bundle_id = None
        if not is_sha256(bundle_id):
            raise IntegrityError(f"{path} in {self} names no bundle; publish a new version")
        return str(bundle_id)

    def blob(self, target: Target, digest: str, max_bytes: int) -> bytes | None:
        """Return a file of *target* by its sha256, None where it is gone."""
        return self.store.read(_blob(target.name, digest), max_bytes)

    def download(self, target: Target, file: File, sink: BinaryIO) -> bool:
        """Write a file of *target* into *sink*; return whether it is there."""
        return self.store.download(_blob(target.name, file.sha256), file, sink)

    def signature(self, target: Target) -> bytes:
        """Return the bundle.sig.json of *target*; empty where nobody signed it."""
        return self.store.read(_signature(target), MAX_SIGNATURE_BYTES) or b""

    def sign(self, target: Target, signature: bytes) -> None:
        """Store the bundle.sig.json of *target*, replacing what is there."""
        self.store.replace(_signature(target), signature)

    def poll(self, name: str, alias: str, etag: str) -> Polled:
        """Return the stored pointer of *alias*, unless it is still what *etag* stood for."""
        return self.store.poll(_alias(name, alias), MAX_POINTER_BYTES, etag)

    def log(
        self, name: str, alias: str, after: int = 0, before: int | None = None
    ) -> list[tuple[int, bytes]]:
        """Return every stored pointer of *alias* with its serial; see `Holdings`."""
        serials: Iterable[int] = (n for n in self._serials(name, alias) if n > after)
        if before is not None:  # no index is asked, which may be old or hostile
            serials = range(after + 1, before)
        found = []
        for serial in serials:
            data = self.store.read(_logged(name, alias, serial), MAX_POINTER_BYTES)
            if data is not None:
                found.append((serial, data))
        return found

    def append(self, pointer: Pointer, data: bytes) -> bool:
        """Log *data*, which says *pointer*, and bring it into force; see `Registry`."""
        name, alias = pointer.name, pointer.alias
        with self.store.alone(name):
            if not self.store.create(_logged(name, alias, pointer.serial), data):
                return False
            # Where nobody can be kept out, somebody may log a later one and write the alias first:
            # the last to write always writes the newest.
            written = 0
            while (newest := self._serials(name, alias)[-1]) > written:
                later = self.store.read(_logged(name, alias, newest), MAX_POINTER_BYTES)
                self.store.replace(_alias(name, alias), data if later is None else later)
                written = newest
            self._index(name)
        return True

    def put(self, bundle: Bundle) -> bool:
        """Store *bundle* under its version; return whether the version is new."""
        name, version = bundle.manifest.name, bundle.manifest.version
        for data in (*bundle.files.values(), bundle.manifest_bytes):
            file = File(path="", size=len(data), sha256=sha256(data), role="")
            path = _blob(name, file.sha256)
            if self.store.create(path, data):
                continue
            self.store.refresh(path)  # or else it might be collected before the version is there
            if not self.store.holds(path, file, data):
                self.store.replace(path, data)  # it was damaged, and its name says what it was
        record = strictjson.dumps({"bundle_id": bundle.id, "version": version})
        if bundle.signature:
            self.store.replace(f"{name}/signatures/{bundle.id}.json", bundle.signature)
        created = self.store.create(f"{name}/versions/{version}.json", record)
        self._mend(name, bundle)
        self._index(name)
        return created

    def _mend(self, name: str, bundle: Bundle) -> None:
        """Write again what was collected while the version was not there yet."""
        held = {item.name for item in self.store.listing(f"{name}/blobs/sha256")}
        for data in (*bundle.files.values(), bundle.manifest_bytes):
            if sha256(data) not in held:
                self.store.create(_blob(name, sha256(data)), data)

    def published(self, name: str) -> dict[str, float]:
        """Return the Unix time at which each version of *name* was published."""
        listed = self.store.listing(f"{require_name(name)}/versions")
        times = {item.name.removesuffix(".json"): item.modified for item in listed}
        return {version: time for version, time in times.items() if is_version(version)}

    def collect(
        self, name: str, versions: Collection[str], before: float, *, delete: bool
    ) -> Collected:
        """Remove *versions* of *name*, and then files that no version needs."""
        from mlembed.registry.collecting import Collected  # hosts start without

        needed = self._needed(name, versions)  # what is damaged shows before anything is removed
        if delete:
            for version in versions:  # first, so that no reader finds one without its files
                self.store.remove(f"{name}/versions/{version}.json")
            needed |= self._needed(name, versions)
        found = [(f"{name}/{item.name}", item) for item in self.store.leftovers(name)]
        for folder, suffix in ((f"{name}/blobs/sha256", ""), (f"{name}/signatures", ".json")):
            found += [
                (f"{folder}/{item.name}", item)
                for item in self.store.listing(folder)
                if item.name.removesuffix(suffix) not in needed
            ]
        n_files = n_bytes = 0
        for path, item in found:
            if item.modified >= before or (delete and self.store.modified(path) >= before):
                continue  # somebody needs it, perhaps again
            n_files, n_bytes = n_files + 1, n_bytes + item.size
            if delete:
                self.store.remove(path)
        if delete:
            self._index(name)
        return Collected(tuple(sorted(versions, key=version_key)), n_files, n_bytes)

    def _needed(self, name: str, doomed: Collection[str]) -> set[str]:
        """Return the digests of what the versions that are not *doomed* are made of."""
        needed: set[str] = set()
        for version in {*self.versions(name)} - {*doomed}:
            target = self.resolve(Ref(name, version))
            needed.add(target.bundle_id)
            needed.update(file.sha256 for file in self.manifest(target).files)
        return needed

    def require_writable(self, name: str) -> None:
        """Find out before long work whether *name* could be published here."""
        self.store.require_writable(require_name(name))

    def _serials(self, name: str, alias: str) -> list[int]:
        stems = self._stems(f"{name}/log/{alias}")
        return sorted(
            int(stem)
            for stem in stems
            if len(stem) < _MAX_DIGITS and stem.isdecimal() and stem == str(int(stem))
        )

    def _stems(self, folder: str) -> list[str]:
        names = (item.name for item in self.store.listing(folder))
        return [name.removesuffix(".json") for name in names if name.endswith(".json")]

    def _index(self, name: str) -> None:
        """Write down the names, for readers that cannot list; whoever writes next mends it."""
        logs = {alias: self._serials(name, alias) for alias in self.aliases(name)}
        found = {"aliases": logs, "versions": self.versions(name)}
        self._write_index(f"{name}/index.json", strictjson.dumps(found))
        self._write_index(MODELS, strictjson.dumps({"models": self.models()}))

    def _write_index(self, path: str, data: bytes) -> None:
        if self.store.read(path, MAX_INDEX_BYTES) != data:
            self.store.replace(path, data)


def _blob(name: str, digest: str) -> str:
    return f"{require_name(name)}/blobs/sha256/{digest}"


def _signature(target: Target) -> str:
    return f"{require_name(target.name)}/signatures/{target.bundle_id}.json"


def _alias(name: str, alias: str) -> str:
    return f"{name}/aliases/{alias}.json"


def _logged(name: str, alias: str, serial: int) -> str:
    return f"{name}/log/{alias}/{serial}.json"
