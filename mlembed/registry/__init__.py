"""Where proven bundles live: immutable versions, and aliases that point at them.

`open_registry` turns a location into a registry for those who publish; `open_source` into what a
host follows, with the signatures, the cache and the memory that its settings ask for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from mlembed.registry.file import FileRegistry
from mlembed.registry.opening import open_registry, open_source

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.bundle.bundle import Bundle
    from mlembed.registry.pointer import Ref, Target
    from mlembed.registry.registry import Registry

    AnyRegistry: TypeAlias = "str | Path | Registry | BundleSource"

__all__ = ["BundleSource", "FileRegistry", "open_registry", "open_source"]


class BundleSource(Protocol):
    """What a host needs of a registry; both calls may be made from any thread.

    One of the host's own is believed as it is; what `open_source` returns is judged and remembered.
    """

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
