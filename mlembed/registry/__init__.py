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
            IntegrityError: If what it points with is not as it was written.
            RegistryError: If the registry cannot be read.
        """
        ...

    def fetch(self, target: Target) -> Bundle:
        """Return the verified bundle of *target*.

        Raises:
            IntegrityError: If its bytes are not those that were published, or are gone.
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
    if "\0" in str(location):
        raise SettingsError("the registry's path holds a NUL character")
    if isinstance(location, Path) or "://" not in location:
        return FileRegistry(Path(location))
    return FileRegistry(_file_url(location))


def _file_url(url: str) -> Path:
    # A URL may hold a password, so no message shows more of it than its scheme.
    scheme = url.partition("://")[0]
    if scheme.lower() != "file":
        raise SettingsError(
            f"registries of the scheme '{scheme}' are not served; served are directories and "
            "file:///absolute/path"
        )
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise SettingsError("the registry's file:// URL is malformed") from error
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path or parts.query or parts.fragment:
        raise SettingsError(
            "a file:// registry is written file:///absolute/path, with ? and # as %3F and %23"
        )
    if "\0" in path:
        raise SettingsError("the registry's path holds a NUL character")
    return Path(path)
