"""Bundles that were shipped with the application: a last resort, or all there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlembed.bundle.manifest import is_version, version_key
from mlembed.errors import NotFoundError
from mlembed.registry.pointer import Ref, Target

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.bundle.bundle import Bundle
    from mlembed.bundle.trust import Trust


class Shipped:
    """The bundle at *place*, or those in that folder; they never change while a host runs.

    In a folder a bundle is `name.mlb`, `name/`, or with a version as `mlembed registry pull` writes
    it, `name-1.2.0.mlb`; of these an alias means the newest.

    Args:
        place: Where.
        trust: Whose signatures are asked for.
    """

    def __init__(self, place: Path, trust: Trust) -> None:
        self._place = place
        self._trust = trust

    def __str__(self) -> str:
        return str(self._place)

    def resolve(self, ref: Ref) -> Target:
        """Return what was shipped for *ref*; see `bundle`."""
        bundle = self.bundle(ref)
        return Target(ref.name, bundle.manifest.version, bundle.id)

    def fetch(self, target: Target) -> Bundle:
        """Return the bundle of *target*; see `bundle`."""
        return self.bundle(Ref(target.name, target.version))

    def bundle(self, ref: Ref) -> Bundle:
        """Return the verified bundle that was shipped for *ref*.

        Raises:
            NotFoundError: If there is none.
            SignatureError: If nobody trusted signed it.
            BundleError: If it is none, or damaged.
        """
        from mlembed.bundle.single import read_bundle  # others start without

        path = self._path(ref)
        bundle = read_bundle(path)
        manifest = bundle.manifest
        if manifest.name != ref.name or (not ref.is_alias and manifest.version != ref.selector):
            raise NotFoundError(f"{path} holds {manifest.title} and not {ref}")
        self._trust.check_bundle(bundle)
        return bundle

    def _path(self, ref: Ref) -> Path:
        place = self._place
        if place.is_file() or (place / "manifest.json").exists():
            return place
        for path in (place / f"{ref.name}.mlb", place / ref.name):
            if path.exists():
                return path
        found = {
            path.name.removesuffix(".mlb").removeprefix(f"{ref.name}-"): path
            for path in place.glob(f"{ref.name}-*")
        }
        versions = sorted(filter(is_version, found), key=version_key)
        wanted = [version for version in versions if ref.is_alias or version == ref.selector]
        if not wanted:
            raise NotFoundError(
                f"{place} holds no bundle for {ref}; expected {ref.name}.mlb, {ref.name}/ or "
                f"{ref.name}-<version>.mlb"
            )
        return found[wanted[-1]]
