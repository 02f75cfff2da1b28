"""What a host remembers of a registry from one start to the next.

The highest serial it saw, so that no older pointer is taken for a new one, and what served last, so
that it can serve without the registry. Pointers are kept as they were signed and judged again.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
from typing import TYPE_CHECKING, Any

from mlembed.bundle import strictjson
from mlembed.bundle.bundle import sha256
from mlembed.bundle.manifest import is_sha256, is_version
from mlembed.errors import BundleError
from mlembed.registry import files
from mlembed.registry.pointer import Target

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.registry.pointer import Ref

_MAX_BYTES = 512 * 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """A version that has served.

    Attributes:
        target: Its bundle.
        pointer: The alias's pointer at it, as stored; empty for a version asked for by number.
        blobs: Digests of the files it is made of.
    """

    target: Target
    pointer: bytes
    blobs: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What is remembered of one reference.

    Attributes:
        epoch: The epoch of the settings in which it was written.
        serial: Highest serial seen; 0 for none.
        digest: Digest of the pointer with that serial.
        etag: What the registry gave with the last good pointer.
        good: What served last.
        previous: What served before that.
    """

    epoch: int = 0
    serial: int = 0
    digest: str = ""
    etag: str = ""
    good: Good | None = None
    previous: Good | None = None


class Memory:
    """Files in `state` below *root*, for the registry at *location*.

    Files of another user are not believed, and no call raises for what the disk does.

    Attributes:
        problem: Why it could not be written, the last time it could not; or empty.
    """

    def __init__(self, root: Path, location: str) -> None:
        self.problem = ""
        self._root = root / "state"
        self._folder = self._root / sha256(location.encode())[:32]

    def read(self, ref: Ref) -> Remembered:
        """Return what is remembered of *ref*; nothing where there is nothing readable."""
        return _read(self._path(ref)) or Remembered()

    def write(self, ref: Ref, remembered: Remembered) -> None:
        """Remember, but never less than another process has: its epoch and serial stay.

        Where another has seen a higher serial, the ETag that goes with a lower one is dropped.
        """
        path = self._path(ref)
        there = _read(path)
        if there is not None and there.epoch > remembered.epoch:
            return
        if there and (there.epoch, there.serial) > (remembered.epoch, remembered.serial):
            remembered = dataclasses.replace(
                remembered, serial=there.serial, digest=there.digest, etag=""
            )
        try:
            files.keep(path, strictjson.dumps(_written(remembered)))
        except OSError as error:
            self.problem = f"{path.parent} cannot be written: {error.strerror or error}"

    def blobs(self) -> set[str]:
        """Return the digests of all files that a remembered version is made of."""
        found: set[str] = set()
        with contextlib.suppress(OSError):
            for path in self._root.glob("*/*.json"):
                remembered = _read(path) or Remembered()
                for good in (remembered.good, remembered.previous):
                    found.update(good.blobs if good is not None else ())
        return found

    def _path(self, ref: Ref) -> Path:
        return self._folder / f"{ref}.json"


def _read(path: Path) -> Remembered | None:
    try:
        with open(path, "rb", opener=_open_plain) as file:
            if hasattr(os, "geteuid") and os.fstat(file.fileno()).st_uid not in (0, os.geteuid()):
                return None
            raw = strictjson.loads(file.read(_MAX_BYTES), str(path))
        values = {**raw, "good": _good(raw["good"]), "previous": _good(raw["previous"])}
        remembered = Remembered(**values)
    except (OSError, BundleError, KeyError, TypeError, ValueError):
        return None
    numbers, texts = (remembered.epoch, remembered.serial), (remembered.digest, remembered.etag)
    if not all(type(n) is int and n >= 0 for n in numbers):
        return None
    return remembered if all(isinstance(text, str) for text in texts) else None


def _open_plain(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _written(remembered: Remembered) -> dict[str, Any]:
    data = dataclasses.asdict(remembered)
    for key in ("good", "previous"):
        if data[key] is not None:
            data[key]["pointer"] = base64.b64encode(data[key]["pointer"]).decode()
    return data


def _good(raw: dict[str, Any] | None) -> Good | None:
    """Return what `_written` wrote.

    Raises:
        ValueError: If it is something else.
    """
    if raw is None:
        return None
    target = Target(**raw["target"])
    blobs = tuple(raw["blobs"])
    if not (
        isinstance(target.name, str)
        and is_version(target.version)
        and all(map(is_sha256, (target.bundle_id, *blobs)))
    ):
        raise ValueError("no bundle")
    return Good(target=target, pointer=base64.b64decode(raw["pointer"]), blobs=blobs)
