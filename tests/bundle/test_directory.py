"""A bundle's directory is served as it was written, or refused with all that is wrong with it."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundles import toy_bundle
from mlembed.bundle.bundle import Bundle, pack, read_directory, unpack, write_directory
from mlembed.errors import BundleError, IntegrityError, MlembedError

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.bundle.manifest import File


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the directory of a good bundle."""
    path = tmp_path / "bundle"
    write_directory(toy_bundle(), path)
    return path


def test_directory_round_trip(folder: Path) -> None:
    """What is written reads back byte for byte, under the same id."""
    assert read_directory(folder, toy_bundle().id) == toy_bundle()


def test_write_directory_writes_the_same_bytes(tmp_path: Path, folder: Path) -> None:
    """The same bundle gives the same files."""
    write_directory(toy_bundle(), tmp_path / "deep" / "again")

    for path in folder.iterdir():
        assert (tmp_path / "deep" / "again" / path.name).read_bytes() == path.read_bytes()


def test_write_directory_refuses_one_that_exists(folder: Path) -> None:
    """A directory that is there already is never written into."""
    (folder / "model.onnx").write_bytes(b"mine")

    with pytest.raises(BundleError, match="name a new, writable directory"):
        write_directory(toy_bundle(), folder)

    assert (folder / "model.onnx").read_bytes() == b"mine"


@pytest.mark.parametrize("name", sorted(toy_bundle().files))
def test_read_directory_refuses_a_changed_byte(folder: Path, name: str) -> None:
    """One bit in any file is enough."""
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)

    with pytest.raises(IntegrityError, match=f"toy@1.0.0.*{name} is not the file that was publish"):
        read_directory(folder)


@pytest.mark.parametrize("name", sorted(toy_bundle().files))
@pytest.mark.parametrize("change", [-1, 1, 10_000])
def test_read_directory_refuses_another_length(folder: Path, name: str, change: int) -> None:
    """A cut or grown file is not the one that was published."""
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:change] if change < 0 else data + b"\n" * change)

    with pytest.raises(IntegrityError, match=f"{name} is not the file"):
        read_directory(folder)


def test_read_directory_refuses_a_changed_manifest(folder: Path) -> None:
    """Who knows the id notices a manifest that is well-formed and another."""
    bundle = toy_bundle()
    manifest = dataclasses.replace(bundle.manifest, created="2027-01-01T00:00:00+00:00")
    (folder / "manifest.json").write_bytes(manifest.to_bytes())

    with pytest.raises(IntegrityError, match=r"manifest.json: sha256 is .*expected"):
        read_directory(folder, bundle.id)


def test_read_directory_lists_every_problem(folder: Path) -> None:
    """Changed, missing, extra and replaced files stand in one message, and nothing is loaded."""
    (folder / "golden.json").unlink()
    (folder / "model.onnx").write_bytes(b"another")
    (folder / "reference.json").unlink()
    (folder / "reference.json").mkdir()
    (folder / "run.sh").write_text("#!")
    (folder / ".hidden").write_text("")

    with pytest.raises(IntegrityError) as caught:
        read_directory(folder)

    text = str(caught.value)
    assert "golden.json is missing" in text
    assert "model.onnx is not the file that was published" in text
    assert "reference.json is no plain file" in text
    assert "'run.sh' is not listed in manifest.json" in text
    assert "'.hidden' is not listed" in text


@pytest.mark.parametrize("kind", ["link", "broken link", "pipe", "directory"])
def test_read_directory_refuses_what_is_no_plain_file(folder: Path, kind: str) -> None:
    """A link is not followed, even to the right bytes, and a pipe is not waited for."""
    path, outside = folder / "model.onnx", folder.parent / "outside"
    path.rename(outside)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(outside if kind == "link" else "nowhere")

    with pytest.raises(IntegrityError, match=r"model.onnx is no plain file"):
        read_directory(folder)


@pytest.mark.parametrize("kind", ["missing", "link", "directory"])
def test_read_directory_refuses_a_manifest_that_is_no_file(folder: Path, kind: str) -> None:
    """Without a plain manifest there is no bundle."""
    path = folder / "manifest.json"
    path.rename(folder.parent / "manifest.json")
    if kind == "link":
        path.symlink_to(folder.parent / "manifest.json")
    if kind == "directory":
        path.mkdir()

    with pytest.raises(BundleError, match=r"holds no readable bundle.*expected a directory with"):
        read_directory(folder)


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_read_directory_refuses_what_is_no_directory(tmp_path: Path, kind: str) -> None:
    """A path that is no directory is named, with what was expected."""
    path = tmp_path / "bundle"
    if kind == "file":
        path.write_text("")

    with pytest.raises(BundleError, match=f"{path} holds no readable bundle"):
        read_directory(path)


def test_read_directory_stops_at_a_huge_manifest(folder: Path) -> None:
    """A manifest beyond a mebibyte is refused before it is read whole."""
    with (folder / "manifest.json").open("r+b") as file:
        file.truncate(2**40)

    with pytest.raises(BundleError, match="larger than 1048576 bytes"):
        read_directory(folder)


def test_read_directory_does_not_believe_sizes(folder: Path) -> None:
    """A size that is a lie is noticed in either direction, and no memory is taken for it."""
    data = json.loads((folder / "manifest.json").read_bytes())
    for entry, size in zip(data["files"], (2**31 - 1, 1, 0), strict=True):
        entry["size"] = size
    (folder / "manifest.json").write_text(json.dumps(data))
    with (folder / "model.onnx").open("r+b") as file:
        file.truncate(2**40)

    with pytest.raises(IntegrityError) as caught:
        read_directory(folder)

    assert str(caught.value).count("is not the file that was published") == 3


def test_unpack_reads_each_file_once() -> None:
    """The bytes that were hashed are the bytes that are used."""
    bundle, calls = toy_bundle(), []

    def read(file: File) -> bytes:
        calls.append(file.path)
        return bundle.files[file.path]

    again = unpack(bundle.manifest_bytes, read)

    assert calls == [file.path for file in bundle.manifest.files]
    assert again == bundle


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_read_directory_never_serves_a_flipped_byte(folder: Path, data: st.DataObject) -> None:
    """Whichever byte of whichever file is changed, the bundle is refused."""
    bundle = toy_bundle()
    name = data.draw(st.sampled_from(sorted(path.name for path in folder.iterdir())))
    good = (folder / name).read_bytes()
    position = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[position] ^= data.draw(st.integers(1, 255))
    (folder / name).write_bytes(bad)
    try:
        with pytest.raises((IntegrityError, BundleError)):
            read_directory(folder, bundle.id)
    finally:
        (folder / name).write_bytes(good)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_read_directory_without_an_id_raises_nothing_else(
    folder: Path, data: st.DataObject
) -> None:
    """A flipped byte of the manifest is refused, or gives a bundle with another id."""
    good = toy_bundle().manifest_bytes
    bad = bytearray(good)
    bad[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / "manifest.json").write_bytes(bad)
    found: Bundle | None = None
    try:
        found = read_directory(folder)
    except MlembedError as error:
        assert isinstance(error, BundleError)  # noqa: PT017  either way is right
    finally:
        (folder / "manifest.json").write_bytes(good)

    assert found is None or found.id != toy_bundle().id


def test_bundle_json_names_a_missing_file() -> None:
    """A file the bundle does not have is asked for by name, with the remedy."""
    with pytest.raises(BundleError, match=r"toy@1.0.0 has no card.md; train or pack it again"):
        toy_bundle().json("card.md")


def test_bundle_json_names_a_broken_file() -> None:
    """A file that is no JSON is named with its bundle."""
    bundle = toy_bundle()
    files = {**bundle.files, "reference.json": b"{"}

    with pytest.raises(BundleError, match=r"toy@1.0.0: reference.json is not the JSON"):
        pack(bundle.manifest, files).json("reference.json")


def test_bundle_repr_holds_no_contents() -> None:
    """A bundle in a log line or traceback shows no file of it."""
    assert "manifest_bytes=" not in repr(toy_bundle())
    assert "files={" not in repr(toy_bundle())


def test_pack_is_deterministic() -> None:
    """Packing the same things twice gives the same bundle."""
    bundle = toy_bundle()

    assert pack(bundle.manifest, bundle.files) == bundle
