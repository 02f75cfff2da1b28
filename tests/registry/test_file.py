"""A directory is a registry whose versions never change and whose pointers form a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlembed.bundle.bundle import sha256
from mlembed.errors import IntegrityError, NotFoundError, SettingsError
from mlembed.registry.file import FileRegistry
from mlembed.registry.pointer import Ref, Target, parse_ref
from registry.stock import VERSIONS, bundle, served, tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOSTILE = ["../toy", "a/b", ".", "..", "con", "", "A", "a\0b", "/etc"]


def test_registry_lists_what_it_holds(full: FileRegistry) -> None:
    """Models, versions in numeric order and aliases are listed; other files are not."""
    full.publish(bundle("1.10.0"))
    full.publish(bundle(name="other"))
    (full.root / "notes.txt").write_text("mine")
    (full.root / "empty").mkdir()
    (full.root / "toy" / "versions" / "README").write_text("mine")
    (full.root / "toy" / "aliases" / ".tmp-x").write_text("torn")

    assert full.models() == ["other", "toy"]
    assert full.versions("toy") == [*VERSIONS, "1.10.0"]
    assert full.aliases("toy") == ["champion"]
    assert full.next_version("toy") == "1.11.0"
    assert full.next_version("new") == "1.0.0"


def test_publish_writes_each_content_once(tmp_path: Path) -> None:
    """Two versions of the same graph share its blob."""
    registry = FileRegistry(tmp_path)
    registry.publish(bundle("1.0.0"))
    before = tree(tmp_path)
    registry.publish(bundle("1.1.0"))

    new = sorted(set(tree(tmp_path)) - set(before))
    assert len(new) == 3  # its card, its manifest and its version
    assert "toy/versions/1.1.0.json" in new


def test_publish_again_changes_no_file(full: FileRegistry) -> None:
    """The same bundle again leaves every byte as it was."""
    before = tree(full.root)
    full.publish(bundle("1.1.0"))

    assert tree(full.root) == before


def test_publish_mends_a_damaged_version(full: FileRegistry) -> None:
    """The remedy that an integrity error names does help."""
    target = full.resolve(parse_ref("toy@1.1.0"))
    for path in (full.root / "toy" / "blobs" / "sha256").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(IntegrityError, match="publish it again"):
        full.fetch(target)

    full.publish(bundle("1.1.0"))

    assert full.fetch(target) == bundle("1.1.0")


def test_promote_moves_the_alias(full: FileRegistry) -> None:
    """The pointer says what, when, why and what was before."""
    pointer = full.promote("toy", "champion", "1.0.0", "the new one is slow")

    assert served(full) == "1.0.0"
    assert (pointer.serial, pointer.action, pointer.reason) == (4, "promote", "the new one is slow")
    assert pointer.prev == sha256(full.history("toy", "champion")[-2].to_bytes())
    assert full.pointer("toy", "champion") == pointer == full.history("toy", "champion")[-1]


def test_promote_takes_the_target_of_another_alias(full: FileRegistry) -> None:
    """A canary becomes the champion by its name."""
    full.promote("toy", "canary", "1.0.0")
    full.promote("toy", "champion", "canary")

    assert served(full) == "1.0.0"


def test_history_is_a_chain(full: FileRegistry) -> None:
    """Serials rise by one from one, and each pointer holds the digest of the one before."""
    history = full.history("toy", "champion")

    assert [pointer.serial for pointer in history] == [1, 2, 3]
    assert [pointer.version for pointer in history] == list(VERSIONS)
    assert [pointer.prev for pointer in history] == [
        "",
        *(sha256(pointer.to_bytes()) for pointer in history[:-1]),
    ]


def test_rollback_walks_back(full: FileRegistry) -> None:
    """Each rollback goes one version further back, and the last one is refused."""
    assert full.rollback("toy", "champion", "alarms").version == "1.1.0"
    assert full.rollback("toy", "champion").version == "1.0.0"
    with pytest.raises(NotFoundError, match="no earlier version to roll back to; promote one by"):
        full.rollback("toy", "champion")

    assert served(full) == "1.0.0"
    assert [pointer.serial for pointer in full.history("toy", "champion")] == [1, 2, 3, 4, 5]


def test_rollback_after_a_new_promotion(full: FileRegistry) -> None:
    """What was rolled back is not come back to: the version before the newest is."""
    full.rollback("toy", "champion")
    full.publish(bundle("2.0.0"))
    full.promote("toy", "champion", "2.0.0")

    assert full.rollback("toy", "champion").version == "1.1.0"


def test_rollback_passes_over_a_repeated_promotion(full: FileRegistry) -> None:
    """Promoting what serves already adds no step to walk back."""
    full.promote("toy", "champion", "1.2.0")

    assert full.rollback("toy", "champion").version == "1.1.0"


def test_rollback_without_an_earlier_version(tmp_path: Path) -> None:
    """The first version has none before it."""
    registry = FileRegistry(tmp_path)
    registry.publish(bundle())
    registry.promote("toy", "champion", "1.0.0")

    with pytest.raises(NotFoundError, match="no earlier version"):
        registry.rollback("toy", "champion")


@pytest.mark.parametrize(("name", "alias"), [("other", "champion"), ("toy", "canary")])
def test_rollback_of_the_unknown_makes_nothing(full: FileRegistry, name: str, alias: str) -> None:
    """An unknown model or alias is named with what exists, and leaves no trace."""
    with pytest.raises(NotFoundError, match=f"{name}.*toy|toy.*{alias}.*1.2.0"):
        full.rollback(name, alias)

    assert not (full.root / "other").exists()
    assert full.aliases("toy") == ["champion"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("other@champion", "has no model 'other'; it has toy"),
        ("other@1.0.0", "has no model 'other'; it has toy"),
        ("toy@canary", "'toy' has no alias 'canary'.*1.0.0, 1.1.0, 1.2.0 and the aliases champion"),
        ("toy@7.0.0", "'toy' has no version '7.0.0'.*1.0.0, 1.1.0, 1.2.0 and the aliases champion"),
    ],
)
def test_unknown_references_list_what_exists(full: FileRegistry, text: str, words: str) -> None:
    """The message holds what would have worked."""
    ref = parse_ref(text)

    with pytest.raises(NotFoundError, match=words):
        full.resolve(ref)
    with pytest.raises(NotFoundError, match=words):
        full.promote(ref.name, "champion", ref.selector)


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_registry_refuses_names_that_leave_it(full: FileRegistry, name: str) -> None:
    """No name of a model or an alias reaches outside the registry's directory."""
    before = tree(full.root.parent)
    calls: list[Callable[[], object]] = [
        lambda: full.resolve(Ref(name, "champion")),
        lambda: full.resolve(Ref(name, "1.0.0")),
        lambda: full.resolve(Ref("toy", name)),
        lambda: full.fetch(Target(name, "1.0.0", "0" * 64)),
        lambda: full.promote(name, "champion", "1.0.0"),
        lambda: full.promote("toy", name, "1.0.0"),
        lambda: full.promote("toy", "champion", name),
        lambda: full.rollback("toy", name),
        lambda: full.history("toy", name),
        lambda: full.pointer(name, "champion"),
        lambda: full.versions(name),
    ]

    for call in calls:
        with pytest.raises(SettingsError, match=r"is no (model name|alias); expected"):
            call()
    assert tree(full.root.parent) == before


def test_promote_refuses_a_version_as_alias(full: FileRegistry) -> None:
    """A number means a version for good, so it is no alias."""
    with pytest.raises(SettingsError, match=r"'1\.0\.0' is no alias"):
        full.promote("toy", "1.0.0", "1.0.0")


def test_promote_refuses_an_endless_reason(full: FileRegistry) -> None:
    """A reason that no reader of the pointer would accept is refused before it is written."""
    with pytest.raises(SettingsError, match="2000 characters at most"):
        full.promote("toy", "champion", "1.0.0", "x" * 2_001)

    full.promote("toy", "champion", "1.0.0", "\U0001f980\n" * 1_000)
    assert served(full) == "1.0.0"


def test_registry_files_may_be_read_by_hosts(full: FileRegistry) -> None:
    """A trainer's files can be read by the user the host runs as, never by luck."""
    modes = {path.stat().st_mode & 0o777 for path in full.root.rglob("*.json")}

    assert modes == {0o644}


def test_pointers_of_one_second_differ_in_their_time(full: FileRegistry) -> None:
    """A web server that tells versions of a file apart by second and length sees each one."""
    path = full.root / "toy" / "aliases" / "champion.json"
    seen = set()
    for _ in range(3):
        full.renew("toy", "champion")
        seen.add(int(path.stat().st_mtime))

    assert len(seen) == 3
