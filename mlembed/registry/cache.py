"""Verified files of bundles on the host's disk, named by their digest.

The cache is a convenience and never a promise: what it holds is hashed again by whoever uses it, and
where it cannot be written a bundle is held in memory alone. Locks only save downloads.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mlembed.bundle.bundle import sha256
from mlembed.bundle.manifest import MAX_SIGNATURE_BYTES
from mlembed.errors import RegistryError
from mlembed.registry import files

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator


class Cache:
    """Files in the directory *root*, at most *max_bytes* of them.

    Whoever needs what another downloads waits for it, *lock_seconds* at most.

    Many processes may share it. No call raises for what the disk does; `problem` tells.

    Attributes:
        problem: Why it could not be written, the last time it could not; or empty.
    """

    def __init__(self, root: Path, max_bytes: int, lock_seconds: float = 10.0) -> None:
        self.root = root
        self.problem = ""
        self._blobs, self._signatures = root / "blobs" / "sha256", root / "signatures"
        self._max_bytes, self._lock_seconds = max_bytes, lock_seconds

    def read(self, digest: str, max_bytes: int) -> bytes | None:
        """Return what is held under *digest*, which may be damaged; None where nothing is."""
        return _read(self._blobs / digest, max_bytes)

    def holds(self, digest: str, size: int) -> bool:
        """Tell whether what is held under *digest* is that file, by hashing it."""
        data = self._held(digest, size)
        return data is not None and sha256(data) == digest

    def put(self, digest: str, data: bytes) -> None:
        """Hold *data* under *digest*."""
        self._write(self._blobs / digest, data)

    def signature(self, bundle_id: str) -> bytes | None:
        """Return the signature that is held of a bundle, empty where it has none, or None."""
        return _read(self._signatures / bundle_id, MAX_SIGNATURE_BYTES)

    def sign(self, bundle_id: str, signature: bytes) -> None:
        """Hold the *signature* of a bundle, or that it has none."""
        self._write(self._signatures / bundle_id, signature)

    def obtain(self, digest: str, size: int, download: Callable[[BinaryIO], bool]) -> bytes | None:
        """Return the file of *digest*, downloading it at most once among all who share the cache.

        Args:
            digest: Its sha256 in hex.
            size: Its length in bytes.
            download: Writes the file; returns whether there is one. What it raises is passed on.

        Returns:
            What was read or downloaded, not hashed here; None where there is no such file.
        """
        data = self._held(digest, size)
        if data is not None:
            return data
        with self._alone(digest):
            data = self._held(digest, size)
            if data is None and not self._store(digest, size, download):
                return None
        return data if data is not None else self._last(digest, size, download)

    def drop(self, digest: str) -> None:
        """Forget a file that is damaged."""
        with contextlib.suppress(OSError):
            (self._blobs / digest).unlink()

    def trim(self, keep: Collection[str]) -> None:
        """Remove what was used the longest ago until the rest fits, and never any of *keep*."""
        held = []
        for path in self._files():
            with contextlib.suppress(OSError):
                about = path.stat()
                is_leftover = path.name.startswith(files.PREFIX)
                if not is_leftover:
                    held.append((about.st_mtime, about.st_size, path))
                elif about.st_mtime < time.time() - files.LEFTOVER_SECONDS:
                    path.unlink()
        total = sum(size for _, size, _ in held)
        for _, size, path in sorted(held):
            if total <= self._max_bytes:
                return
            if path.name not in keep:
                with contextlib.suppress(OSError):
                    path.unlink()
                    total -= size

    def _held(self, digest: str, size: int) -> bytes | None:
        data = self.read(digest, size)
        if data is None or len(data) != size:
            return None
        with contextlib.suppress(OSError):
            os.utime(self._blobs / digest)
        return data

    def _store(self, digest: str, size: int, download: Callable[[BinaryIO], bool]) -> bool:
        """Download into the cache; return False only where there is no such file."""
        try:
            descriptor, name = tempfile.mkstemp(dir=self._folder(), prefix=files.PREFIX)
        except OSError as error:
            self._tell(error)
            return True
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                _reserve(file, size)
                if not download(file):
                    return False
                file.truncate()
            temporary.replace(self._blobs / digest)
        except OSError as error:
            trouble = error.__cause__ if isinstance(error, RegistryError) else error
            if not isinstance(trouble, OSError) or isinstance(trouble, RegistryError):
                raise  # the registry, and not the disk
            self._tell(trouble)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        return True

    def _last(self, digest: str, size: int, download: Callable[[BinaryIO], bool]) -> bytes | None:
        """Return what was just stored, or download into memory where it could not be."""
        data = self._held(digest, size)
        if data is not None:
            return data
        sink = io.BytesIO()
        # Without a copy: the value of a buffer is its own bytes as long as nobody else holds it.
        return sink.getvalue() if download(sink) else None

    def _write(self, path: Path, data: bytes) -> None:
        try:
            files.keep(path, data)
        except OSError as error:
            self._tell(error)

    def _folder(self) -> Path:
        self._blobs.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._blobs

    def _files(self) -> list[Path]:
        try:
            return list(self._blobs.iterdir())
        except OSError:
            return []

    def _tell(self, error: OSError) -> None:
        self.problem = f"the cache {self.root} cannot be written: {error.strerror or error}"

    @contextlib.contextmanager
    def _alone(self, digest: str) -> Iterator[None]:
        """Wait while another downloads the same; go on without where locks do not work."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                (self.root / "locks").mkdir(parents=True, exist_ok=True, mode=0o700)
                stack.enter_context(files.locked(self.root / "locks" / digest, self._lock_seconds))
            yield


def _read(path: Path, max_bytes: int) -> bytes | None:
    try:
        with open(path, "rb", opener=_open_plain) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_size > max_bytes:
                return None
            data = file.read(about.st_size + 1)
    except OSError:
        return None
    return data if len(data) <= max_bytes else None


def _open_plain(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _reserve(file: BinaryIO, size: int) -> None:
    """Take the room now, so that a full disk shows before a long download.

    Raises:
        OSError: If there is none.
    """
    if hasattr(os, "posix_fallocate") and size:
        os.posix_fallocate(file.fileno(), 0, size)
