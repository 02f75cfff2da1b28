"""A bundle as one file, `.mlb`: a plain zip archive that any tool can look into and none extracts.

There is one way to write each bundle, and what is written in another way is refused: members are
stored, not compressed, in the manifest's order, without gaps, comments or extra fields. So nothing
can hide between them, and two readers cannot see two different files.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from mlembed.bundle.bundle import open_plain, read_directory, unpack, write_directory
from mlembed.bundle.manifest import MAX_FILES, MAX_MANIFEST_BYTES, MAX_SIGNATURE_BYTES, SIGNATURE
from mlembed.errors import BundleError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlembed.bundle.bundle import Bundle
    from mlembed.bundle.manifest import File

SUFFIX = ".mlb"
_MANIFEST = "manifest.json"
_MAX_MEMBERS = MAX_FILES + 1
_MAX_ARCHIVE_BYTES = 2**32 - 1  # without the extension that larger archives need
# PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION, _NO_TIME, _FIRST_DAY = 10, 0, 33  # 1 January 1980


class _Member(NamedTuple):
    """One file of the archive: its name, CRC-32, length, and where its header begins."""

    name: str
    crc: int
    size: int
    offset: int

    def local(self) -> bytes:
        """Write the header in front of the contents."""
        name = self.name.encode("ascii")
        same = (_NO_TIME, _FIRST_DAY, self.crc, self.size, self.size)
        return _LOCAL.pack(b"PK\3\4", _VERSION, 0, 0, *same, len(name), 0) + name

    def central(self) -> bytes:
        """Write the entry in the table at the end."""
        name = self.name.encode("ascii")
        same = (_NO_TIME, _FIRST_DAY, self.crc, self.size, self.size)
        head = _CENTRAL.pack(
            *(b"PK\1\2", _VERSION, _VERSION, 0, 0, *same, len(name), 0, 0, 0, 0, 0, self.offset)
        )
        return head + name

    def end(self) -> int:
        """Return where the next member begins."""
        return self.offset + _LOCAL.size + len(self.name) + self.size


def read_bundle(path: Path, expected_id: str | None = None) -> Bundle:
    """Read and check the bundle at *path*, a directory or a single file.

    Raises:
        IntegrityError: If a file is changed, missing or not listed.
        BundleError: If there is no readable bundle.
    """
    return read_directory(path, expected_id) if path.is_dir() else read_single(path, expected_id)


def write_bundle(bundle: Bundle, path: Path) -> None:
    """Write *bundle* to *path*: a single file where it ends in `.mlb`, a new directory elsewhere.

    Raises:
        BundleError: If it cannot be written or is there already.
    """
    if path.suffix == SUFFIX:
        write_single(bundle, path)
    else:
        write_directory(bundle, path)


def write_single(bundle: Bundle, path: Path) -> None:
    """Write *bundle* as the new file *path*; equal bundles give equal bytes.

    Raises:
        BundleError: If it is too large for one file, cannot be written, or *path* is there already.
    """
    contents = [(_MANIFEST, bundle.manifest_bytes)]
    if bundle.signature:
        contents.append((SIGNATURE, bundle.signature))
    contents += [(file.path, bundle.files[file.path]) for file in bundle.manifest.files]
    members = _laid_out((name, zlib.crc32(data), len(data)) for name, data in contents)
    if members[-1].end() + len(_table(members)) > _MAX_ARCHIVE_BYTES:
        raise BundleError(
            f"{bundle.manifest.title} is too large for one file; write it as a directory"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for member, (_, data) in zip(members, contents, strict=True):
                    file.write(member.local())
                    file.write(data)
                file.write(_table(members))
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            _place(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise BundleError(
            f"cannot write the bundle to {path}: {error.strerror}; name a new file in a writable "
            "directory"
        ) from error


def _place(temporary: Path, path: Path) -> None:
    """Give *temporary* the name *path*, never over a file that is there."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # the file system of a memory stick has no links
        path.touch(exist_ok=False)
        temporary.replace(path)
    if os.name == "posix":
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_single(path: Path, expected_id: str | None = None) -> Bundle:
    """Read and check the bundle in the file *path*; nothing is extracted.

    Raises:
        IntegrityError: If a file is changed, missing or not listed, or the archive is written in
            another way than `write_single` does.
        BundleError: If there is no readable bundle.
    """
    try:
        found = Path(os.path.realpath(path))
        if not stat.S_ISREG(found.stat().st_mode):
            raise IsADirectoryError(errno.EISDIR, "it is no plain file")
        with open(found, "rb", opener=open_plain) as file:
            return _read(file, path, expected_id)
    except BundleError:
        raise
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no path"
        raise BundleError(
            f"{path} is no readable bundle ({why}); expected a directory with "
            "manifest.json, or a .mlb file, as `mlembed train --output` writes them"
        ) from error


def _read(file: BinaryIO, path: Path, expected_id: str | None) -> Bundle:
    members = {member.name: member for member in _members(file, path)}

    def contents(name: str, max_bytes: int) -> bytes:
        member = members[name]
        if member.size > max_bytes:
            raise _refused(path, f"{name} is larger than {max_bytes} bytes")
        file.seek(member.offset)
        if file.read(_LOCAL.size + len(name)) != member.local():
            raise _refused(path, f"the header of {name} is not that of the table")
        return file.read(member.size)

    def listed(wanted: File) -> bytes:
        if wanted.path not in members:
            raise FileNotFoundError(wanted.path)
        return contents(wanted.path, wanted.size)

    if next(iter(members), None) != _MANIFEST:
        raise _refused(path, "manifest.json is not its first file")
    signature = contents(SIGNATURE, MAX_SIGNATURE_BYTES) if SIGNATURE in members else b""
    bundle = unpack(
        *(contents(_MANIFEST, MAX_MANIFEST_BYTES), listed, expected_id, [*members], signature)
    )
    order = [
        _MANIFEST,
        *([SIGNATURE] if signature else []),
        *(f.path for f in bundle.manifest.files),
    ]
    if [*members] != order:
        raise _refused(path, "its files are in another order")
    whole = {**bundle.files, _MANIFEST: bundle.manifest_bytes, SIGNATURE: signature}
    if any(zlib.crc32(whole[name]) != member.crc for name, member in members.items()):
        raise _refused(path, "a checksum is wrong, so that other tools would refuse it")
    return bundle


def _members(file: BinaryIO, path: Path) -> list[_Member]:
    """Return the members of an archive, whose table must be just as it would be written for them.

    Raises:
        IntegrityError: If it is not.
    """
    size = os.fstat(file.fileno()).st_size
    if not _END.size <= size <= _MAX_ARCHIVE_BYTES:
        raise _refused(path, "it is too short or too long")
    file.seek(size - _END.size)
    table_size, table_start = _END.unpack(file.read(_END.size))[5:7]
    most = _MAX_MEMBERS * (_CENTRAL.size + 64)
    if table_start + table_size + _END.size != size or table_size > most:
        raise _refused(path, "its table is not at its end")
    file.seek(table_start)
    table = file.read(table_size + _END.size)
    members, at = [], 0
    while at + _CENTRAL.size <= table_size:
        fields = _CENTRAL.unpack_from(table, at)
        crc, length, name_size, offset = fields[7], fields[9], fields[10], fields[16]
        at += _CENTRAL.size + name_size
        name = table[at - name_size : at].decode("ascii", "replace")
        members.append(_Member(name, crc, length, offset))
    names = {member.name for member in members}
    is_ascii = all(name.isascii() for name in names)
    if not members or len(names) != len(members) or not is_ascii:
        raise _refused(path, "its names are not each there once")
    laid_out = _laid_out((member.name, member.crc, member.size) for member in members)
    if laid_out != members or members[-1].end() != table_start or _table(members) != table:
        raise _refused(path, "its table is written in another way")
    return members


def _laid_out(contents: Iterable[tuple[str, int, int]]) -> list[_Member]:
    """Return members one behind the other, without gaps."""
    members: list[_Member] = []
    for name, crc, size in contents:
        offset = members[-1].end() if members else 0
        members.append(_Member(name, crc, size, offset))
    return members


def _table(members: list[_Member]) -> bytes:
    """Write all that stands behind the contents."""
    entries = b"".join(member.central() for member in members)
    n = len(members)
    return entries + _END.pack(b"PK\5\6", 0, 0, n, n, len(entries), members[-1].end(), 0)


def _refused(path: Path, why: str) -> IntegrityError:
    return IntegrityError(
        f"{path} is not as mlembed writes a bundle: {why}. It was made by another tool or changed; "
        "write it again with `mlembed registry pull`"
    )
