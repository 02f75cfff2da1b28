"""The single-file form is written in one way, and a file written in another way is refused."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import struct
import tempfile
import tracemalloc
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import toy_bundle
from mlembed.bundle import single
from mlembed.bundle.bundle import sha256, write_directory
from mlembed.bundle.manifest import (
    MAX_BUNDLE_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_SIGNATURE_BYTES,
    SIGNATURE,
)
from mlembed.bundle.single import (
    _laid_out,
    _table,
    read_bundle,
    read_single,
    write_bundle,
    write_single,
)
from mlembed.errors import BundleError, IntegrityError, MlembedError
from processes import run_script

if TYPE_CHECKING:
    from collections.abc import Callable

TOY = toy_bundle()
SIGNED = dataclasses.replace(TOY, signature=b'{"signed":"by somebody"}')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a single file with the toy bundle."""
    write_single(TOY, tmp_path / "toy.mlb")
    return tmp_path / "toy.mlb"


@pytest.mark.parametrize("bundle", [TOY, SIGNED], ids=["unsigned", "signed"])
def test_single_file_holds_the_bundle(tmp_path: Path, bundle: object) -> None:
    """What was written comes back byte for byte, and twice the same is the same file."""
    for name in ("a.mlb", "b.mlb"):
        write_single(bundle, tmp_path / name)  # type: ignore[arg-type]  # one of two bundles

    assert read_single(tmp_path / "a.mlb") == bundle
    assert read_bundle(tmp_path / "a.mlb", TOY.id) == bundle
    assert (tmp_path / "a.mlb").read_bytes() == (tmp_path / "b.mlb").read_bytes()
    assert not [item for item in tmp_path.iterdir() if item.suffix != ".mlb"]


def test_single_file_is_a_zip_for_others(path: Path) -> None:
    """Any tool can look into it and check it; the manifest comes first."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["manifest.json", *sorted(TOY.files)]
        assert all(item.compress_type == zipfile.ZIP_STORED for item in archive.infolist())
        assert archive.read("model.onnx") == TOY.files["model.onnx"]


def test_bundle_is_read_and_written_in_both_forms(tmp_path: Path) -> None:
    """The name tells which, and a directory is the same bundle."""
    write_bundle(SIGNED, tmp_path / "x.mlb")
    write_bundle(SIGNED, tmp_path / "x")
    link = tmp_path / "link.mlb"
    link.symlink_to(tmp_path / "x.mlb")

    assert (tmp_path / "x").is_dir()
    for place in (tmp_path / "x.mlb", tmp_path / "x", link):
        assert read_bundle(place) == SIGNED


def test_write_never_overwrites(path: Path) -> None:
    """A file that is there is left as it is."""
    before = path.read_bytes()
    with pytest.raises(BundleError, match="File exists; name a new file"):
        write_single(SIGNED, path)
    assert path.read_bytes() == before
    with pytest.raises(BundleError, match="cannot write the bundle to"):
        write_single(TOY, path / "below" / "a.mlb")


def test_write_never_overwrites_where_there_are_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A memory stick's file system refuses links; the file is whole, or the one that was there."""

    def link(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)

    write_single(TOY, tmp_path / "toy.mlb")
    with pytest.raises(BundleError, match="File exists; name a new file"):
        write_single(SIGNED, tmp_path / "toy.mlb")

    assert read_single(tmp_path / "toy.mlb") == TOY
    assert [*tmp_path.iterdir()] == [tmp_path / "toy.mlb"]


def test_write_refuses_what_one_file_cannot_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond 4 GiB a zip archive needs what nobody here reads; the remedy is a directory."""
    assert single._MAX_ARCHIVE_BYTES == 2**32 - 1
    assert single._MAX_ARCHIVE_BYTES > MAX_BUNDLE_BYTES + MAX_MANIFEST_BYTES + MAX_SIGNATURE_BYTES
    monkeypatch.setattr(single, "_MAX_ARCHIVE_BYTES", len(GOOD) - 1)

    with pytest.raises(BundleError, match="too large for one file; write it as a directory"):
        write_single(TOY, tmp_path / "toy.mlb")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("step", ["fsync", "link", "chmod"])
def test_a_write_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A full or broken disk is told as it is, without half a file."""

    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, broken)
    monkeypatch.setattr(Path, "touch", broken)

    with pytest.raises(BundleError, match="No space left on device; name a new file"):
        write_single(TOY, tmp_path / "toy.mlb")
    assert not [*tmp_path.iterdir()]


def test_another_bundle_than_was_asked_for_is_refused(path: Path) -> None:
    """The id that was asked for is compared before anything else is read."""
    with pytest.raises(IntegrityError, match=r"sha256 is .*, expected 000000000000"):
        read_single(path, "0" * 64)


def rezipped(
    members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED, comment: bytes = b""
) -> bytes:
    """Return an archive as Python's own library writes it."""
    sink = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that stand twice are the point
        with zipfile.ZipFile(sink, "w", compression) as archive:
            archive.comment = comment
            for name, data in members:
                archive.writestr(zipfile.ZipInfo(name), data, compression)
    return sink.getvalue()


MEMBERS = [("manifest.json", TOY.manifest_bytes), *sorted(TOY.files.items())]


def edited(data: bytes, edit: Callable[[bytearray], None]) -> bytes:
    """Return *data* after *edit* had its way with it."""
    changed = bytearray(data)
    edit(changed)
    return bytes(changed)


def _written() -> bytes:
    path = Path(tempfile.gettempdir()) / f"mlembed-{os.getpid()}.mlb"
    try:
        write_single(TOY, path)
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


GOOD = _written()
TABLE = GOOD.index(b"PK\1\2")
SECOND = GOOD.index(b"PK\3\4", 10)


def _set(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def laid_out(contents: list[tuple[str, bytes]], gap: bytes = b"", swap: int = 0) -> bytes:
    """Return an archive as mlembed lays it out, of whatever files.

    Args:
        contents: Names and contents, in the order of the table.
        gap: What stands between the first file and the second.
        swap: Number of files at the end that stand the other way round than in the table.
    """
    measured = [(name, zlib.crc32(data), len(data)) for name, data in contents]
    n_kept = len(measured) - swap
    placed = _laid_out(measured[:n_kept] + measured[n_kept:][::-1])
    placed = [*placed[:1], *(m._replace(offset=m.offset + len(gap)) for m in placed[1:])]
    whole = bytearray(max(member.end() for member in placed))
    whole[placed[0].end() : placed[0].end() + len(gap)] = gap
    for member in placed:
        whole[member.offset : member.end()] = member.local() + dict(contents)[member.name]
    in_table = placed[:n_kept] + placed[n_kept:][::-1]
    end = struct.pack("<I", len(whole))
    return bytes(whole) + _set(_table(in_table), len(_table(in_table)) - 6, end)


HOSTILE = {
    "empty": b"",
    "short": b"PK\5\6",
    "no archive": b"x" * 10_000,
    "an empty archive": rezipped([]),
    "made by another tool": rezipped(MEMBERS),
    "compressed": rezipped(MEMBERS, zipfile.ZIP_DEFLATED),
    "a bomb": rezipped([*MEMBERS, ("card.md", b"0" * 30_000_000)], zipfile.ZIP_DEFLATED),
    "a name twice": rezipped([*MEMBERS, MEMBERS[1]]),
    "a file more": rezipped([*MEMBERS, ("extra.txt", b"x")]),
    "a path upwards": rezipped([*MEMBERS, ("../evil", b"x")]),
    "an absolute path": rezipped([*MEMBERS, ("/etc/evil", b"x")]),
    "a comment": rezipped(MEMBERS, comment=b"hidden"),
    "many files": rezipped([*MEMBERS, *((f"f{n}", b"") for n in range(70_000 // 100))]),
    "without its manifest": rezipped(MEMBERS[1:]),
    "data in front": b"#!/bin/sh\n" + GOOD,
    "data behind": GOOD + b"x",
    "cut": GOOD[:-1],
    "cut in the middle": GOOD[: len(GOOD) // 2],
    "a gap": GOOD[:SECOND] + b"hidden" + GOOD[SECOND:],
    "encrypted, says the table": _set(GOOD, TABLE + 8, b"\1\0"),
    "encrypted, says the header": _set(GOOD, 6, b"\1\0"),
    "compressed, says the table": _set(GOOD, TABLE + 10, b"\10\0"),
    "compressed, says the header": _set(GOOD, 8, b"\10\0"),
    "another name in the header": _set(GOOD, 30, b"Manifest.json"),
    "another name in the table": _set(GOOD, TABLE + 46, b"Manifest.json"),
    "another length in the header": _set(GOOD, 18, b"\1\0\0\0\1\0\0\0"),
    "another length in the table": _set(GOOD, TABLE + 20, b"\1\0\0\0\1\0\0\0"),
    "lengths that differ": _set(GOOD, TABLE + 20, b"\1\0\0\0"),
    "a huge length": _set(GOOD, TABLE + 20, b"\xff\xff\xff\xff\xff\xff\xff\xff"),
    "a last length beyond the archive": _set(GOOD, GOOD.rindex(b"PK\1\2") + 20, b"\xff" * 8),
    "an offset elsewhere": _set(GOOD, TABLE + 42, b"\1\0\0\0"),
    "an offset behind the end": _set(GOOD, TABLE + 42, b"\xff\xff\xff\x7f"),
    "another date": _set(GOOD, 10, b"\1\1"),
    "an executable": _set(GOOD, TABLE + 38, b"\0\0\xed\x81"),
    "a symbolic link": _set(GOOD, TABLE + 38, b"\0\0\xff\xa1"),
    "an extra field": _set(GOOD, 28, b"\4\0"),
    "a table elsewhere": _set(GOOD, len(GOOD) - 6, struct.pack("<I", 0)),
    "a larger table": _set(GOOD, len(GOOD) - 10, struct.pack("<I", 2**31)),
    "more entries": _set(GOOD, len(GOOD) - 14, b"\5\0\5\0"),
    "another disk": _set(GOOD, len(GOOD) - 18, b"\1\0"),
    "another order": rezipped([MEMBERS[1], MEMBERS[0], *MEMBERS[2:]]),
    "an empty signature": laid_out([MEMBERS[0], (SIGNATURE, b""), *MEMBERS[1:]]),
    "files in another order": laid_out([MEMBERS[0], *reversed(MEMBERS[1:])]),
    "a file behind the others": laid_out([*MEMBERS, ("card.md", b"x")]),
    "a name upwards": laid_out([*MEMBERS, ("../evil", b"x")]),
    "a name that is none": laid_out([*MEMBERS, ("", b"x")]),
    "a name twice, the same contents": laid_out([*MEMBERS[:2], *MEMBERS[1:]]),
    "a name twice, in a row": laid_out([*MEMBERS, MEMBERS[-1]]),
    "a gap that the table knows": laid_out(MEMBERS, gap=b"hidden"),
    "files that stand in another order than in the table": laid_out(MEMBERS, swap=2),
    "data between two ends": GOOD + b"hidden" + GOOD[-22:],
    "a whole archive behind another": GOOD + GOOD,
    "a name in another alphabet": _set(_set(GOOD, 30, b"\xec"), TABLE + 46, b"\xec"),
    "hidden in a checksum": _set(_set(GOOD, 14, b"evil"), TABLE + 16, b"evil"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_single_file_refuses(what: str, tmp_path: Path) -> None:
    """Whatever hides, repeats, lies or is missing is refused, and nothing is written anywhere."""
    path = tmp_path / "toy.mlb"
    path.write_bytes(HOSTILE[what])

    with pytest.raises(IntegrityError, match=r"is not as mlembed writes a bundle|is not listed"):
        read_single(path)
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("name", ["model.onnx", "golden.json", "reference.json", "manifest.json"])
def test_single_file_refuses_changed_contents(path: Path, name: str) -> None:
    """A changed bit in any file is a changed file."""
    data = path.read_bytes()
    contents = dict(MEMBERS)[name]
    at = data.index(contents) + len(contents) // 2
    path.write_bytes(_set(data, at, bytes([data[at] ^ 1])))

    with pytest.raises(MlembedError):
        read_single(path, TOY.id)


def test_single_file_refuses_oversized_parts(tmp_path: Path) -> None:
    """Manifest and signature are measured before they are read."""
    large = dataclasses.replace(TOY, signature=b"x" * 300_000)
    write_single(large, tmp_path / "a.mlb")
    with pytest.raises(IntegrityError, match=f"{SIGNATURE} is larger than 262144 bytes"):
        read_single(tmp_path / "a.mlb")

    large = dataclasses.replace(TOY, manifest_bytes=b" " * 1_100_000)
    write_single(large, tmp_path / "b.mlb")
    with pytest.raises(IntegrityError, match=r"manifest\.json is larger than 1048576 bytes"):
        read_single(tmp_path / "b.mlb")


def test_single_file_names_what_is_missing(tmp_path: Path) -> None:
    """A file of the manifest that the archive does not hold is named."""
    (tmp_path / "toy.mlb").write_bytes(laid_out(MEMBERS[:-1]))

    with pytest.raises(IntegrityError, match=r"toy@1\.0\.0.*reference\.json is missing"):
        read_single(tmp_path / "toy.mlb")


def test_single_file_does_not_believe_the_length_of_its_table(tmp_path: Path) -> None:
    """No memory is taken for a table larger than that of seventeen files."""
    size = 2**26
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, size - 22, 0, 0)
    with (tmp_path / "toy.mlb").open("wb") as file:
        file.seek(size - len(end))
        file.write(end)
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match="its table is not at its end"):
            read_single(tmp_path / "toy.mlb")
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_single_file_refuses_what_is_no_file(tmp_path: Path) -> None:
    """A pipe, a device or nothing at all is an error at once."""
    os.mkfifo(tmp_path / "pipe.mlb")
    for path in (tmp_path / "pipe.mlb", tmp_path / "none.mlb", Path("/dev/zero")):
        with pytest.raises(BundleError):
            read_single(path)
    write_directory(TOY, tmp_path / "folder.mlb")
    with pytest.raises(BundleError, match="no plain file"):
        read_single(tmp_path / "folder.mlb")
    (tmp_path / "a.mlb").symlink_to(tmp_path / "b.mlb")
    (tmp_path / "b.mlb").symlink_to(tmp_path / "a.mlb")
    for path in (tmp_path / "a.mlb", tmp_path / "no\0path.mlb"):
        with pytest.raises(BundleError, match="is no readable bundle"):
            read_bundle(path)
    assert read_bundle(tmp_path / "folder.mlb") == TOY


@given(at=st.integers(0, len(GOOD) - 1), bit=st.integers(0, 7))
def test_no_bit_of_it_is_free(at: int, bit: int) -> None:
    """Every bit of the file is either checked or makes it another file than was asked for."""
    path = Path(tempfile.gettempdir()) / f"bit-{os.getpid()}.mlb"
    path.write_bytes(_set(GOOD, at, bytes([GOOD[at] ^ 1 << bit])))
    try:
        with pytest.raises(MlembedError):
            read_single(path, TOY.id)
    finally:
        path.unlink()


LARGE = """
    import dataclasses, os, sys
    from pathlib import Path
    sys.path.insert(0, "tests")
    from bundles import toy_bundle
    from mlembed.bundle.bundle import pack
    from mlembed.bundle.single import read_single, write_single

    path = Path(sys.argv[1])
    toy = toy_bundle()
    if not path.exists():
        model = os.urandom(2**20) * 100
        write_single(pack(toy.manifest, {**toy.files, "model.onnx": model}), path)
    else:
        peak = lambda: int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
        before = peak()
        read_single(path)
        print(peak() - before)
"""


def test_large_file_is_read_without_copies(tmp_path: Path) -> None:
    """A bundle of 100 MB takes hardly more memory than that."""
    run_script(LARGE, tmp_path / "large.mlb")

    assert 90 < float(run_script(LARGE, tmp_path / "large.mlb")) < 110


def test_ids_do_not_depend_on_the_form(path: Path) -> None:
    """The id is the manifest's digest, wherever it lies."""
    assert read_single(path).id == sha256(TOY.manifest_bytes)
