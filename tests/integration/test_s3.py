"""A bucket is a registry: against moto's server, and against servers that break the rules.

moto honours `If-None-Match: *` and `If-Match` when it is written, and `If-None-Match` when it is
read; it checks signatures when it is told to. But it looks and writes in two steps, so here it
serves one request at a time, and what S3 does about two at once (409) is shown by a server of ours.
moto lists to anybody, forbids nothing by key, redirects to no region, expires no key and knows no
host but its own: hosts that name the bucket are tested by their URLs alone.
"""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from mlembed.bundle.bundle import sha256, write_directory
from mlembed.bundle.manifest import File
from mlembed.errors import (
    IntegrityError,
    NotFoundError,
)
from mlembed.registry.collecting import collect
from mlembed.registry.pointer import Ref
from mlembed.registry.s3.bucket import BucketStore
from processes import run_script
from registry.buckets import ANYBODY, host, made, moto_server, opened, spoil, store_of
from registry.hostile import random_bytes
from registry.stock import VERSIONS, bundle
from registry.test_concurrency import raced
from registry.test_contract import RegistryContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlembed.bundle.bundle import Bundle
    from mlembed.registry.store import Polled
    from mlembed.registry.tree import TreeRegistry

ALIAS = "toy/aliases/champion.json"
OPEN = """
    from urllib.parse import urlsplit
    from mlembed.registry.s3.bucket import open_bucket

    def opened():
        return open_bucket(urlsplit(sys.argv[1]), None)
"""


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Return the URL of moto's server."""
    with moto_server() as url:
        yield url


@pytest.fixture
def location(moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the location of a registry in a bucket of its own."""
    return made(monkeypatch, moto)


@pytest.fixture
def source(location: str) -> TreeRegistry:
    """Return an empty registry in a bucket."""
    return opened(location)


class TestBucketRegistry(RegistryContract):
    """A bucket."""

    @pytest.fixture
    def source(self, location: str) -> TreeRegistry:
        """Return an empty registry in a bucket."""
        return opened(location)

    def promote(self, source: TreeRegistry, version: Bundle) -> None:
        """Move the pointer."""
        source.promote(version.manifest.name, "champion", version.manifest.version)


def test_registry_of_a_bucket_lives(source: TreeRegistry, location: str, tmp_path: Path) -> None:
    """Publish, sign, promote, roll back, read as a host and as another publisher, collect."""
    for version in VERSIONS:
        source.publish(bundle(version))
        source.promote("toy", "champion", version, f"because of {version}")
    source.rollback("toy", "champion", "was wrong")
    target = source.resolve(Ref("toy"))
    source.sign(target, b"{}")

    other = opened(location)

    assert str(other) == location
    assert other.resolve(Ref("toy")) == target
    assert (target.version, other.signature(target)) == ("1.1.0", b"{}")
    assert other.models() == ["toy"]
    assert other.versions("toy") == list(VERSIONS)
    history = other.history("toy", "champion")
    assert [pointer.version for pointer in history] == [*VERSIONS, "1.1.0"]
    assert [pointer.prev for pointer in history[1:]] == [item.digest for item in history[:-1]]
    assert abs(other.published("toy")["1.0.0"] - time.time()) < 60
    follower = host(location, tmp_path)
    assert follower.fetch(follower.resolve(Ref("toy"))).id == target.bundle_id
    collected = collect(other, "toy", keep=0, grace_days=0, delete=True)
    assert collected.versions == ("1.0.0", "1.2.0")
    assert collected.n_files > 0
    assert other.versions("toy") == ["1.1.0"]
    assert other.fetch(target).id == target.bundle_id


def test_create_by_many(location: str) -> None:
    """However many create one file at once, one of them made it."""
    script = f"""{OPEN}
    def create(number):
        def job():
            store, data = opened().store, str(number).encode()
            return [n for n in range(25) if store.create(f"toy/log/champion/{{n}}.json", data)]
        return job

    race([create(number) for number in range(4)])
    """

    said = raced(script, location)

    assert sorted(n for mine in said for n in mine) == list(range(25))


def test_publish_of_one_version_by_many(location: str, tmp_path: Path) -> None:
    """Of different bundles under one number one is published; the others hear of the conflict."""
    for number in range(4):
        write_directory(bundle(note=str(number)), tmp_path / str(number))
    script = f"""{OPEN}
    def publish(number):
        bundle = read_directory(Path(sys.argv[2]) / str(number))
        return lambda: opened().publish(bundle).bundle_id

    race([publish(number) for number in (0, 1, 2, 3)])
    """

    said = raced(script, location, tmp_path)

    registry = opened(location)
    target = registry.resolve(Ref("toy", "1.0.0"))
    assert sorted(said) == sorted([target.bundle_id, *["ConflictError"] * 3])
    assert registry.fetch(target).id in {bundle(note=str(number)).id for number in range(4)}


def test_promote_by_many(source: TreeRegistry, location: str) -> None:
    """Serials have no gap and no repeat, and each pointer follows from the one before."""
    for version in VERSIONS:
        source.publish(bundle(version))
    script = f"""{OPEN}
    def promote(number):
        def job():
            registry = opened()
            versions = registry.versions("toy")
            return [
                registry.promote("toy", "champion", versions[(number + i) % 3], f"{{number}}").serial
                for i in range(5)
            ]
        return job

    race([promote(number) for number in range(4)])
    """

    said = raced(script, location)

    history = source.history("toy", "champion")
    serials = [pointer.serial for pointer in history]
    assert serials == list(range(1, 21))
    assert sorted(serial for mine in said for serial in mine) == serials
    assert [pointer.prev for pointer in history[1:]] == [item.digest for item in history[:-1]]
    assert source.pointer("toy", "champion") == history[-1]


def test_child_reads_after_its_parent_has_published(location: str, tmp_path: Path) -> None:
    """A forked child reads, lists and polls at once, and is told that it cannot publish."""
    write_directory(bundle(), tmp_path / "bundle")
    script = f"""{OPEN}
    from mlembed.registry.pointer import Ref

    bundle, registry = read_directory(Path(sys.argv[2]) / "bundle"), opened()
    registry.publish(bundle)
    registry.promote("toy", "champion", "1.0.0")
    assert registry.fetch(registry.resolve(Ref("toy"))) == bundle

    def read(source):
        assert source.fetch(source.resolve(Ref("toy"))) == bundle
        assert len(source.history("toy", "champion")) == 1
        return source.versions("toy")

    race([
        lambda: read(registry),
        lambda: read(opened()),
        lambda: registry.promote("toy", "champion", "1.0.0").serial,
    ])
    assert registry.promote("toy", "champion", "1.0.0").serial == 2
    """

    said = raced(script, location, tmp_path)  # kills what hangs, after a minute

    assert sorted(map(str, said)) == ["RegistryError", "['1.0.0']", "['1.0.0']"]


def test_reading_loads_no_obstore(source: TreeRegistry, location: str) -> None:
    """A host that resolves, fetches, polls, lists and finds nothing never loads obstore."""
    source.publish(bundle())
    source.promote("toy", "champion", "1.0.0")
    script = f"""
    import sys
    {OPEN}
    from mlembed.errors import NotFoundError
    from mlembed.registry.pointer import Ref

    source = opened()
    source.fetch(source.resolve(Ref("toy")))
    source.history("toy", "champion")
    try:
        source.resolve(Ref("toy", "canary"))
    except NotFoundError as error:
        assert "champion" in str(error)
    assert "obstore" not in sys.modules
    """

    run_script(script, location)


def test_moto_honours_conditions(moto: str, source: TreeRegistry) -> None:
    """What the other tests stand on: nothing is overwritten, or sent again, against the rules."""
    store = store_of(source)

    url = store._place("toy/a")
    assert (
        httpx.put(url, content=b"1", headers={**ANYBODY, "If-None-Match": "*"}).status_code == 200
    )
    assert (
        httpx.put(url, content=b"2", headers={**ANYBODY, "If-None-Match": "*"}).status_code == 412
    )
    assert httpx.put(url, content=b"3", headers={**ANYBODY, "If-Match": '"x"'}).status_code == 412
    found = httpx.get(url, headers=ANYBODY)
    assert found.content == b"1"
    again = httpx.get(url, headers={**ANYBODY, "If-None-Match": found.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert url.startswith(moto)


def test_poll_asks_only_for_what_is_new(source: TreeRegistry) -> None:
    """The ETag of a pointer answers the next look, until it moves."""
    source.publish(bundle())
    source.promote("toy", "champion", "1.0.0")
    first = source.poll("toy", "champion", "")

    second = source.poll("toy", "champion", first.etag)
    source.promote("toy", "champion", "1.0.0")
    third = source.poll("toy", "champion", second.etag)

    assert first.data
    assert (second.data, second.etag, second.unchanged) == (None, first.etag, True)
    assert third.data not in (None, first.data)
    assert source.poll("toy", "canary", "").data is None


def test_create_keeps_what_is_there(source: TreeRegistry) -> None:
    """Create never overwrites, replace does, remove removes and may be repeated."""
    store = store_of(source)

    assert store.create("toy/versions/1.json", b"first")
    assert not store.create("toy/versions/1.json", b"second")
    assert store.read("toy/versions/1.json", 5) == b"first"
    store.replace("toy/versions/1.json", b"third")
    assert store.read("toy/versions/1.json", 5) == b"third"
    for _ in range(2):
        store.remove("toy/versions/1.json")
        assert store.read("toy/versions/1.json", 5) is None
    assert list(store.listing("toy/versions")) == []


def test_download_streams_and_verifies(source: TreeRegistry) -> None:
    """A file comes whole and checked, or is refused, or is said to be missing."""
    store, data = store_of(source), random_bytes(1, 3_000_000)
    store.replace("toy/blob", data)
    file, other = (
        File(path="model.onnx", size=len(data), sha256=digest, role="model")
        for digest in (sha256(data), "0" * 64)
    )
    sink = io.BytesIO()

    assert store.download("toy/blob", file, sink)

    assert sink.getvalue() == data
    assert not store.download("toy/none", file, io.BytesIO())
    with pytest.raises(IntegrityError, match="another digest"):
        store.download("toy/blob", other, io.BytesIO())


def test_listing_goes_on_beyond_a_page(source: TreeRegistry) -> None:
    """More names than a page holds are all found, each once, with their size and age."""
    store = store_of(source)
    place = store._place("toy/log/champion")
    with ThreadPoolExecutor(8) as pool, httpx.Client(headers=ANYBODY) as client:
        jobs = [
            pool.submit(client.put, f"{place}/{number}.json", content=b"x" * (number % 7))
            for number in range(1, 1_102)
        ]
        assert {job.result().status_code for job in jobs} == {200}
    store.replace("toy/log/champion/deeper/1.json", b"")
    store.replace("toy/log/champion/.hidden", b"")

    listed = list(store.listing("toy/log/champion"))

    numbers = {f"{number}.json": number % 7 for number in range(1, 1_102)}
    assert len(listed) == 1_102
    assert {item.name: item.size for item in listed} == {**numbers, "deeper": 0}
    assert all(abs(item.modified - time.time()) < 60 for item in listed if item.name != "deeper")
    assert [item.name for item in store.listing("toy/log")] == ["champion"]
    assert list(store.listing("toy/none")) == []


def test_refresh_makes_young_and_loses_nothing(source: TreeRegistry) -> None:
    """What is refreshed is as it was and younger; what is gone stays gone."""
    store = store_of(source)
    store.replace("toy/a", b"data")
    (before,) = store.listing("toy")
    time.sleep(1.1)  # the age of an object has whole seconds

    store.refresh("toy/a")
    store.refresh("toy/none")

    (after,) = store.listing("toy")
    assert after.modified > before.modified
    assert store.read("toy/a", 10) == b"data"


def test_refresh_gives_way(source: TreeRegistry) -> None:
    """What somebody else writes while it is refreshed is not lost."""

    class Late(BucketStore):
        def poll(self, path: str, max_bytes: int, etag: str) -> Polled:
            found = super().poll(path, max_bytes, etag)
            store.replace(path, b"mended")
            return found

    store = store_of(source)
    store.replace("toy/a", b"damaged")

    Late(store.bucket, store._transport, store._keys, "").refresh("toy/a")

    assert store.read("toy/a", 10) == b"mended"


def test_tampered_files_are_refused(
    moto: str, source: TreeRegistry, location: str, tmp_path: Path
) -> None:
    """A changed blob, manifest or pointer is refused by publishers and hosts, and can be mended."""
    target = source.publish(bundle())
    source.promote("toy", "champion", "1.0.0")
    pointer = source.poll("toy", "champion", "").data
    assert pointer is not None
    digests = [target.bundle_id, *(file.sha256 for file in bundle().manifest.files)]
    for digest in digests:
        blob = f"toy/blobs/sha256/{digest}"
        data = source.store.read(blob, 1 << 20)
        assert data
        spoil(moto, location, blob, data[:-1] + bytes([data[-1] ^ 1]))
        follower = host(location, tmp_path / digest)

        with pytest.raises(IntegrityError):
            source.fetch(target)
        with pytest.raises(IntegrityError):
            follower.fetch(follower.resolve(Ref("toy")))
        assert source.publish(bundle()) == target
        assert source.fetch(target) == bundle()
    spoil(moto, location, ALIAS, pointer.replace(b"1.0.0", b"2.0.0") + b" ")
    with pytest.raises(IntegrityError):
        source.resolve(Ref("toy"))


def test_open_bucket_makes_nothing(source: TreeRegistry) -> None:
    """Looking at a registry never makes it; only publishing does."""
    with pytest.raises(NotFoundError, match="has no model 'toy'"):
        source.resolve(Ref("toy"))
    assert source.models() == []
    assert list(source.store.listing("")) == []
