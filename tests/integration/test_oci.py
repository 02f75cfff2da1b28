"""Models in a real OCI registry, Debian's docker-registry.

It has neither referrers nor the deletion of tags, and its lists have no Link, so these cannot be
shown here; pages are shown in registry/test_distribution.py.
"""

from __future__ import annotations

import dataclasses
import time
import tracemalloc
from typing import TYPE_CHECKING

import httpx
import pytest

from integration.depot import BINARY, MISSING, TOY, Depot, Relay, follow, host
from mlembed.bundle.bundle import sha256
from mlembed.bundle.keys import new_key
from mlembed.errors import IntegrityError, NotFoundError, RegistryError, SignatureError
from mlembed.registry import open_registry, open_source
from mlembed.registry.collecting import collect
from mlembed.registry.file import FileRegistry
from mlembed.registry.mirroring import mirror
from mlembed.registry.oci.artifact import MANIFEST_TYPE
from mlembed.registry.pointer import Ref, Target
from mlembed.settings import Settings
from registry.stock import VERSIONS, bundle
from registry.test_contract import RegistryContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlembed.bundle.bundle import Bundle
    from mlembed.registry.oci.oci import OciRegistry

pytestmark = pytest.mark.skipif(BINARY is None, reason=MISSING)
MODEL = next(file for file in bundle().manifest.files if file.path == "model.onnx")
SIGNED = dataclasses.replace(bundle(), signature=b'{"signed":"once"}')


class TestOciRegistry(RegistryContract):
    """What every registry owes."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[OciRegistry]:
        """Return a registry that is empty."""
        with Depot(tmp_path) as running:
            yield running.open("team/models")

    def promote(self, source: OciRegistry, version: Bundle) -> None:
        """Move the pointer."""
        source.promote(version.manifest.name, "champion", version.manifest.version)


def test_history_is_whole(full: OciRegistry, depot: Depot) -> None:
    """Promotions and rollbacks make one chain, which another client reads as well."""
    full.promote("toy", "canary", "1.2.0")
    full.rollback("toy", "champion", "worse")
    other = depot.open()

    history = other.history("toy", "champion")
    assert [(p.serial, p.version, p.action) for p in history] == [
        (1, "1.0.0", "promote"),
        (2, "1.1.0", "promote"),
        (3, "1.2.0", "promote"),
        (4, "1.1.0", "rollback"),
    ]
    assert [p.prev for p in history] == ["", *[p.digest for p in history[:-1]]]
    assert [serial for serial, _ in other.log("toy", "champion", 2)] == [3, 4]
    assert other.resolve(TOY).version == "1.1.0"
    assert other.aliases("toy") == ["canary", "champion"]
    assert other.versions("toy") == [*VERSIONS]
    assert other.next_version("toy") == "1.3.0"
    assert other.models() == ["toy"]
    with pytest.raises(NotFoundError, match=r"1\.0\.0, 1\.1\.0, 1\.2\.0 and the aliases canary"):
        other.resolve(Ref("toy", "new"))


def test_hosts_follow(full: OciRegistry, depot: Depot, tmp_path: Path) -> None:
    """A host takes each promotion and rollback, and starts without the registry."""
    cache = tmp_path / "cache"
    assert follow(host(depot.open(), cache)) == "1.2.0"
    full.rollback("toy", "champion")
    assert follow(host(depot.open(), cache)) == "1.1.0"
    depot._stop()

    away = host(depot.open(), cache)
    with pytest.raises(RegistryError):
        away.resolve(TOY)
    assert away.last_resorts(TOY)[0].bring() == bundle("1.1.0")


def test_mirrors_are_exact(depot: Depot, tmp_path: Path) -> None:
    """A model goes from a directory to OCI and back with its signature and history unchanged."""
    first, last = FileRegistry(tmp_path / "first"), FileRegistry(tmp_path / "last")
    first.publish(SIGNED)
    for reason in ("one", "two"):
        first.promote("toy", "champion", "1.0.0", reason)
    between = depot.open()
    mirror(first, between, "toy")
    mirror(between, last, "toy")

    for registry in (between, last):
        assert registry.entries("toy", "champion") == first.entries("toy", "champion")
        assert registry.fetch(registry.resolve(TOY)) == SIGNED
    assert mirror(first, between, "toy").pointers == {}


def test_signatures_are_inside(depot: Depot) -> None:
    """A signature is published with its bundle, and replaced; publishing anew keeps it."""
    registry = depot.open()
    target = registry.publish(SIGNED)
    assert registry.signature(target) == SIGNED.signature

    registry.sign(target, b"later")
    registry.publish(bundle())
    assert registry.signature(target) == b"later"
    assert registry.fetch(target) == dataclasses.replace(bundle(), signature=b"later")
    registry.publish(SIGNED)
    assert registry.signature(target) == SIGNED.signature
    assert registry.resolve(Ref("toy", "1.0.0")) == target
    with pytest.raises(NotFoundError, match="publish it first"):
        registry.sign(Target("toy", "1.0.0", "0" * 64), b"x")


def test_keys_are_asked_for(depot: Depot, tmp_path: Path) -> None:
    """A host that trusts one key takes what it signed, and nothing that is stripped or unsigned."""
    public, private = tmp_path / "public.pem", tmp_path / "private.pem"
    for path, data in zip((private, public), new_key(), strict=True):
        path.write_bytes(data)
        path.chmod(0o600)
    settings = Settings(
        cache=tmp_path / "cache", log=False, keys=(str(public),), signing_key=str(private)
    )
    registry = open_registry(depot.location("team"), settings)
    target = registry.publish(bundle())
    registry.promote("toy", "champion", "1.0.0")
    depot.collect_garbage()
    followed = open_source(depot.location("team"), settings)
    assert followed.resolve(TOY) == target
    assert followed.fetch(target).id == bundle().id

    depot.open().sign(target, b"{}")
    stripped = dataclasses.replace(settings, cache=tmp_path / "other")
    with pytest.raises(SignatureError):
        open_source(depot.location("team"), stripped).fetch(target)
    depot.open().promote("toy", "champion", "1.0.0", "by nobody")
    with pytest.raises(SignatureError):
        open_source(depot.location("team"), stripped).resolve(TOY)


def test_polls_and_pulls_are_counted(full: OciRegistry, relay: Relay, tmp_path: Path) -> None:
    """An unchanged alias costs one request, answered 304 without a body; a pull asks once a file."""
    followed = host(relay.open(), tmp_path / "cache")
    target = followed.resolve(TOY)
    assert relay.passed() == ["GET manifests 200", "GET blobs 200"]
    followed.fetch(target)
    assert relay.passed() == ["GET blobs 200"] * (1 + len(bundle().manifest.files))
    followed.confirm(TOY, target)
    assert relay.passed() == []

    for again in (followed, host(relay.open(), tmp_path / "cache")):
        assert again.resolve(TOY) == target
        assert [(one.method, one.status, one.size) for one in relay.answered] == [("GET", 304, 0)]
        assert relay.asked[-1].path == "/v2/team/toy/manifests/alias-champion"
        relay.answered.clear()
    full.promote("toy", "champion", "1.0.0")
    assert follow(followed) == "1.0.0"


def test_publishing_is_counted(relay: Relay) -> None:
    """Each file is sent once; publishing again sends nothing."""
    registry, n_files = relay.open(), len(bundle().files) + 2  # manifest.json and the config
    registry.publish(bundle())
    passed = relay.passed()
    assert passed.count("PUT upload 201") == n_files
    assert passed.count("PUT manifests 201") == 1
    assert passed[-2:] == ["PUT manifests 201", "GET tags 200"]
    registry.publish(bundle())
    passed = relay.passed()

    assert {line.split()[0] for line in passed} == {"GET", "HEAD"}


def test_large_files_are_not_copied(depot: Depot) -> None:
    """Sending a file takes no more memory than a few of its parts."""
    server, data = depot.open()._server, bytes(64 * 1024 * 1024)
    server.push("team/warm", b"warm")
    tracemalloc.start()
    server.push("team/toy", data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4 * 1024 * 1024
    assert depot.stored(sha256(data)).stat().st_size == len(data)


def test_require_writable(depot: Depot, relay: Relay) -> None:
    """Whether a model could be published is known beforehand, and nothing is left behind."""
    relay.open().require_writable("new")
    assert relay.passed() == ["POST upload 202", "DELETE upload 204"]
    assert depot.open().models() == []
    depot._stop()

    with pytest.raises(RegistryError, match="nothing listens there"):
        depot.open().require_writable("new")


def spoil(path: Path) -> None:
    """Flip one bit in the middle of the file at *path*."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("digest", [bundle("1.2.0").id, MODEL.sha256], ids=["manifest", "model"])
def test_a_flipped_bit_is_refused(
    full: OciRegistry, depot: Depot, tmp_path: Path, digest: str
) -> None:
    """A changed blob, which the server serves with its old digest, is refused by every reader."""
    cache = tmp_path / "cache"
    full.promote("toy", "champion", "1.1.0")
    if digest != MODEL.sha256:
        assert follow(host(depot.open(), cache)) == "1.1.0"
    spoil(depot.stored(digest))
    served = httpx.get(f"http://127.0.0.1:{depot.port}/v2/team/toy/blobs/sha256:{digest}")
    assert served.status_code == 200
    assert served.headers["docker-content-digest"] == f"sha256:{digest}"
    assert sha256(served.content) != digest
    target = full.resolve(Ref("toy", "1.2.0"))

    with pytest.raises(IntegrityError, match=r"manifest\.json: sha256 is|model\.onnx is not"):
        full.fetch(target)
    with pytest.raises(IntegrityError, match=r"manifest\.json: sha256 is|has another digest"):
        host(depot.open(), cache).fetch(target)
    with pytest.raises(IntegrityError):
        full.promote("toy", "champion", "1.2.0")
    # This server never replaces a blob that it has, so that publishing cannot mend it.
    with pytest.raises(IntegrityError, match=f"keeps a damaged sha256:{digest}.*remove that blob"):
        full.publish(bundle("1.2.0"))
    depot.stored(digest).unlink()
    full.publish(bundle("1.2.0"))
    assert full.fetch(target) == bundle("1.2.0")


def test_a_flipped_bit_in_the_log_is_refused(full: OciRegistry, depot: Depot) -> None:
    """A changed pointer is refused, in force or not, and no promotion covers it up."""
    for serial in (2, 3):
        data = full.log("toy", "champion")[serial - 1][1]
        spoil(depot.stored(sha256(data)))
        with pytest.raises(IntegrityError, match="is damaged"):
            full.history("toy", "champion")
        with pytest.raises(IntegrityError, match="is damaged"):
            full.promote("toy", "champion", "1.0.0")
        spoil(depot.stored(sha256(data)))
    assert len(full.history("toy", "champion")) == 3


def test_a_damaged_manifest_is_published_again(full: OciRegistry, depot: Depot) -> None:
    """A version whose artifact is no artifact any more is refused, and mended by its publisher."""
    tag = f"1.2.0-{bundle('1.2.0').id[:12]}"
    url = f"http://127.0.0.1:{depot.port}/v2/team/toy/manifests/"
    other = httpx.get(url + "alias-champion", headers={"Accept": MANIFEST_TYPE}).content
    httpx.put(url + tag, content=other, headers={"Content-Type": MANIFEST_TYPE}).raise_for_status()
    with pytest.raises(IntegrityError, match=r"toy:1\.2\.0-.*is refused"):
        full.resolve(Ref("toy", "1.2.0"))

    full.publish(bundle("1.2.0"))
    assert full.fetch(full.resolve(Ref("toy", "1.2.0"))) == bundle("1.2.0")


def test_garbage_collection_leaves_what_is_published(depot: Depot) -> None:
    """The server's own collector keeps bundle, signature, alias and log, and old tags' remains go."""
    registry = depot.open()
    target = registry.publish(SIGNED)
    registry.sign(target, b"later")
    for reason in ("one", "two", "three"):
        registry.promote("toy", "champion", "1.0.0", reason)
    signed = dataclasses.replace(bundle(), signature=b"later")

    said = depot.collect_garbage()
    again = depot.open()
    assert "manifest eligible for deletion" in said
    assert not depot.stored(sha256(SIGNED.signature)).exists()
    assert again.fetch(again.resolve(TOY)) == signed
    assert [p.reason for p in again.history("toy", "champion")] == ["one", "two", "three"]
    assert again.promote("toy", "champion", "1.0.0").serial == 4


def test_collect_removes_what_nobody_needs(full: OciRegistry, depot: Depot) -> None:
    """Versions that no alias needs go, with what only they had; the rest stays, and may come back."""
    card = sha256(bundle("1.0.0").files["card.md"])
    kept = collect(full, "toy", keep=2, grace_days=1, delete=True)
    assert kept.versions == ()  # too young
    times = full.published("toy")
    assert times.keys() == {*VERSIONS}
    assert all(abs(time.time() - moment) < 60 for moment in times.values())
    assert collect(full, "toy", keep=2, grace_days=0).versions == ("1.0.0",)
    assert full.versions("toy") == [*VERSIONS]

    assert collect(full, "toy", keep=2, grace_days=0, delete=True).versions == ("1.0.0",)
    depot.collect_garbage()
    again = depot.open()
    assert again.versions("toy") == ["1.1.0", "1.2.0"]
    assert not depot.stored(card).exists()
    assert [again.fetch(again.resolve(Ref("toy", v))).manifest.version for v in VERSIONS[1:]]
    assert len(again.history("toy", "champion")) == 3
    again.publish(bundle("1.0.0"))
    assert again.fetch(again.resolve(Ref("toy", "1.0.0"))) == bundle("1.0.0")


def test_remove_version_spares_other_tags(full: OciRegistry, depot: Depot) -> None:
    """A manifest that another tag names is not deleted, for that tag would vanish too."""
    url = f"http://127.0.0.1:{depot.port}/v2/team/toy/manifests/"
    tag = f"1.0.0-{bundle().id[:12]}"
    data = httpx.get(url + tag, headers={"Accept": MANIFEST_TYPE}).content
    httpx.put(url + "stable", content=data, headers={"Content-Type": MANIFEST_TYPE})
    full.remove_version("toy", "9.9.9")
    with pytest.raises(RegistryError, match="also tagged stable"):
        full.remove_version("toy", "1.0.0")

    assert full.versions("toy") == [*VERSIONS]
    assert full.fetch(full.resolve(Ref("toy", "1.0.0"))) == bundle()
    full.remove_version("toy", "1.1.0")
    assert full.versions("toy") == ["1.0.0", "1.2.0"]
