"""With keys, nothing serves and no alias moves that a trusted key did not sign."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from mlembed.bundle.dsse import Envelope
from mlembed.bundle.keys import PublicKey, Signer, new_key
from mlembed.bundle.signature import sign
from mlembed.bundle.trust import Trust
from mlembed.errors import IntegrityError, PointerError, SettingsError, SignatureError
from mlembed.registry import open_registry
from mlembed.registry.file import FileRegistry
from mlembed.registry.issue import Issuer
from mlembed.registry.mirroring import mirror
from mlembed.registry.pointer import MAX_POINTER_BYTES, Ref
from mlembed.settings import Settings
from registry.site import Site, host
from registry.stock import bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlembed.registry.follow import Followed

TOY = Ref("toy")
KEYS = {name: new_key() for name in ("ours", "theirs", "next")}


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """Return the paths of public keys, by name."""
    for name, (_, public) in KEYS.items():
        (tmp_path / f"{name}.pub").write_bytes(public)
    return {name: str(tmp_path / f"{name}.pub") for name in KEYS}


@pytest.fixture
def signed(tmp_path: Path) -> FileRegistry:
    """Return a registry whose champion was published and promoted with our key."""
    registry = FileRegistry(tmp_path / "models")
    registry.issuer = issuer("ours")
    for version in ("1.0.0", "1.1.0"):
        registry.publish(bundle(version))
        registry.promote("toy", "champion", version)
    return registry


@pytest.fixture
def site(signed: FileRegistry) -> Iterator[Site]:
    """Return a web site over the signed registry."""
    with Site(signed.root) as serving:
        yield serving


def issuer(name: str, days: float | None = None) -> Issuer:
    """Return whoever holds the key of that name."""
    return Issuer(signer=Signer.from_pem(KEYS[name][0]), by=name, days=days)


def follow(followed: Followed) -> str:
    """Look, fetch and confirm, as a host does; return the version."""
    target = followed.resolve(TOY)
    assert followed.fetch(target).id == target.bundle_id
    followed.confirm(TOY, target)
    return target.version


def alias(registry: FileRegistry) -> Path:
    """Return the file that says what the champion is."""
    return registry.root / "toy" / "aliases" / "champion.json"


def signature(registry: FileRegistry, version: str = "1.1.0") -> Path:
    """Return the file that says who signed a version."""
    return registry.root / "toy" / "signatures" / f"{bundle(version).id}.json"


def test_host_follows_what_its_key_signed(
    signed: FileRegistry, site: Site, keys: dict[str, str], tmp_path: Path
) -> None:
    """From the web and from the directory, through promotions, rollbacks and renewals."""
    remote = host(site, tmp_path / "cache", keys=(keys["ours"],))
    near = host(str(signed.root), tmp_path / "near", keys=(keys["ours"],))
    for followed in (remote, near):
        assert follow(followed) == "1.1.0"
    signed.rollback("toy", "champion")
    signed.renew("toy", "champion")
    for followed in (remote, near):
        assert follow(followed) == "1.0.0"
    assert signed.pointer("toy", "champion").expires > signed.pointer("toy", "champion").issued


def _strip_pointer(registry: FileRegistry) -> None:
    path = alias(registry)
    envelope = Envelope.from_bytes(path.read_bytes(), "", MAX_POINTER_BYTES)
    path.write_bytes(dataclasses.replace(envelope, signatures=()).to_bytes())


def _swap_key_of_pointer(registry: FileRegistry) -> None:
    registry.issuer = issuer("theirs")
    registry.renew("toy", "champion")


def _change_pointer(registry: FileRegistry) -> None:
    path = alias(registry)
    envelope = Envelope.from_bytes(path.read_bytes(), "", MAX_POINTER_BYTES)
    pointer = dataclasses.replace(registry.pointer("toy", "champion"), reason="another")
    path.write_bytes(dataclasses.replace(envelope, payload=pointer.to_bytes()).to_bytes())


def _take_bundle_signature_for_pointer(registry: FileRegistry) -> None:
    alias(registry).write_bytes(signature(registry).read_bytes())


def _strip_bundle(registry: FileRegistry) -> None:
    signature(registry).unlink()


def _empty_bundle_signature(registry: FileRegistry) -> None:
    signature(registry).write_bytes(b"{}")


def _swap_key_of_bundle(registry: FileRegistry) -> None:
    other = FileRegistry(registry.root.with_name("other"))
    other.issuer = issuer("theirs")
    other.publish(bundle("1.1.0"))
    signature(registry).write_bytes(signature(other).read_bytes())


def _take_signature_of_another_version(registry: FileRegistry) -> None:
    signature(registry).write_bytes(signature(registry, "1.0.0").read_bytes())


ATTACKS = [
    _strip_pointer,
    _swap_key_of_pointer,
    _change_pointer,
    _take_bundle_signature_for_pointer,
    _strip_bundle,
    _empty_bundle_signature,
    _swap_key_of_bundle,
    _take_signature_of_another_version,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__.strip("_"))
@pytest.mark.parametrize("where", ["web", "directory"])
def test_what_our_key_did_not_sign_is_refused(
    signed: FileRegistry,
    site: Site,
    keys: dict[str, str],
    tmp_path: Path,
    attack: Callable[[FileRegistry], None],
    where: str,
) -> None:
    """Stripped, swapped, changed or taken from elsewhere; at a first start and later."""
    place = site if where == "web" else str(signed.root)
    followed = host(place, tmp_path / "cache", keys=(keys["ours"],))
    signed.rollback("toy", "champion")
    assert follow(followed) == "1.0.0"
    signed.promote("toy", "champion", "1.1.0")
    attack(signed)

    for each in (followed, host(place, tmp_path / "fresh", keys=(keys["ours"],))):
        with pytest.raises(IntegrityError):
            follow(each)
    assert [item.bring().manifest.version for item in followed.last_resorts(TOY)] == ["1.0.0"]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__.strip("_"))
def test_without_a_requirement_only_the_unsigned_passes(
    signed: FileRegistry,
    site: Site,
    keys: dict[str, str],
    tmp_path: Path,
    attack: Callable[[FileRegistry], None],
) -> None:
    """Whoever lets the unsigned serve still refuses what is signed badly."""
    attack(signed)
    followed = host(site, tmp_path, keys=(keys["ours"],), require_signature=False)

    if attack in (_strip_pointer, _strip_bundle):
        assert follow(followed) == "1.1.0"
    else:
        with pytest.raises(IntegrityError):
            follow(followed)


def test_requirement_without_keys_fails_closed(site: Site, tmp_path: Path) -> None:
    """A policy that nobody could meet is an error of the settings, before anything is asked."""
    with pytest.raises(SettingsError, match="MLEMBED_KEYS"):
        host(site, tmp_path, require_signature=True)
    assert not site.asked


def test_without_keys_signatures_are_not_asked_for(site: Site, tmp_path: Path) -> None:
    """A host that cannot judge them needs neither the files nor the library."""
    assert follow(host(site, tmp_path)) == "1.1.0"
    assert not site.paths("signatures")


def test_old_signed_pointer_is_refused_from_a_directory_too(
    signed: FileRegistry, keys: dict[str, str], tmp_path: Path
) -> None:
    """A host with keys remembers serials, wherever the registry is."""
    old = alias(signed).read_bytes()
    followed = host(str(signed.root), tmp_path / "cache", keys=(keys["ours"],))
    signed.rollback("toy", "champion")
    assert follow(followed) == "1.0.0"
    alias(signed).write_bytes(old)

    for each in (followed, host(str(signed.root), tmp_path / "cache", keys=(keys["ours"],))):
        with pytest.raises(PointerError, match="was seen before"):
            each.resolve(TOY)


def test_keys_are_rotated_with_an_overlap(
    signed: FileRegistry, site: Site, keys: dict[str, str], tmp_path: Path
) -> None:
    """Hosts take both keys, the publisher changes to the new one, hosts drop the old one."""
    both = (keys["ours"], keys["next"])
    assert follow(host(site, tmp_path / "cache", keys=both)) == "1.1.0"
    signed.issuer = issuer("next")
    for version in ("1.0.0", "1.1.0"):
        signed.sign(
            signed.resolve(Ref("toy", version)),
            sign(bundle(version), Signer.from_pem(KEYS["next"][0])),
        )
    signed.renew("toy", "champion")

    assert follow(host(site, tmp_path / "cache", keys=both)) == "1.1.0"
    assert follow(host(site, tmp_path / "cache", keys=(keys["next"],))) == "1.1.0"
    with pytest.raises(SignatureError):
        follow(host(site, tmp_path / "cache", keys=(keys["ours"],)))


def test_what_served_is_not_trusted_for_ever(
    site: Site, keys: dict[str, str], tmp_path: Path
) -> None:
    """The last good one is judged by the keys of today, with nobody to ask."""
    follow(host(site, tmp_path / "cache", keys=(keys["ours"],)))
    site.is_down = True

    (again,) = host(site, tmp_path / "cache", keys=(keys["ours"],)).last_resorts(TOY)
    assert again.bring().manifest.version == "1.1.0"
    (again,) = host(site, tmp_path / "cache", keys=(keys["theirs"],)).last_resorts(TOY)
    with pytest.raises(SignatureError):
        again.bring()


def test_promotion_asks_for_a_signature(keys: dict[str, str], tmp_path: Path) -> None:
    """Where keys are trusted, no alias is pointed at what they did not sign."""
    settings = Settings(keys=(keys["ours"],), cache=tmp_path / "cache")
    registry = open_registry(tmp_path / "models", settings)
    registry.publish(bundle())

    with pytest.raises(SignatureError):
        registry.promote("toy", "champion", "1.0.0")
    assert not registry.aliases("toy")


def test_publisher_signs_with_the_key_of_its_settings(keys: dict[str, str], tmp_path: Path) -> None:
    """One setting signs bundles and pointers; what is signed already is left as it is."""
    private = tmp_path / "ours.key"
    private.write_bytes(KEYS["ours"][0])
    registry = open_registry(tmp_path / "models", Settings(signing_key=str(private)))
    registry.publish(bundle())
    registry.promote("toy", "champion", "1.0.0")

    trust = Trust.read([keys["ours"]])
    found = registry.fetch(registry.resolve(TOY))
    ours = PublicKey.read(keys["ours"]).key_id
    assert trust.check_bundle(found) == ours
    entry = registry.entry("toy", "champion")
    assert trust.check_envelope(entry.envelope, "") == ours

    again: Any = open_registry(tmp_path / "again", Settings(signing_key=str(private)))
    again.issuer = issuer("theirs")
    again.publish(found)
    assert trust.check_bundle(again.fetch(again.resolve(Ref("toy", "1.0.0")))) == ours


def publisher(registry: FileRegistry, keys: dict[str, str], name: str = "") -> FileRegistry:
    """Return the registry as somebody opens it who trusts our key and holds the key *name*."""
    opened = FileRegistry(registry.root)
    opened.trust = Trust.read([keys["ours"]])
    if name:
        opened.issuer = issuer(name)
    return opened


def test_publisher_signs_nothing_that_others_wrote(
    signed: FileRegistry, keys: dict[str, str]
) -> None:
    """A pointer that was planted gets no good signature by a renewal, promotion or rollback."""
    planted = FileRegistry(signed.root)
    planted.promote("toy", "champion", "1.0.0")
    ours = publisher(signed, keys, "ours")

    for call in (
        lambda: ours.renew("toy", "champion"),
        lambda: ours.rollback("toy", "champion"),
        lambda: ours.promote("toy", "champion", "1.1.0"),
        lambda: ours.resolve(TOY),
        lambda: ours.history("toy", "champion"),
    ):
        with pytest.raises(SignatureError):
            call()
    assert planted.pointer("toy", "champion").serial == 3


def test_publisher_without_the_key_moves_nothing(
    signed: FileRegistry, keys: dict[str, str]
) -> None:
    """Whoever trusts keys is told before the hosts are, and the alias stays."""
    for name in ("", "theirs"):
        with pytest.raises(SignatureError, match="the new pointer"):
            publisher(signed, keys, name).promote("toy", "champion", "1.0.0")
    assert signed.pointer("toy", "champion").serial == 2


def test_rollback_is_judged_like_a_promotion(signed: FileRegistry, keys: dict[str, str]) -> None:
    """What is gone or not signed is not gone back to."""
    ours = publisher(signed, keys, "ours")
    signature(signed, "1.0.0").unlink()
    with pytest.raises(SignatureError):
        ours.rollback("toy", "champion")
    (signed.root / "toy" / "blobs" / "sha256" / bundle("1.0.0").id).unlink()
    with pytest.raises(IntegrityError, match="manifest is missing"):
        signed.rollback("toy", "champion")
    assert signed.pointer("toy", "champion").serial == 2


def test_host_recovers_from_a_move_without_the_key(
    signed: FileRegistry, site: Site, keys: dict[str, str], tmp_path: Path
) -> None:
    """A signed head vouches for those before it, so one unsigned move is mended by the next."""
    followed = host(site, tmp_path / "cache", keys=(keys["ours"],))
    follow(followed)
    FileRegistry(signed.root).promote("toy", "champion", "1.0.0")
    with pytest.raises(SignatureError):
        followed.resolve(TOY)

    signed.trust = Trust()
    signed.promote("toy", "champion", "1.0.0")
    for each in (followed, host(site, tmp_path / "cache", keys=(keys["ours"],))):
        assert follow(each) == "1.0.0"


def test_mirror_signs_nothing_and_ends(signed: FileRegistry, tmp_path: Path) -> None:
    """Strangers' bundles stay strangers', and a second time there is nothing to copy."""
    source = FileRegistry(tmp_path / "vendor")
    source.publish(bundle())
    copy = FileRegistry(tmp_path / "copy")
    copy.issuer = issuer("ours")

    assert mirror(source, copy, "toy").versions == ("1.0.0",)
    assert mirror(source, copy, "toy").versions == ()
    assert copy.signature(copy.resolve(Ref("toy", "1.0.0"))) == b""
    assert mirror(signed, FileRegistry(tmp_path / "other"), "toy").pointers == {"champion": 2}


def test_mirror_refuses_pointers_nobody_trusted_signed(
    keys: dict[str, str], signed: FileRegistry, tmp_path: Path
) -> None:
    """The destination judges what comes into force there."""
    FileRegistry(signed.root).promote("toy", "champion", "1.0.0")
    copy = FileRegistry(tmp_path / "copy")
    copy.trust = Trust.read([keys["ours"]])

    with pytest.raises(SignatureError):
        mirror(signed, copy, "toy")
    assert not copy.aliases("toy")
