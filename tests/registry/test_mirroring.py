"""A mirror is the same models, byte for byte, and refuses to mix two histories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlembed.errors import ConflictError, IntegrityError, NotFoundError
from mlembed.registry.file import FileRegistry
from mlembed.registry.mirroring import mirror
from mlembed.registry.pointer import Ref
from registry.site import Site, host
from registry.stock import VERSIONS, bundle, tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def copy(tmp_path: Path) -> FileRegistry:
    """Return an empty registry."""
    return FileRegistry(tmp_path / "copy")


def test_mirror_copies_everything_unchanged(full: FileRegistry, copy: FileRegistry) -> None:
    """Ids, aliases and their history are those of the source; a second time there is nothing."""
    full.promote("toy", "canary", "1.0.0", "to try")
    told: list[str] = []

    copied = mirror(full, copy, "toy", told=told.append)

    assert copied == ("toy", VERSIONS, {"canary": 1, "champion": 3})
    assert told == list(VERSIONS)
    assert tree(copy.root) == tree(full.root)
    assert mirror(full, copy, "toy") == ("toy", (), {})


def test_mirror_follows(full: FileRegistry, copy: FileRegistry) -> None:
    """What was added since is added, and a dry run only says so."""
    mirror(full, copy, "toy")
    full.publish(bundle("2.0.0"))
    full.promote("toy", "champion", "2.0.0")
    full.rollback("toy", "champion")
    before = tree(copy.root)

    assert mirror(full, copy, "toy", dry_run=True) == ("toy", ("2.0.0",), {"champion": 2})
    assert tree(copy.root) == before
    assert mirror(full, copy, "toy") == ("toy", ("2.0.0",), {"champion": 2})
    assert copy.history("toy", "champion") == full.history("toy", "champion")


def test_mirror_reads_a_web_site(full: FileRegistry, copy: FileRegistry, tmp_path: Path) -> None:
    """Over HTTP too, and a host of the copy follows as if it were the first."""
    from mlembed.registry import open_registry

    with Site(full.root) as site, Site(copy.root) as second:
        mirror(open_registry(site.url), copy, "toy")
        assert tree(copy.root) == tree(full.root)
        assert host(second, tmp_path / "cache").resolve(Ref("toy")).version == "1.2.0"


def test_mirror_refuses_another_history(full: FileRegistry, copy: FileRegistry) -> None:
    """An alias that was moved in the copy is neither overwritten nor continued."""
    mirror(full, copy, "toy")
    copy.promote("toy", "champion", "1.0.0")
    full.promote("toy", "champion", "1.1.0")
    before = tree(copy.root)

    with pytest.raises(ConflictError, match="has another history"):
        mirror(full, copy, "toy")
    assert tree(copy.root) == before


def test_mirror_refuses_another_bundle(full: FileRegistry, copy: FileRegistry) -> None:
    """One version cannot be two bundles."""
    copy.publish(bundle("1.1.0", note="another"))

    with pytest.raises(ConflictError, match=r"toy@1\.1\.0 is one bundle in .* another in"):
        mirror(full, copy, "toy")


def test_mirror_copies_nothing_damaged(full: FileRegistry, copy: FileRegistry) -> None:
    """A bad file in the source is refused, and what was copied before it is whole."""
    card = next(f for f in bundle("1.1.0").manifest.files if f.path == "card.md")
    (full.root / "toy" / "blobs" / "sha256" / card.sha256).write_bytes(b"?")

    with pytest.raises(IntegrityError):
        mirror(full, copy, "toy")
    assert copy.versions("toy") == ["1.0.0"]
    assert not copy.aliases("toy")


def test_mirror_of_the_unknown_says_what_there_is(full: FileRegistry, copy: FileRegistry) -> None:
    """And makes nothing."""
    with pytest.raises(NotFoundError, match="has no model 'none'; it has toy"):
        mirror(full, copy, "none")
    assert not copy.root.exists()
