"""Make a bundle of what a registry or a cache holds, and refuse what is not it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from mlembed.bundle.bundle import require_id, unpack
from mlembed.bundle.manifest import Manifest
from mlembed.errors import ConflictError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed.bundle.bundle import Bundle
    from mlembed.bundle.manifest import File
    from mlembed.registry.pointer import Target


def assemble(
    target: Target,
    place: str,
    manifest: bytes | None,
    read: Callable[[File], bytes],
    signature: bytes,
) -> Bundle:
    """Return the bundle of *target*, made of what *place* holds; see `Registry.fetch`."""
    data = _present(target, place, manifest)
    bundle = unpack(data, read, target.bundle_id, signature=signature)
    _require_named(bundle.manifest, target, place)
    return bundle


def checked_manifest(target: Target, place: str, data: bytes | None) -> Manifest:
    """Return the manifest of *target* in *place*; see `Registry.manifest`."""
    data = _present(target, place, data)
    require_id(data, target.bundle_id)
    manifest = Manifest.from_bytes(data)
    _require_named(manifest, target, place)
    return manifest


def _present(target: Target, place: str, manifest: bytes | None) -> bytes:
    if manifest is None:
        raise IntegrityError(
            f"{target.name}@{target.version}: its manifest is missing from {place}. "
            "Publish the bundle again from its trainer"
        )
    return manifest


def _require_named(manifest: Manifest, target: Target, place: str) -> None:
    if (manifest.name, manifest.version) != (target.name, target.version):
        raise IntegrityError(
            f"{target.name}@{target.version} in {place} holds {manifest.title}; "
            "it is refused. Publish the right bundle as a new version"
        )


def refuse_other_contents(name: str, version: str) -> NoReturn:
    """Say that a version is taken.

    Raises:
        ConflictError: Always.
    """
    raise ConflictError(
        f"{name}@{version} is published already with other contents; versions never "
        "change. Publish the next version"
    )
