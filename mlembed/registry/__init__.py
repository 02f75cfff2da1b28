"""Where proven bundles live: immutable versions, and aliases that point at them.

`open_registry` turns a location into a registry; hosts only `resolve` and `fetch`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from mlembed.errors import SettingsError
from mlembed.registry.file import FileRegistry

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle
    from mlembed.registry.pointer import Ref, Target

__all__ = ["BundleSource", "FileRegistry", "open_registry"]


class BundleSource(Protocol):
    """What a host needs of a registry; both calls may be made from any thread."""

    def resolve(self, ref: Ref) -> Target:
        """Return what *ref* points at now.

        Raises:
            NotFoundError: If the model, version or alias does not exist; names what does.
            RegistryError: If the registry cannot be read.
        """
        ...

    def fetch(self, target: Target) -> Bundle:
        """Return the verified bundle of *target*.

        Raises:
            IntegrityError: If its bytes are not those that were published.
            RegistryError: If it cannot be read.
        """
        ...


def open_registry(location: str | Path) -> FileRegistry:
    """Return the registry at *location*, a directory or a `file://` URL.

    Raises:
        SettingsError: If no location is given or its scheme is not served.
    """
    if not str(location):
        raise SettingsError(
            "no model registry is set: give registry=..., --registry or MLEMBED_REGISTRY, "
            "such as file:///srv/models"
        )
    if isinstance(location, Path) or "://" not in location:
        return FileRegistry(Path(location))
    parts = urlsplit(location)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path:
        raise SettingsError(
            f"registry scheme '{parts.scheme}://{parts.netloc}' is not served; "
            "expected a directory or file:///absolute/path"
        )
    return FileRegistry(Path(unquote(parts.path)))
