"""Collecting frees what nothing needs, and never what serves, may be rolled back to, or is young."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from mlembed.bundle.bundle import sha256
from mlembed.errors import IntegrityError, NotFoundError, SettingsError
from mlembed.registry.collecting import collect
from mlembed.registry.pointer import Ref
from registry.stock import bundle, tree

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.registry.file import FileRegistry

UNUSED = ("0.1.0", "0.2.0")


@pytest.fixture
def used(full: FileRegistry) -> FileRegistry:
    """Return a registry with three versions in an alias's history and two in none, a month old."""
    for version in UNUSED:
        full.publish(bundle(version))
    age(full.root, 30)
    return full


def age(root: Path, days: float) -> None:
    """Make every file so old."""
    then = time.time() - days * 86_400
    for path in root.rglob("*"):
        os.utime(path, (then, then))


def whole(registry: FileRegistry) -> list[str]:
    """Return the versions, each of which is whole."""
    versions = registry.versions("toy")
    for version in versions:
        assert registry.fetch(registry.resolve(Ref("toy", version))) == bundle(version)
    return versions


def test_collect_removes_what_nothing_needs(used: FileRegistry) -> None:
    """Versions that no alias meant go, with the files that only they had."""
    before = tree(used.root)
    listed = collect(used, "toy")
    assert tree(used.root) == before

    removed = collect(used, "toy", delete=True)

    assert removed == listed
    assert removed.versions == UNUSED
    assert removed.n_files == 4  # a manifest and a card each
    assert removed.n_bytes == sum(
        len(bundle(v).manifest_bytes) + len(bundle(v).files["card.md"]) for v in UNUSED
    )
    assert whole(used) == ["1.0.0", "1.1.0", "1.2.0"]
    assert collect(used, "toy", delete=True).n_files == 0


def test_collect_removes_what_a_killed_publisher_left(full: FileRegistry) -> None:
    """Parts of files go after a day, wherever they are, and never while somebody may write them."""
    old = [full.root / "toy" / folder / ".tmp-old" for folder in ("blobs/sha256", "log/champion")]
    for path in old:
        path.write_bytes(b"par")
        os.utime(path, (1e9, 1e9))
    young = full.root / "toy" / "versions" / ".tmp-young"
    young.write_bytes(b"part")

    removed = collect(full, "toy", grace_days=0, delete=True)

    assert (removed.n_files, removed.n_bytes) == (2, 6)
    assert [path for path in (*old, young) if path.exists()] == [young]
    assert whole(full) == ["1.0.0", "1.1.0", "1.2.0"]


@pytest.mark.parametrize(("keep", "left"), [(0, 1), (1, 1), (2, 2), (3, 3), (9, 3)])
def test_collect_keeps_what_may_be_rolled_back_to(used: FileRegistry, keep: int, left: int) -> None:
    """The last few different versions of each alias stay, and always the one in force."""
    used.promote("toy", "canary", "0.1.0")
    age(used.root, 30)

    collect(used, "toy", keep=keep, delete=True)

    assert whole(used) == ["0.1.0", *["1.0.0", "1.1.0", "1.2.0"][3 - left :]]
    assert len(used.history("toy", "champion")) == 3


def test_collect_keeps_what_is_young(used: FileRegistry) -> None:
    """A version that is published and not yet promoted stays, and so does a file on its way."""
    used.publish(bundle("3.0.0"))
    coming = used.root / "toy" / "blobs" / "sha256" / ("a" * 64)
    coming.write_bytes(b"on its way")

    assert collect(used, "toy", delete=True).versions == UNUSED
    assert "3.0.0" in whole(used)
    assert coming.exists()
    assert collect(used, "toy", grace_days=0, delete=True).versions == ("3.0.0",)


def test_publishing_again_makes_old_files_young(used: FileRegistry) -> None:
    """A file that lies there unused is not collected under the feet of who publishes it."""
    blobs = used.root / "toy" / "blobs" / "sha256"
    new = bundle("3.0.0")
    for data in (*new.files.values(), new.manifest_bytes):
        used.store.create(f"toy/blobs/sha256/{sha256(data)}", data)
    age(used.root, 30)
    used.publish(new)

    collect(used, "toy", delete=True)

    assert "3.0.0" in whole(used)
    assert (blobs / new.id).exists()


def test_collect_refuses_where_it_cannot_know(used: FileRegistry) -> None:
    """A damaged log or manifest stops it before anything is removed."""
    log = used.root / "toy" / "log" / "champion" / "2.json"
    data = log.read_bytes()
    log.write_bytes(b"?")
    before = tree(used.root)
    with pytest.raises(IntegrityError):
        collect(used, "toy", delete=True)
    assert tree(used.root) == before
    log.write_bytes(data)

    (used.root / "toy" / "blobs" / "sha256" / bundle("1.0.0").id).write_bytes(b"?")
    before = tree(used.root)
    with pytest.raises(IntegrityError):
        collect(used, "toy", delete=True)
    assert tree(used.root) == before


def test_collect_refuses_the_senseless(used: FileRegistry) -> None:
    """Negative numbers, and models there are not."""
    with pytest.raises(SettingsError):
        collect(used, "toy", keep=-1)
    with pytest.raises(SettingsError):
        collect(used, "toy", grace_days=-1)
    assert collect(used, "none", delete=True) == ((), 0, 0)
    with pytest.raises(NotFoundError):
        used.resolve(Ref("none"))


def test_collecting_and_publishing_at_once(used: FileRegistry) -> None:
    """What is published again while it is being collected is whole afterwards."""
    store, listing = used.store, used.store.listing

    def listed(folder: str) -> Any:
        found = list(listing(folder))
        if folder.endswith("sha256") and "0.2.0" not in used.versions("toy"):
            store.listing = listing  # type: ignore[method-assign]  # once
            used.publish(bundle("0.2.0"))
        return iter(found)

    store.listing = listed  # type: ignore[method-assign]  # the moment between look and removal
    collect(used, "toy", delete=True)

    assert "0.2.0" in whole(used)


def test_publishing_writes_again_what_was_collected_meanwhile(full: FileRegistry) -> None:
    """Files that go before the version is there are there with it."""
    store, create = full.store, full.store.create

    def created(path: str, data: bytes) -> bool:
        if "/versions/" in path:
            store.remove(f"toy/blobs/sha256/{bundle('3.0.0').id}")
        return create(path, data)

    store.create = created  # type: ignore[method-assign]  # the moment before the version
    full.publish(bundle("3.0.0"))

    assert "3.0.0" in whole(full)
