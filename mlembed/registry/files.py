"""Write files so that a reader sees the old one or the new one, never a part.

A crash at any step leaves a temporary file at worst.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFIX = ".tmp-"  # of what is not whole yet
LEFTOVER_SECONDS = 24 * 3600.0  # after which nobody is still writing it
_PAUSE_SECONDS = 0.02


def create(path: Path, data: bytes) -> bool:
    """Write *path* unless it exists; return whether this call made it."""
    with _temporary(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    _sync_directory(path.parent)
    return True


def replace(path: Path, data: bytes) -> None:
    """Write *path*, replacing what is there in one step.

    Its time of change is another second than that of the file before: web servers make their ETag of
    that and of the length, and would call the new file not modified.
    """
    with _temporary(path, data) as temporary:
        with contextlib.suppress(FileNotFoundError):
            before = int(path.stat().st_mtime)
            if int(temporary.stat().st_mtime) <= before:
                os.utime(temporary, (before + 1, before + 1))
        temporary.replace(path)
    _sync_directory(path.parent)


def probe(folder: Path) -> None:
    """Write and remove a file in *folder*, which is made if need be."""
    with _temporary(folder / "probe", b""):
        pass


def keep(path: Path, data: bytes) -> None:
    """Write *path* in one step, for this user alone and without forcing it onto the disk."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _temporary(path, data, is_public=False) as temporary:
        temporary.replace(path)


def locked(path: Path, seconds: float) -> BinaryIO:
    """Return the lock file *path*, held until it is closed; not held where locks do not work.

    Waits for whoever holds it, but not longer than *seconds*: nothing but order depends on it.

    Raises:
        OSError: If it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "a+b", opener=_open_plain)  # noqa: SIM115  whoever calls closes it
    if os.name != "posix":
        return file
    import fcntl

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_SECONDS)
        except OSError:  # this disk has no locks
            break
        else:
            break
    return file


def _open_plain(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o644)


@contextlib.contextmanager
def _temporary(path: Path, data: bytes, *, is_public: bool = True) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=PREFIX)
    temporary = path.parent / name
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if is_public:
                file.flush()
                os.fsync(file.fileno())
        if is_public:
            temporary.chmod(0o644)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _sync_directory(path: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
