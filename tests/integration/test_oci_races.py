"""Several publishers and promoters of a real OCI registry at once: what is lost is told."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import httpx
import pytest

from integration.depot import BINARY, MISSING, TOY, Depot, Relay, follow, host
from mlembed.bundle.bundle import write_directory
from mlembed.errors import ConflictError, IntegrityError, PointerError
from mlembed.registry.oci.artifact import MANIFEST_TYPE
from mlembed.registry.pointer import Ref
from registry.stock import bundle
from registry.test_concurrency import raced

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.registry.oci.oci import OciRegistry
    from mlembed.registry.pointer import Pointer
    from registry.hostile import Asked

pytestmark = pytest.mark.skipif(BINARY is None, reason=MISSING)


def test_two_publish_one_version_at_once(depot: Depot, relay: Relay) -> None:
    """Who is overtaken between look and write hears of it, and nobody gets the spoilt version."""
    slow, fast = relay.open(), depot.open()
    others = [bundle(note="fast")]

    def overtake(asked: Asked) -> None:
        if asked.method == "PUT" and "/manifests/" in asked.path and others:
            fast.publish(others.pop())

    relay.before = overtake
    with pytest.raises(ConflictError, match=r"the version is spoilt.*Publish the next version"):
        slow.publish(bundle(note="slow"))

    for reader in (slow, fast):
        with pytest.raises(IntegrityError, match=r"toy@1\.0\.0 in .* is spoilt: 2 bundles"):
            reader.resolve(Ref("toy", "1.0.0"))
        with pytest.raises(ConflictError, match="published already"):
            reader.publish(bundle(note="slow"))
    assert slow.next_version("toy") == "1.1.0"
    assert slow.publish(bundle("1.1.0")).version == "1.1.0"
    slow.remove_version("toy", "1.0.0")
    assert slow.versions("toy") == ["1.1.0"]


def test_processes_publish_one_version(depot: Depot, tmp_path: Path) -> None:
    """Of several processes one wins, or each reader and a publisher hears that the version is lost."""
    registry = depot.open()
    for number in range(4):
        write_directory(bundle(note=str(number)), tmp_path / str(number))
    script = """
    from urllib.parse import urlsplit
    from mlembed.registry.oci.oci import open_oci

    def publish(number):
        bundle = read_directory(base / str(number))
        return lambda: open_oci(urlsplit(sys.argv[2]), None).publish(bundle).bundle_id

    base = Path(sys.argv[1])
    race([publish(number) for number in (0, 1, 2, 3)])
    """

    said = raced(script, tmp_path, depot.location("team"))
    winners = {word for word in said if word != "ConflictError"}
    assert len(said) == 4
    assert winners <= {bundle(note=str(number)).id for number in range(4)}
    try:
        target = registry.resolve(Ref("toy", "1.0.0"))
    except IntegrityError as error:
        assert "is spoilt" in str(error)  # noqa: PT017  either may be
        assert "ConflictError" in said
    else:
        assert winners == {target.bundle_id}
        assert said.count("ConflictError") == 3


def test_an_overwritten_promotion_begins_again(full: OciRegistry, relay: Relay) -> None:
    """Who finds the own pointer gone right after writing it promotes again, behind what came."""
    url = f"http://127.0.0.1:{relay.depot.port}/v2/team/toy/manifests/alias-champion"
    stale = [httpx.get(url, headers={"Accept": MANIFEST_TYPE}).content]

    def overwrite(asked: Asked) -> None:
        if asked.method == "PUT" and asked.path.endswith("alias-champion") and stale:
            full.promote("toy", "champion", "1.0.0", "kept")
            late = full.log("toy", "champion")[-1]
            httpx.put(url, content=stale.pop(), headers={"Content-Type": MANIFEST_TYPE})
            assert late[0] == 5
            full.promote("toy", "champion", "1.0.0", "came between")

    relay.after = overwrite
    pointer = relay.open().promote("toy", "champion", "1.1.0", "again")

    assert pointer.serial == 5
    history = full.history("toy", "champion")
    assert [p.reason for p in history[3:]] == ["came between", "again"]


def test_an_overwriting_promotion_is_seen_by_hosts(
    full: OciRegistry, relay: Relay, tmp_path: Path
) -> None:
    """What nobody can prevent, two promoters at one moment, is refused by who saw the first."""
    cache = tmp_path / "cache"
    seen: list[Pointer] = []

    def overtake(asked: Asked) -> None:
        if asked.method == "PUT" and asked.path.endswith("alias-champion") and not seen:
            seen.append(full.promote("toy", "champion", "1.0.0", "fast"))
            assert follow(host(full, cache)) == "1.0.0"

    relay.before = overtake
    slow = relay.open().promote("toy", "champion", "1.1.0", "slow")

    assert slow.serial == seen[0].serial
    assert full.history("toy", "champion")[-1].reason == "slow"
    with pytest.raises(PointerError, match=r"two with serial 4\. Its history has forked"):
        host(full, cache).resolve(TOY)


def test_a_stale_promotion_is_not_written(full: OciRegistry) -> None:
    """A pointer that does not follow the last one, by serial or by digest, is not taken."""
    last = full.pointer("toy", "champion")
    follower = dataclasses.replace(last, serial=4, prev=last.digest)
    for pointer in (
        dataclasses.replace(follower, serial=5),
        dataclasses.replace(follower, serial=3),
        dataclasses.replace(follower, prev="0" * 64),
        dataclasses.replace(follower, serial=1, prev=""),
    ):
        assert not full.append(pointer, pointer.sealed())

    assert full.pointer("toy", "champion") == last
    assert full.append(follower, follower.sealed())


def test_promoters_race(depot: Depot, full: OciRegistry) -> None:
    """However many promote at once, the log stays one whole chain of what they wrote."""
    script = """
    from urllib.parse import urlsplit
    from mlembed.registry.oci.oci import open_oci

    def promote(number):
        def job():
            registry = open_oci(urlsplit(sys.argv[1]), None)
            return [
                registry.promote("toy", "champion", "1.0.0", f"{number}-{i}").digest
                for i in range(8)
            ]
        return job

    race([promote(number) for number in (0, 1)])
    """

    said = raced(script, depot.location("team"))
    history = full.history("toy", "champion")
    written = [pointer.digest for pointer in history[3:]]
    assert [len(digests) for digests in said] == [8, 8]
    assert [pointer.serial for pointer in history] == [*range(1, len(history) + 1)]
    assert {*written} <= {digest for digests in said for digest in digests}
    assert len(written) >= 8
