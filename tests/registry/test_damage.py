"""What was changed behind the registry's back is refused, and the remedy it names does help."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

import pytest

from mlembed.errors import IntegrityError, NotFoundError
from mlembed.registry.pointer import Ref, parse_ref
from registry.stock import bundle, served, tree

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry
    from mlembed.registry.pointer import Pointer


def test_promote_refuses_a_damaged_version(full: FileRegistry) -> None:
    """An alias never comes to point at bytes that could not be served."""
    blob = full.root / "toy" / "blobs" / "sha256" / bundle("1.0.0").manifest.files[0].sha256
    blob.unlink()

    with pytest.raises(IntegrityError, match=r"card\.md is missing.*Publish the bundle again"):
        full.promote("toy", "champion", "1.0.0")
    assert served(full) == "1.2.0"


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_fetch_refuses_a_damaged_blob(full: FileRegistry, damage: str) -> None:
    """Whatever happened to a blob, its bundle is refused."""
    target = full.resolve(Ref("toy"))
    folder = full.root / "toy" / "blobs" / "sha256"
    for file in bundle("1.2.0").manifest.files:
        path = folder / file.sha256
        data = path.read_bytes()
        path.unlink()
        if damage == "changed":
            path.write_bytes(data[:-1] + b"~")
        elif damage == "cut":
            path.write_bytes(data[:-1])

        with pytest.raises(IntegrityError, match=file.path):
            full.fetch(target)

        path.write_bytes(data)
    assert full.fetch(target) == bundle("1.2.0")


def test_fetch_refuses_a_missing_manifest(full: FileRegistry) -> None:
    """A version whose manifest is gone is an integrity error with the remedy."""
    (full.root / "toy" / "blobs" / "sha256" / bundle("1.2.0").id).unlink()

    with pytest.raises(IntegrityError, match=r"toy@1\.2\.0: its manifest is missing.*again from"):
        full.fetch(full.resolve(Ref("toy")))


def test_fetch_refuses_a_version_that_holds_another(full: FileRegistry) -> None:
    """A version file that names another version's bundle is noticed."""
    versions = full.root / "toy" / "versions"
    shutil.copy(versions / "1.0.0.json", versions / "1.2.0.json")

    with pytest.raises(IntegrityError, match=r"toy@1\.2\.0 in .* holds toy@1\.0\.0; it is refused"):
        full.fetch(full.resolve(parse_ref("toy@1.2.0")))


def test_fetch_refuses_another_models_bundle(full: FileRegistry) -> None:
    """A model copied under another name is not served as that one."""
    shutil.copytree(full.root / "toy", full.root / "other")

    with pytest.raises(IntegrityError, match=r"other@1\.2\.0 in .* holds toy@1\.2\.0"):
        full.fetch(full.resolve(parse_ref("other@1.2.0")))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"bundle_id":"x"}', b'{"bundle_id":5}'])
def test_resolve_refuses_a_broken_version_file(full: FileRegistry, data: bytes) -> None:
    """A version file that names no bundle is an integrity error."""
    (full.root / "toy" / "versions" / "1.2.0.json").write_bytes(data)

    with pytest.raises(IntegrityError, match=r"1\.2\.0\.json in .* names no bundle; publish a new"):
        full.resolve(parse_ref("toy@1.2.0"))


def tampered(pointer: Pointer) -> list[bytes]:
    """Return bytes that are no proper pointer of `toy@champion`."""
    good = pointer.sealed()
    changed = [
        dataclasses.replace(pointer, name="other"),
        dataclasses.replace(pointer, alias="canary"),
        dataclasses.replace(pointer, bundle_id="0"),
        dataclasses.replace(pointer, version="latest"),
        dataclasses.replace(pointer, serial=0),
        dataclasses.replace(pointer, serial=True),
        dataclasses.replace(pointer, action="force"),
        dataclasses.replace(pointer, reason=["because"]),  # type: ignore[arg-type]  # tampered
    ]
    torn = [b"", good[:-10], good + b" ", b"[]", b"{}", good.replace(b"{", b'{"key":1,', 1)]
    return [*(item.sealed() for item in changed), pointer.to_bytes(), *torn, b"x" * 100_000]


def test_pointer_refuses_a_tampered_alias(full: FileRegistry) -> None:
    """An alias file that is not exactly as it was written moves nobody; promoting mends it."""
    path = full.root / "toy" / "aliases" / "champion.json"
    for data in tampered(full.pointer("toy", "champion")):
        path.write_bytes(data)
        with pytest.raises(IntegrityError, match="promote again"):
            full.resolve(Ref("toy"))

        full.promote("toy", "champion", "1.1.0")
        assert served(full) == "1.1.0"

    serials = [pointer.serial for pointer in full.history("toy", "champion")]
    assert serials == list(range(1, len(serials) + 1))


def test_rollback_mends_a_tampered_alias(full: FileRegistry) -> None:
    """The log says what was served before, whatever the alias file says."""
    (full.root / "toy" / "aliases" / "champion.json").write_bytes(b"?")

    assert full.rollback("toy", "champion").version == "1.1.0"
    assert served(full) == "1.1.0"


@pytest.mark.parametrize("damage", ["gap", "swapped", "changed", "foreign"])
def test_history_refuses_a_broken_chain(full: FileRegistry, damage: str) -> None:
    """A log with a gap, a swap or a changed word is refused by the file where it breaks."""
    log = full.root / "toy" / "log" / "champion"
    first, second = log / "1.json", log / "2.json"
    pointer = full.history("toy", "champion")[1]
    if damage == "swapped":
        first.rename(log / "x")
        second.rename(first)
        (log / "x").rename(second)
    elif damage == "changed":
        second.write_bytes(dataclasses.replace(pointer, reason="another").sealed())
    elif damage == "foreign":
        second.write_bytes(dataclasses.replace(pointer, alias="canary").sealed())
    else:
        second.unlink()
    before = tree(full.root)

    for call in (full.history, full.rollback):
        with pytest.raises(
            IntegrityError,
            match=r"the log of toy@champion in .*serial \d does not follow.*away and",
        ):
            call("toy", "champion")
    assert tree(full.root) == before
    assert served(full) == "1.2.0"


def test_history_begins_anew_where_the_log_was_moved_away(full: FileRegistry) -> None:
    """The remedy that a broken chain names does help."""
    shutil.move(full.root / "toy" / "log" / "champion", full.root / "old log")
    with pytest.raises(IntegrityError, match="does not hold the pointer in force; promote again"):
        full.history("toy", "champion")

    full.promote("toy", "champion", "1.1.0")

    assert [pointer.serial for pointer in full.history("toy", "champion")] == [4]
    with pytest.raises(NotFoundError, match="no earlier version"):
        full.rollback("toy", "champion")
    full.promote("toy", "champion", "1.0.0")
    assert full.rollback("toy", "champion").version == "1.1.0"
