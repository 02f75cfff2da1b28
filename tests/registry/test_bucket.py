"""Stores that break the rules, answer nonsense or are not there: nothing is lost or given away."""

from __future__ import annotations

import datetime as dt
import os
import ssl
import time
import traceback
from typing import TYPE_CHECKING

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mlembed.errors import IntegrityError, RegistryError
from mlembed.registry.http.transport import Transport
from mlembed.registry.pointer import Ref
from mlembed.registry.s3.bucket import BucketStore
from mlembed.registry.s3.sigv4 import Bucket, Keys
from registry.buckets import Everywhere, opened, page, store_of, use
from registry.hostile import Answer, Server, sequence
from registry.stock import bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OK, GONE = Answer(200, {"ETag": '"1"'}), Answer(404)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Return a store that a test defines."""
    with Server() as server:
        use(monkeypatch, server.url)
        yield server


def test_store_that_overwrites_is_never_written(server: Server) -> None:
    """A server that ignores If-None-Match is found out before the first file is there."""
    server.routes = Everywhere(PUT=OK, GET=GONE, HEAD=GONE)

    for call in (lambda: opened().publish(bundle()), lambda: opened().require_writable("toy")):
        with pytest.raises(RegistryError, match=r"overwrites what exists .*If-None-Match: \*"):
            call()

    written = [asked.path for asked in server.asked if asked.method == "PUT"]
    assert written == ["/models/toy/.created-once"] * 4
    assert all(a.headers["if-none-match"] == "*" for a in server.asked if a.method == "PUT")


def test_create_tries_again_where_both_were_refused(server: Server) -> None:
    """A conflict (409) that left nothing behind is tried again; one that did is lost."""
    store = store_of(opened())
    server.routes = Everywhere(PUT=sequence(Answer(412), Answer(409), OK), HEAD=GONE)

    assert store.create("toy/a", b"data")

    assert [asked.method for asked in server.asked] == ["PUT", "HEAD", "PUT", "HEAD", "PUT"]
    server.routes = Everywhere(PUT=Answer(409), HEAD=sequence(GONE, OK))
    assert not store.create("toy/a", b"data")
    server.routes = Everywhere(PUT=Answer(409), HEAD=GONE)
    with pytest.raises(RegistryError, match="others are writing it; try again"):
        store.create("toy/a", b"data")


@pytest.mark.parametrize("status", [400, 403, 404, 500, 507])
def test_what_a_store_says_is_not_shown(server: Server, status: int) -> None:
    """However a server refuses, the error is ours, and quotes nothing that it may have echoed."""
    echo = Answer(status, {}, b"<Error><CanonicalRequest>hunter2</CanonicalRequest></Error>")
    server.routes = Everywhere(PUT=echo, DELETE=echo, GET=echo, HEAD=echo)
    store = store_of(opened())
    calls: list[Callable[[], object]] = [
        lambda: store.replace("toy/a", b"data"),
        lambda: store.create("toy/a", b"data"),
        lambda: list(store.listing("toy")),
    ]

    for call in calls:
        with pytest.raises(RegistryError) as caught:
            call()

        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_listing_follows_the_tokens(server: Server) -> None:
    """Each page is asked for with what the one before said, word for word."""
    server.routes["/models/"] = sequence(page("a", rest="1/+= é&amp;"), page("b&amp;", ".c", ""))

    names = [item.name for item in opened().store.listing("toy")]

    assert names == ["a", "b&"]
    asked = [httpx.URL(f"http://x{asked.path}").params for asked in server.asked]
    assert [query.get("continuation-token") for query in asked] == [None, "1/+= é&"]
    assert {(query["prefix"], query["delimiter"], query["list-type"]) for query in asked} == {
        ("toy/", "/", "2")
    }


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b""),
        Answer(body=b"<html></html>"),
        Answer(body=b"\xff\xfe<\x00"),
        Answer(body=b'<!DOCTYPE r [<!ENTITY a "b">]><R><IsTruncated>false</IsTruncated></R>'),
        page("a", prefix="other/"),
        page("a", truncated="true"),
        Answer(body=b"<R><Contents><Key>toy/a</Key></Contents></R>"),
        Answer(206, {}, b""),
        Answer(204),
        Answer(404),
    ],
    ids=str,
)
def test_listing_refuses_what_is_none(server: Server, answer: Answer) -> None:
    """Names that were not all told are no names: a serial might be missing among them."""
    server.routes["/models/"] = answer

    with pytest.raises(RegistryError):
        list(opened().store.listing("toy"))


def test_listing_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that always has one page more is not asked for ever."""
    monkeypatch.setattr("mlembed.registry.s3.bucket._MAX_PAGES", 5)
    server.routes["/models/"] = page("a", rest="again")

    with pytest.raises(RegistryError, match="too many names in 'toy'"):
        list(opened().store.listing("toy"))
    assert len(server.asked) == 5


def test_read_refuses_what_is_larger(server: Server) -> None:
    """What has more bytes than it may have is no such file; a long word for none is none."""
    store = store_of(opened())
    server.routes = Everywhere(GET=sequence(Answer(body=bytes(5)), Answer(body=bytes(100_000))))

    with pytest.raises(IntegrityError, match="has more than 4 bytes"):
        store.read("toy/a", 4)
    with pytest.raises(RegistryError, match="sends more than"):
        store.read("toy/a", 4)
    server.routes = Everywhere(GET=Answer(404, {}, bytes(5_000)))
    assert store.read("toy/a", 4) is None


@pytest.mark.parametrize("in_host", [True, False])
def test_store_asks_where_it_was_opened(
    server: Server, monkeypatch: pytest.MonkeyPatch, *, in_host: bool
) -> None:
    """All goes to one endpoint, whose host or path names the bucket, whatever is set later."""
    server.routes = Everywhere(GET=page("a", prefix="p/toy/"), PUT=OK, HEAD=OK, DELETE=Answer(204))
    bucket = Bucket("models", "p", server.url, "r1", in_host)
    store = BucketStore(bucket, Transport(server.url), Keys("AKIA", "hunter2"), "")
    use(monkeypatch, "http://127.0.0.1:9", ("OTHER", "other", "other"))
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", str(not in_host))

    store.read("toy/a", 1_000)
    store.replace("toy/a", b"data")
    store.remove("toy/a")
    assert [item.name for item in store.listing("toy")] == ["a"]

    root = "" if in_host else "/models"
    paths = [asked.path.partition("?")[0] for asked in server.asked]
    assert paths == [*[f"{root}/p/toy/a"] * 3, f"{root}/"]
    put = server.asked[1].headers
    assert "Credential=AKIA/" in put["authorization"]
    assert "/r1/s3/" in put["authorization"]
    assert "x-amz-security-token" not in put


def test_forked_child_never_writes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process than the one that wrote first is refused before obstore could hang in it."""
    server.routes = Everywhere(PUT=OK)
    store = store_of(opened())
    store.replace("toy/a", b"data")
    monkeypatch.setattr(os, "getpid", lambda: 1)

    with pytest.raises(RegistryError, match="was forked from one that has"):
        store.replace("toy/a", b"data")
    assert len(server.asked) == 1


def vouched_for(ca_file: Path) -> ssl.SSLContext:
    """Return what a server speaks TLS with whose certificate that in *ca_file* has signed.

    obstore refuses what `registry.authority` makes: a server's certificate that signs itself.
    """
    now, keys = dt.datetime.now(dt.UTC), [ec.generate_private_key(ec.SECP256R1()) for _ in "12"]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in "12"]
    for key, name, is_ca in zip(keys, names, (True, False), strict=True):
        certificate = (
            x509.CertificateBuilder(names[0], name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=2))
            .not_valid_after(now + dt.timedelta(days=2))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
            .sign(keys[0], hashes.SHA256())
        )
        path = ca_file if is_ca else ca_file.with_name("server.pem")
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file = ca_file.with_name("server.key")
    form, style = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key_file.write_bytes(keys[1].private_bytes(form, style, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_file)
    return context


def test_own_authority_is_trusted_for_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store with a certificate of one's own is read and written with ca_file, and not without."""
    ca_file = tmp_path / "ca.pem"
    with Server(vouched_for(ca_file)) as server:
        use(monkeypatch, server.url)
        server.routes = Everywhere(PUT=OK, GET=Answer(200, {}, b"data"))
        store = store_of(opened(ca_file=str(ca_file)))

        store.replace("toy/a", b"data")

        assert store.read("toy/a", 10) == b"data"
        with pytest.raises(RegistryError, match="cannot write"):
            opened().store.replace("toy/a", b"data")
        with pytest.raises(
            RegistryError, match=r"cannot read certificates: No such file .*none\.pem"
        ):
            opened(ca_file=str(tmp_path / "none.pem")).store.replace("toy/a", b"data")
        (tmp_path / "bad.pem").write_text("nonsense")
        with pytest.raises(RegistryError, match=r"cannot read certificates: .*PEM in"):
            opened(ca_file=str(tmp_path / "bad.pem")).store.replace("toy/a", b"data")


def test_unreachable_store_is_an_error_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing listens, reading and writing end within seconds and say what to look at."""
    with Server() as server:
        use(monkeypatch, server.url)
    registry = opened()
    began = time.monotonic()

    with pytest.raises(RegistryError, match="refuses the connection"):
        registry.resolve(Ref("toy"))
    with pytest.raises(RegistryError, match=r"s3://models: GenericError; check the environment"):
        registry.publish(bundle())
    assert time.monotonic() - began < 20
