"""Read a bundle through the cache: what is held is not asked for, what is not is held from then."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from mlembed.bundle.bundle import require_id, sha256
from mlembed.bundle.manifest import MAX_MANIFEST_BYTES, Manifest
from mlembed.errors import IntegrityError
from mlembed.registry.assembly import assemble

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle
    from mlembed.bundle.manifest import File
    from mlembed.registry.cache import Cache
    from mlembed.registry.pointer import Target
    from mlembed.registry.registry import Registry


class Through:
    """The bundles of *registry*, held in *cache*.

    Args:
        registry: Where they are.
        cache: Holds their files.
        signatures: Whether anybody is there to judge them.
    """

    def __init__(self, registry: Registry, cache: Cache, *, signatures: bool) -> None:
        self._registry = registry
        self._cache = cache
        self._signatures = signatures

    def fetch(self, target: Target, *, anew: bool = False) -> Bundle:
        """Return the bundle of *target*; see `Registry.fetch`.

        Args:
            target: Which.
            anew: Whether what is held is to be doubted: files are hashed before they are used
                again, and the rest is asked for.
        """
        return assemble(
            target,
            str(self._registry),
            self._manifest(target, anew=anew),
            functools.partial(self._file, target, anew=anew),
            self._signature(target, anew=anew),
        )

    def files(self, target: Target) -> tuple[str, ...]:
        """Return the digests of what *target* is made of; none where the cache cannot hold it."""
        data = self._cache.read(target.bundle_id, MAX_MANIFEST_BYTES)
        if data is None or sha256(data) != target.bundle_id:
            return ()
        return (target.bundle_id, *(file.sha256 for file in Manifest.from_bytes(data).files))

    def holds(self, target: Target) -> bool:
        """Tell whether the cache has all of *target*, by hashing it."""
        data = self._cache.read(target.bundle_id, MAX_MANIFEST_BYTES)
        if data is None or sha256(data) != target.bundle_id:
            return False
        listed = Manifest.from_bytes(data).files
        return all(self._cache.holds(file.sha256, file.size) for file in listed)

    def manifest(self, target: Target) -> Manifest:
        """Return the manifest of *target*, without its files.

        Raises:
            IntegrityError: If it is gone, or not what was published.
        """
        data = self._manifest(target, anew=False)
        if data is None:
            raise IntegrityError(f"{target.name}@{target.version}: its manifest is gone")
        require_id(data, target.bundle_id)
        return Manifest.from_bytes(data)

    def _manifest(self, target: Target, *, anew: bool) -> bytes | None:
        data = None if anew else self._cache.read(target.bundle_id, MAX_MANIFEST_BYTES)
        if data is None:
            data = self._registry.blob(target, target.bundle_id, MAX_MANIFEST_BYTES)
            if data is not None:
                self._cache.put(target.bundle_id, data)
        return data

    def _file(self, target: Target, file: File, *, anew: bool) -> bytes:
        if anew and not self._cache.holds(file.sha256, file.size):
            self._cache.drop(file.sha256)
        download = functools.partial(self._registry.download, target, file)
        data = self._cache.obtain(file.sha256, file.size, download)
        if data is None:
            raise FileNotFoundError(file.path)
        return data

    def _signature(self, target: Target, *, anew: bool) -> bytes:
        if not self._signatures:
            return b""
        data = None if anew else self._cache.signature(target.bundle_id)
        if data is None:
            data = self._registry.signature(target)
            self._cache.sign(target.bundle_id, data)
        return data
