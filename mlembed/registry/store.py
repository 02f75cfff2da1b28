"""Where the files of a registry lie, by their path below its root.

    <name>/blobs/sha256/<hex>          contents, named by their digest
    <name>/versions/<version>.json     create-only: version -> bundle id
    <name>/signatures/<hex>.json       who signed the bundle of that id; may be added and renewed
    <name>/aliases/<alias>.json        the pointer in force
    <name>/log/<alias>/<serial>.json   create-only: every pointer there was, as a chain
    <name>/index.json  _index/models.json   names, for servers that list no directory

The same tree is a directory, a static web site or a bucket.
"""

from __future__ import annotations

import abc
import contextlib
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from mlembed.bundle.bundle import sha256
from mlembed.errors import IntegrityError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlembed.bundle.manifest import File

MODELS = "_index/models.json"  # no model's name begins with '_'


class Polled(NamedTuple):
    """What a look at a file that may change found.

    Attributes:
        data: Its contents; None where there is no such file, or it has not changed.
        etag: What to show at the next look; empty where the server has none.
        unchanged: Whether it is the file that the shown etag stood for.
    """

    data: bytes | None
    etag: str = ""
    unchanged: bool = False


class Listed(NamedTuple):
    """A file of a folder: its name, length in bytes and Unix time of its last change."""

    name: str
    size: int
    modified: float


class Store(abc.ABC):
    """Files by path; every call may be made from any thread and process.

    A call raises `RegistryError` where the store cannot be reached, read or written.
    """

    @abc.abstractmethod
    def read(self, path: str, max_bytes: int) -> bytes | None:
        """Return the file at *path*, None where there is none; what is larger is refused."""

    @abc.abstractmethod
    def listing(self, folder: str) -> Iterator[Listed]:
        """Yield the files and folders in *folder*; nothing where there is none."""

    def poll(self, path: str, max_bytes: int, etag: str) -> Polled:
        """Return the file at *path* unless it is still the one that *etag* stood for."""
        data = self.read(path, max_bytes)
        found = sha256(data) if data is not None else ""
        if etag and found == etag:
            return Polled(None, etag, unchanged=True)
        return Polled(data, found)

    def download(self, path: str, file: File, sink: BinaryIO) -> bool:
        """Write the file at *path*, which must be *file*, into *sink*; tell whether it is there.

        Raises:
            IntegrityError: If it is another file, where that shows on the way.
        """
        data = self.read(path, file.size)
        if data is not None:
            sink.write(data)
        return data is not None

    def holds(self, path: str, file: File, data: bytes) -> bool:  # noqa: ARG002
        """Tell whether the file at *path*, which must be *file*, is *data*."""
        try:
            return self.read(path, len(data)) == data
        except IntegrityError:
            return False

    def create(self, path: str, data: bytes) -> bool:  # noqa: ARG002  see the class
        """Write *path* unless it exists; return whether this call made it."""
        return self._read_only()

    def replace(self, path: str, data: bytes) -> None:  # noqa: ARG002
        """Write *path*, replacing what is there in one step."""
        self._read_only()

    def refresh(self, path: str) -> None:  # noqa: ARG002
        """Make *path* as young as if it were written now, so that nobody collects it."""
        self._read_only()

    def modified(self, path: str) -> float:
        """Return the Unix time of the last change of *path*; 0 where it is gone."""
        folder, _, name = path.rpartition("/")
        return next((item.modified for item in self.listing(folder) if item.name == name), 0.0)

    @contextlib.contextmanager
    def alone(self, folder: str) -> Iterator[None]:  # noqa: ARG002
        """Keep others who write *folder* out, where that can be done."""
        yield

    def remove(self, path: str) -> None:  # noqa: ARG002
        """Remove *path* if it is there."""
        self._read_only()

    def leftovers(self, folder: str) -> Iterable[Listed]:  # noqa: ARG002
        """Yield what writers below *folder* left when they were killed, by its path from it."""
        return ()

    def require_writable(self, folder: str) -> None:  # noqa: ARG002
        """Find out whether *folder* could be written."""
        self._read_only()

    def _read_only(self) -> bool:
        raise RegistryError(
            f"{self} can only be read; publish to the directory or bucket that it serves"
        )
