"""What each kind of registry does in its own way; what all promise is `Registry`'s."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import BinaryIO

    from mlembed.bundle.bundle import Bundle
    from mlembed.bundle.manifest import File
    from mlembed.registry.collecting import Collected
    from mlembed.registry.pointer import Pointer, Target
    from mlembed.registry.store import Polled


class Holdings(abc.ABC):
    """Bundles, pointers and logs, wherever they are.

    Every call may be made from any thread and process, and raises `RegistryError` where the registry
    cannot be reached, read or written.
    """

    @abc.abstractmethod
    def models(self) -> list[str]:
        """Return the names of all models, sorted."""

    @abc.abstractmethod
    def versions(self, name: str) -> list[str]:
        """Return the versions of *name*, the oldest first."""

    @abc.abstractmethod
    def aliases(self, name: str) -> list[str]:
        """Return the aliases of *name*, sorted."""

    @abc.abstractmethod
    def bundle_id(self, name: str, version: str) -> str | None:
        """Return the id of the bundle that *version* is, None where there is no such version."""

    @abc.abstractmethod
    def blob(self, target: Target, digest: str, max_bytes: int) -> bytes | None:
        """Return a file of *target* by its sha256, None where it is gone; see `fetch`."""

    @abc.abstractmethod
    def download(self, target: Target, file: File, sink: BinaryIO) -> bool:
        """Write a file of *target* into *sink*; return whether it is there.

        Raises:
            IntegrityError: If it is another file, where that shows on the way.
        """

    @abc.abstractmethod
    def signature(self, target: Target) -> bytes:
        """Return the bundle.sig.json of *target*; empty where nobody signed it."""

    @abc.abstractmethod
    def sign(self, target: Target, signature: bytes) -> None:
        """Store the bundle.sig.json of *target*, replacing what is there."""

    @abc.abstractmethod
    def poll(self, name: str, alias: str, etag: str) -> Polled:
        """Return the stored pointer of *alias*, unless it is still what *etag* stood for."""

    @abc.abstractmethod
    def log(
        self, name: str, alias: str, after: int = 0, before: int | None = None
    ) -> list[tuple[int, bytes]]:
        """Return every stored pointer of *alias* with its serial.

        Args:
            name: Name of the model.
            alias: The alias.
            after: Only higher serials.
            before: Only lower serials, which are then asked for one by one; not too many.
        """

    @abc.abstractmethod
    def append(self, pointer: Pointer, data: bytes) -> bool:
        """Log *data*, which says *pointer*, and bring it into force.

        Returns:
            Whether it was; not where another took its serial first.
        """

    @abc.abstractmethod
    def put(self, bundle: Bundle) -> bool:
        """Store *bundle* under its version; return whether the version is new.

        Raises:
            ConflictError: If another is published under that version at this moment.
        """

    @abc.abstractmethod
    def require_writable(self, name: str) -> None:
        """Find out before long work whether *name* could be published here.

        Raises:
            RegistryError: If it could not.
        """

    @abc.abstractmethod
    def collect(
        self, name: str, versions: Collection[str], before: float, *, delete: bool
    ) -> Collected:
        """Remove *versions* of *name*, and then files that no version needs.

        Args:
            name: Name of the model.
            versions: What nobody needs any more.
            before: Unix time; younger files stay, for somebody may be publishing them.
            delete: Whether anything is removed, and not just counted.
        """

    @abc.abstractmethod
    def published(self, name: str) -> dict[str, float]:
        """Return the Unix time at which each version of *name* was published."""
