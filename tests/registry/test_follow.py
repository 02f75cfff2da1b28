"""A host believes only what follows from what it has seen, and needs the registry only for news."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

from mlembed.errors import (
    ExpiredError,
    IntegrityError,
    NotFoundError,
    PointerError,
    RegistryError,
    SettingsError,
)
from mlembed.registry import open_source
from mlembed.registry.issue import Issuer
from mlembed.registry.pointer import Ref, parse_ref
from mlembed.settings import Settings
from registry.site import Site, host
from registry.stock import VERSIONS, bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlembed.registry.file import FileRegistry
    from mlembed.registry.follow import Followed
    from mlembed.registry.pointer import Pointer

TOY = Ref("toy")
ALIAS = "toy/aliases/champion.json"


@pytest.fixture
def site(full: FileRegistry) -> Iterator[Site]:
    """Return a web site over a registry with three versions."""
    with Site(full.root) as serving:
        yield serving


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return the directory of a host's cache, which is not there yet."""
    return tmp_path / "cache"


def follow(followed: Followed, ref: Ref = TOY) -> str:
    """Look, fetch and confirm, as a host does; return the version."""
    target = followed.resolve(ref)
    assert followed.fetch(target).id == target.bundle_id
    followed.confirm(ref, target)
    return target.version


def forge(full: FileRegistry, pointer: Pointer, *, logged: bool = True, **changes: Any) -> None:
    """Put a pointer into force that nobody issued."""
    data = dataclasses.replace(pointer, **changes).sealed()
    (full.root / ALIAS).write_bytes(data)
    if logged:
        serial = changes.get("serial", pointer.serial)
        (full.root / "toy" / "log" / "champion" / f"{serial}.json").write_bytes(data)


def test_host_follows_promotions_and_rollbacks(full: FileRegistry, site: Site, cache: Path) -> None:
    """Each look finds what the alias means now, over HTTP as in the directory."""
    followed = host(site, cache)

    assert follow(followed) == "1.2.0"
    full.promote("toy", "champion", "1.0.0")
    assert follow(followed) == "1.0.0"
    full.rollback("toy", "champion")
    assert follow(followed) == "1.2.0"
    assert follow(followed, parse_ref("toy@1.1.0")) == "1.1.0"


def test_look_at_an_unchanged_alias_is_one_conditional_request(site: Site, cache: Path) -> None:
    """Nothing else is asked, and the answer has no body; also after a restart of the host."""
    follow(host(site, cache))
    followed = host(site, cache)
    for _ in range(2):
        site.asked.clear()
        assert followed.resolve(TOY).version == "1.2.0"
        (asked,) = site.asked
        assert asked.path == f"/{ALIAS}"
        assert asked.headers["if-none-match"]


def test_etag_is_kept_only_of_what_has_proved_itself(site: Site, cache: Path) -> None:
    """What was fetched and not confirmed is asked for again, in this process and the next."""
    followed = host(site, cache)
    target = followed.resolve(TOY)
    followed.fetch(target)
    for another in (followed, host(site, cache)):
        site.asked.clear()
        another.resolve(TOY)
        assert "if-none-match" not in site.asked[0].headers

    followed.confirm(TOY, target)
    followed.resolve(TOY)
    assert "if-none-match" in site.asked[-1].headers


def test_fetch_asks_for_each_file_once(full: FileRegistry, site: Site, cache: Path) -> None:
    """What is in the cache is not asked for again, whichever version needs it."""
    follow(host(site, cache))
    first = site.paths("blobs")
    assert sorted(first) == sorted(set(first))
    assert len(first) == len(bundle("1.2.0").files) + 1
    site.asked.clear()

    follow(host(site, cache))
    assert not site.paths("blobs")

    full.promote("toy", "champion", "1.0.0")
    follow(host(site, cache))
    assert len(site.paths("blobs")) == 2  # the manifest and the card


def test_old_pointer_is_refused(full: FileRegistry, site: Site, cache: Path) -> None:
    """A replayed pointer is no rollback, for this process and for the next one."""
    old = (full.root / ALIAS).read_bytes()
    followed = host(site, cache)
    full.promote("toy", "champion", "1.0.0")
    assert follow(followed) == "1.0.0"
    (full.root / ALIAS).write_bytes(old)

    for another in (followed, host(site, cache)):
        with pytest.raises(PointerError, match="has serial 3, and 4 was seen before"):
            another.resolve(TOY)

    full.promote("toy", "champion", "1.1.0")
    assert follow(followed) == "1.1.0"


def test_serial_is_remembered_before_the_bundle_is_proved(
    full: FileRegistry, site: Site, cache: Path
) -> None:
    """A pointer that was believed once bars older ones, whatever became of its bundle."""
    old = (full.root / ALIAS).read_bytes()
    full.promote("toy", "champion", "1.0.0")
    host(site, cache).resolve(TOY)
    (full.root / ALIAS).write_bytes(old)

    with pytest.raises(PointerError, match="was seen before"):
        host(site, cache).resolve(TOY)


def test_first_start_believes_no_serial_below_the_least(site: Site, cache: Path) -> None:
    """A fresh host may be told what is too old for it."""
    with pytest.raises(PointerError, match="has serial 3, and MLEMBED_MIN_SERIALS wants 4"):
        host(site, cache, min_serials={"toy@champion": 4}).resolve(TOY)
    assert follow(host(site, cache, min_serials={"toy@champion": 3})) == "1.2.0"


def test_two_pointers_of_one_serial_are_a_fork(full: FileRegistry, site: Site, cache: Path) -> None:
    """The second one is refused."""
    followed = host(site, cache)
    follow(followed)
    forge(full, full.pointer("toy", "champion"), reason="another")

    for another in (followed, host(site, cache)):
        with pytest.raises(PointerError, match=r"two with serial 3. Its history has forked"):
            another.resolve(TOY)


@pytest.mark.parametrize("skipped", [0, 1, 5])
def test_pointer_that_does_not_follow_is_a_fork(
    full: FileRegistry, site: Site, cache: Path, skipped: int
) -> None:
    """The next one names the one before, and so do those that a host has missed."""
    followed = host(site, cache)
    follow(followed)
    forge(full, full.pointer("toy", "champion"), reason="another")
    for _ in range(skipped + 1):
        full.promote("toy", "champion", "1.1.0")

    with pytest.raises(
        PointerError, match=r"does not follow from serial 3. Its history has forked"
    ):
        followed.resolve(TOY)


def test_missed_pointers_lead_to_the_new_one(full: FileRegistry, site: Site, cache: Path) -> None:
    """A host that slept through some promotions believes the last."""
    followed = host(site, cache)
    follow(followed)
    for version in (*VERSIONS, "1.1.0"):
        full.promote("toy", "champion", version)

    assert follow(followed) == "1.1.0"


def test_far_serial_is_refused_and_a_new_epoch_recovers(
    full: FileRegistry, site: Site, cache: Path
) -> None:
    """A stolen key cannot bar the true publisher for good."""
    followed = host(site, cache)
    follow(followed)
    pointer = full.pointer("toy", "champion")
    forge(full, pointer, logged=False, serial=2**52)
    with pytest.raises(PointerError, match=r"too far ahead. If it is meant, raise MLEMBED_EPOCH"):
        followed.resolve(TOY)
    with pytest.raises(PointerError, match="too far ahead"):
        host(site, cache / "fresh").resolve(TOY)

    forge(full, pointer, logged=False, serial=900)
    assert follow(followed) == "1.2.0"
    (full.root / ALIAS).write_bytes(pointer.sealed())
    with pytest.raises(PointerError, match="was seen before"):
        host(site, cache).resolve(TOY)
    assert follow(host(site, cache, epoch=1)) == "1.2.0"
    assert host(site, cache, epoch=1).resolve(TOY).version == "1.2.0"


@pytest.mark.parametrize("days", [-2.0, -0.5, 1.0])
def test_expired_pointer_is_told(full: FileRegistry, site: Site, cache: Path, days: float) -> None:
    """Clocks may differ by a day; what is older is held back or forgotten."""
    followed = host(site, cache)
    follow(followed)
    full.issuer = Issuer(days=days)
    full.renew("toy", "champion")

    if days >= -1:
        assert follow(followed) == "1.2.0"
        return
    for _ in range(2):
        with pytest.raises(ExpiredError, match=r"expired .*; mlembed registry renew toy@champion"):
            followed.resolve(TOY)
    full.issuer = Issuer(days=30)
    full.renew("toy", "champion")
    assert follow(followed) == "1.2.0"


def test_frozen_pointer_expires_behind_not_modified(
    full: FileRegistry, site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds promotions back is noticed when time is up, though nothing has changed."""
    full.issuer = Issuer(days=1)
    full.renew("toy", "champion")
    followed = host(site, cache)
    follow(followed)

    class Later(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return super().now(tz) + dt.timedelta(days=3)

    monkeypatch.setattr("mlembed.registry.follow.dt.datetime", Later)
    with pytest.raises(ExpiredError):
        followed.resolve(TOY)
    assert site.asked[-1].headers["if-none-match"]


def test_pointer_of_another_model_is_refused(full: FileRegistry, site: Site, cache: Path) -> None:
    """A good pointer in the wrong place, or at the wrong bundle, is not served."""
    full.publish(bundle(name="other"))
    full.promote("other", "champion", "1.0.0")
    other = (full.root / "other" / "aliases" / "champion.json").read_bytes()
    full.promote("toy", "canary", "1.0.0")
    followed = host(site, cache)
    good = (full.root / ALIAS).read_bytes()
    for wrong in (other, (full.root / "toy" / "aliases" / "canary.json").read_bytes()):
        (full.root / ALIAS).write_bytes(wrong)
        with pytest.raises(IntegrityError, match=r"speaks of (other@champion|toy@canary)"):
            followed.resolve(TOY)
    (full.root / ALIAS).write_bytes(good)

    forge(full, full.pointer("toy", "champion"), bundle_id=bundle(name="other").id)
    blobs = full.root / "other" / "blobs" / "sha256"
    for path in blobs.iterdir():
        (full.root / "toy" / "blobs" / "sha256" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(IntegrityError, match=r"toy@1.2.0 in .* holds other@1.0.0"):
        followed.fetch(followed.resolve(TOY))


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff\xfe", b'{"a":' * 9_000, b"x" * 70_000])
def test_garbage_in_place_of_a_pointer_is_refused(
    full: FileRegistry, site: Site, cache: Path, body: bytes
) -> None:
    """Whatever the server says, it is an error of the registry, and the next look is good again."""
    good = (full.root / ALIAS).read_bytes()
    followed = host(site, cache)
    (full.root / ALIAS).write_bytes(body)
    with pytest.raises((IntegrityError, RegistryError)):
        followed.resolve(TOY)

    (full.root / ALIAS).write_bytes(good)
    assert follow(followed) == "1.2.0"


def test_unknown_names_are_answered_with_what_there_is(site: Site, cache: Path) -> None:
    """Over HTTP too, where names come from the index."""
    followed = host(site, cache)
    with pytest.raises(NotFoundError, match="has no model 'none'; it has toy"):
        followed.resolve(Ref("none"))
    with pytest.raises(NotFoundError, match=r"no alias 'canary' in .* the aliases champion"):
        followed.resolve(Ref("toy", "canary"))
    with pytest.raises(
        NotFoundError, match=r"no version '9\.0\.0' in .* versions 1\.0\.0, 1\.1\.0"
    ):
        followed.resolve(parse_ref("toy@9.0.0"))


def test_last_resorts_need_no_registry(full: FileRegistry, site: Site, cache: Path) -> None:
    """What served last and before that is there without a single request."""
    followed = host(site, cache)
    for version in ("1.0.0", "1.1.0"):
        full.promote("toy", "champion", version)
        follow(followed)
    site.is_down = True
    site.asked.clear()

    resorts = host(site, cache).last_resorts(TOY)

    assert [resort.bring().manifest.version for resort in resorts] == ["1.1.0", "1.0.0"]
    assert not site.asked


def test_memory_of_another_registry_is_not_taken(
    full: FileRegistry, site: Site, cache: Path
) -> None:
    """Two registries with the same names share files and nothing else."""
    follow(host(site, cache))
    with Site(full.root) as other:
        assert not host(other, cache).last_resorts(TOY)
        assert follow(host(other, cache)) == "1.2.0"
        assert not other.paths("blobs/sha256/" + bundle("1.2.0").manifest.files[0].sha256)


def test_not_modified_hides_no_replay(full: FileRegistry, site: Site, cache: Path) -> None:
    """A serial that was seen and could not be loaded still bars the one before, after a restart."""
    old = (full.root / ALIAS).read_bytes()
    follow(host(site, cache))
    full.promote("toy", "champion", "1.0.0")
    host(site, cache).resolve(TOY)  # seen, and never confirmed
    (full.root / ALIAS).write_bytes(old)

    with pytest.raises(PointerError, match="has serial 3, and 4 was seen before"):
        host(site, cache).resolve(TOY)


def test_hosts_of_two_epochs_share_a_cache(full: FileRegistry, site: Site, cache: Path) -> None:
    """What the lower epoch believes is not written over what the higher one remembers."""
    old = (full.root / ALIAS).read_bytes()
    full.promote("toy", "champion", "1.0.0")
    follow(host(site, cache, epoch=1))
    (full.root / ALIAS).write_bytes(old)
    follow(host(site, cache, epoch=0))

    with pytest.raises(PointerError, match="was seen before"):
        host(site, cache, epoch=1).resolve(TOY)


@pytest.mark.parametrize("serials", [list(range(1, 400)), [1, 2], ["9" * 5_000], [10**30]])
def test_hostile_index_costs_no_more_than_the_pointers_missed(
    full: FileRegistry, site: Site, cache: Path, serials: list[Any]
) -> None:
    """What lies between two looks is asked for by number, whatever the index says."""
    followed = host(site, cache)
    follow(followed)
    for version in ("1.0.0", "1.1.0"):
        full.promote("toy", "champion", version)
    index = {"aliases": {"champion": serials}, "versions": []}
    (full.root / "toy" / "index.json").write_text(json.dumps(index))
    site.asked.clear()

    assert follow(followed) == "1.1.0"
    assert len(site.paths("log")) == 1


def test_missing_log_is_no_alarm(full: FileRegistry, site: Site, cache: Path) -> None:
    """Where what lies between was moved away nothing can be told, and the host goes on."""
    followed = host(site, cache)
    follow(followed)
    (full.root / "toy" / "log" / "champion").rename(full.root / "old log")
    for version in ("1.0.0", "1.1.0"):
        full.promote("toy", "champion", version)
    (full.root / "toy" / "log" / "champion" / "4.json").unlink()

    assert follow(followed) == "1.1.0"


def test_pointer_may_hold_to_the_end_of_time(full: FileRegistry, site: Site, cache: Path) -> None:
    """No date that can be written is beyond what can be compared."""
    forge(full, full.pointer("toy", "champion"), expires="9999-12-31T23:59:59+00:00", logged=True)

    assert follow(host(site, cache)) == "1.2.0"


def test_least_serials_are_named_like_models(site: Site, cache: Path) -> None:
    """A bare name means its champion, as everywhere; what is no name is refused."""
    with pytest.raises(PointerError, match="MLEMBED_MIN_SERIALS wants 9"):
        host(site, cache, min_serials={"toy": 9}).resolve(TOY)
    follow(host(site, cache))
    with pytest.raises(PointerError, match="MLEMBED_MIN_SERIALS wants 9"):
        host(site, cache, min_serials={"toy": 9}).resolve(TOY)
    assert site.asked[-1].headers["if-none-match"]
    with pytest.raises(SettingsError, match="no model reference"):
        host(site, cache, min_serials={"Toy!": 9})


def test_credentials_stay_at_home(full: FileRegistry, site: Site, cache: Path) -> None:
    """What is for one registry is not shown to another one that is named beside it."""
    with Site(full.root) as other:
        settings = Settings(registry=site.url, registry_auth="me:hunter2", cache=cache, log=False)
        for place in (site, other):
            open_source(place.url, settings).resolve(TOY)

        assert "authorization" in site.asked[-1].headers
        assert "authorization" not in other.asked[-1].headers
