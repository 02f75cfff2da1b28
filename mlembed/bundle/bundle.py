"""A bundle in memory: verified bytes, and how they are written and read.

Every file is read once, hashed, and those same bytes are used, so nothing can change
between the check and the use.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import shutil
import stat
from typing import TYPE_CHECKING, Any

from mlembed.bundle import strictjson
from mlembed.bundle.manifest import (
    MAX_MANIFEST_BYTES,
    MAX_SIGNATURE_BYTES,
    SIGNATURE,
    File,
    Manifest,
)
from mlembed.errors import BundleError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

_ROLES = {
    "model.onnx": "model",
    "golden.json": "golden",
    "reference.json": "reference",
    "card.md": "card",
    "evaluation.json": "evaluation",
    "proof.json": "proof",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bundle:
    """A whole bundle whose bytes have been checked.

    Attributes:
        id: sha256 of the manifest's bytes, in hex.
        manifest: The parsed manifest.
        manifest_bytes: The bytes the id stands for.
        files: Contents by file name, the manifest left out.
        signature: The contents of bundle.sig.json; empty where nobody signed. The id is that of the
            manifest alone, so a signature may be added or renewed.
    """

    id: str
    manifest: Manifest
    manifest_bytes: bytes = dataclasses.field(repr=False)
    files: Mapping[str, bytes] = dataclasses.field(repr=False)
    signature: bytes = dataclasses.field(default=b"", repr=False)

    def json(self, path: str) -> Any:
        """Parse the file at *path*.

        Raises:
            BundleError: If the bundle has no such file or it is not JSON.
        """
        if path not in self.files:
            raise BundleError(f"{self.manifest.title} has no {path}; train or pack it again")
        return strictjson.loads(self.files[path], f"{self.manifest.title}: {path}")


def pack(manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Make a bundle of *files*, whose list in *manifest* is filled in.

    Raises:
        BundleError: If a file's name has no role in a bundle or the manifest is malformed.
    """
    unknown = sorted(set(files) - set(_ROLES))
    if unknown:
        raise BundleError(f"a bundle holds {sorted(_ROLES)}; not {unknown}")
    listed = tuple(
        File(path=path, size=len(data), sha256=sha256(data), role=_ROLES[path])
        for path, data in sorted(files.items())
    )
    data = dataclasses.replace(manifest, files=listed).to_bytes()
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(
            f"{manifest.title}: the manifest would be {len(data)} bytes, at most "
            f"{MAX_MANIFEST_BYTES} may be; learn smaller vocabularies with Category(max_size=...)"
        )
    manifest = Manifest.from_bytes(data)
    return Bundle(id=sha256(data), manifest=manifest, manifest_bytes=data, files=dict(files))


def unpack(
    manifest_bytes: bytes,
    read: Callable[[File], bytes],
    expected_id: str | None = None,
    present: Collection[str] = (),
    signature: bytes = b"",
) -> Bundle:
    """Check a bundle whose files *read* fetches, one call a file.

    Args:
        manifest_bytes: The bytes of manifest.json.
        read: Returns the bytes of a listed file; `FileNotFoundError` where there is none,
            `IsADirectoryError` where it is no plain file, `IntegrityError` where it is another.
        expected_id: The id that was asked for, or None to accept any.
        present: Names that stand beside the manifest and must all be listed in it.
        signature: The contents of bundle.sig.json, which are not judged here.

    Raises:
        IntegrityError: If a byte differs or a file is missing or not listed; lists every such file.
        BundleError: If the manifest is malformed.
    """
    bundle_id = require_id(manifest_bytes, expected_id)
    manifest = Manifest.from_bytes(manifest_bytes)
    files: dict[str, bytes] = {}
    problems = []
    for file in manifest.files:
        try:
            data = files[file.path] = read(file)
        except FileNotFoundError:
            problems.append(f"{file.path} is missing")
        except IsADirectoryError:
            problems.append(f"{file.path} is no plain file")
        except IntegrityError as error:  # it showed on the way
            problems.append(f"{file.path} is not the file that was published ({error})")
        else:
            if len(data) != file.size or sha256(data) != file.sha256:
                problems.append(f"{file.path} is not the file that was published")
    listed = {file.path for file in manifest.files} | {"manifest.json", SIGNATURE}
    problems += [f"{name!r} is not listed in manifest.json" for name in sorted({*present} - listed)]
    if problems:
        raise IntegrityError(
            f"{manifest.title} ({bundle_id[:12]}): {'; '.join(problems)}. "
            "Publish the bundle again from its trainer"
        )
    return Bundle(
        id=bundle_id,
        manifest=manifest,
        manifest_bytes=manifest_bytes,
        files=files,
        signature=signature,
    )


def require_id(manifest_bytes: bytes, expected_id: str | None) -> str:
    """Return the id that *manifest_bytes* stand for.

    Raises:
        IntegrityError: If it is not *expected_id*, where one is expected.
    """
    bundle_id = sha256(manifest_bytes)
    if expected_id is not None and bundle_id != expected_id:
        raise IntegrityError(
            f"manifest.json: sha256 is {bundle_id[:12]}, expected {expected_id[:12]}. "
            "The stored bundle was changed; publish it again"
        )
    return bundle_id


def read_directory(path: Path, expected_id: str | None = None) -> Bundle:
    """Read and check the bundle in the directory *path*; links in it are not followed.

    Raises:
        IntegrityError: If a file is changed, missing or not listed.
        BundleError: If there is no readable bundle.
    """
    try:
        present = [entry.name for entry in path.iterdir()]
        return unpack(
            _read_plain(path / "manifest.json", MAX_MANIFEST_BYTES),
            lambda file: _read_plain(path / file.path, file.size, is_exact=True),
            expected_id,
            present,
            _read_plain(path / SIGNATURE, MAX_SIGNATURE_BYTES) if SIGNATURE in present else b"",
        )
    except OSError as error:
        raise BundleError(
            f"{path} holds no readable bundle ({error.strerror}); expected a directory with "
            "manifest.json, as `mlembed train --output` writes it"
        ) from error


def _read_plain(path: Path, expected_bytes: int, *, is_exact: bool = False) -> bytes:
    """Read a plain file, at most one byte more than expected; nothing else is even opened."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise IsADirectoryError(errno.EISDIR, "manifest.json is no plain file")
    with open(path, "rb", opener=open_plain) as file:
        size = os.fstat(file.fileno()).st_size
        if is_exact and size != expected_bytes:
            raise IntegrityError(f"{size} bytes, expected {expected_bytes}")
        return file.read(min(expected_bytes, size) + 1)


def open_plain(path: str, flags: int) -> int:
    """Open *path* as `open(opener=...)` asks; neither a link nor a pipe is followed or waited for."""
    # What replaced the file since it was looked at is neither followed nor waited for.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def write_directory(bundle: Bundle, path: Path) -> None:
    """Write *bundle* into the new directory *path*, which is gone again if that fails.

    The manifest comes last, so that what a killed process leaves is no bundle.

    Raises:
        BundleError: If the directory cannot be made or is there already.
    """
    try:
        path.mkdir(parents=True)
        try:
            for name, data in bundle.files.items():
                (path / name).write_bytes(data)
            if bundle.signature:
                (path / SIGNATURE).write_bytes(bundle.signature)
            (path / "manifest.json").write_bytes(bundle.manifest_bytes)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
    except OSError as error:
        raise BundleError(
            f"cannot write the bundle to {path}: {error.strerror}; name a new, writable directory"
        ) from error


def sha256(data: bytes) -> str:
    """Return the sha256 of *data* in hex."""
    return hashlib.sha256(data).hexdigest()
