"""A directory as a store of files: each is written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, NoReturn

from mlembed.errors import IntegrityError, RegistryError
from mlembed.registry import files
from mlembed.registry.store import Listed, Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_LOCK_SECONDS = 10.0


class Directory(Store):
    """The files below *root*."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """Return the file at *path*, None where there is none."""
        place = self.root / path
        try:
            with place.open("rb") as file:
                # Reading what the file holds, and not what it may hold, takes no room in vain.
                size = min(os.fstat(file.fileno()).st_size, max_bytes)
                data = file.read(size + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise RegistryError(f"cannot read {place}: {error.strerror}") from error
        if len(data) > max_bytes:
            raise IntegrityError(
                f"{place} is larger than {max_bytes} bytes, so it is not what was written; publish "
                "or promote again"
            )
        return data

    def listing(self, folder: str) -> Iterator[Listed]:
        """Yield the files and folders in *folder*."""
        place = self.root / folder
        try:
            with os.scandir(place) as entries:
                found = [entry for entry in entries if not entry.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise RegistryError(f"cannot read {place}: {error.strerror}") from error
        for entry in found:
            try:
                about = entry.stat()
            except FileNotFoundError:  # gone since
                continue
            except OSError:  # whoever reads it is told why it cannot be
                yield Listed(entry.name, 0, time.time())
            else:
                yield Listed(entry.name, about.st_size, about.st_mtime)

    def create(self, path: str, data: bytes) -> bool:
        """Write *path* unless it exists; return whether this call made it."""
        try:
            return files.create(self.root / path, data)
        except OSError as error:
            self._refuse(error)

    def replace(self, path: str, data: bytes) -> None:
        """Write *path*, replacing what is there in one step."""
        try:
            files.replace(self.root / path, data)
        except OSError as error:
            self._refuse(error)

    def refresh(self, path: str) -> None:
        """Make *path* as young as if it were written now."""
        try:
            os.utime(self.root / path)
        except OSError as error:
            self._refuse(error)

    def modified(self, path: str) -> float:
        """Return the Unix time of the last change of *path*; 0 where it is gone."""
        try:
            return (self.root / path).stat().st_mtime
        except OSError:
            return 0.0

    @contextlib.contextmanager
    def alone(self, folder: str) -> Iterator[None]:
        """Keep others who write *folder* out for a moment, where locks work."""
        try:
            lock = files.locked(self.root / folder / ".lock", _LOCK_SECONDS)
        except OSError as error:
            self._refuse(error)
        with lock:
            yield

    def remove(self, path: str) -> None:
        """Remove *path* if it is there."""
        try:
            (self.root / path).unlink(missing_ok=True)
        except OSError as error:
            self._refuse(error)

    def leftovers(self, folder: str) -> Iterator[Listed]:
        """Yield what writers below *folder* left when they were killed, by its path from it."""
        place, before = self.root / folder, time.time() - files.LEFTOVER_SECONDS
        for path in place.rglob(f"{files.PREFIX}*"):
            with contextlib.suppress(OSError):  # written to its end, or already removed
                about = path.stat()
                if about.st_mtime < before:
                    yield Listed(path.relative_to(place).as_posix(), about.st_size, about.st_mtime)

    def require_writable(self, folder: str) -> None:
        """Write and remove a file in *folder*, which is made if need be."""
        try:
            files.probe(self.root / folder)
        except OSError as error:
            self._refuse(error)

    def _refuse(self, error: OSError) -> NoReturn:
        raise RegistryError(
            f"cannot write to the registry {self}: {error.strerror or error}. Nothing was "
            "published; make the directory writable or name another with --registry"
        ) from error
