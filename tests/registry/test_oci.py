"""An OCI registry is read without belief, whatever server it is on, and its location read one way."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from mlembed.bundle.bundle import sha256
from mlembed.errors import (
    IntegrityError,
    MlembedError,
    NotFoundError,
    RegistryError,
    SettingsError,
)
from mlembed.registry.http.transport import Transport
from mlembed.registry.oci.distribution import Distribution
from mlembed.registry.oci.modelpack import Artifact, pointer_layer, write_alias
from mlembed.registry.oci.oci import OciRegistry, open_oci
from mlembed.registry.pointer import Ref, Target
from mlembed.settings import Settings
from registry.hostile import Answer, Server, document
from registry.stock import bundle

if TYPE_CHECKING:
    from collections.abc import Iterator


TAGS = "/v2/toy/tags/list"
ALIAS = "/v2/toy/manifests/alias-champion"
DATA = b"some blob"
BLOB = f"/v2/toy/blobs/sha256:{sha256(DATA)}"


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a server that is no registry yet."""
    with Server() as running:
        yield running


@pytest.fixture
def oci(server: Server) -> Iterator[Distribution]:
    """Return a client of it that gives up soon."""
    transport = Transport(server.url, timeout_seconds=2.0, deadline_seconds=5.0)
    yield Distribution(transport)
    transport.close()


@pytest.fixture
def registry(server: Server, oci: Distribution) -> OciRegistry:
    """Return the registry at its root."""
    return OciRegistry(f"127.0.0.1:{server.port}", "", oci)


def listing(*names: str, key: str = "tags") -> Answer:
    """Return a list of one page."""
    return Answer(body=json.dumps({"name": "toy", key: names}).encode())


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_models_are_named_where_none_are_listed(
    server: Server, registry: OciRegistry, status: int
) -> None:
    """A registry that does not list its repositories says to name the model, and what is unknown."""
    server.routes["/v2/_catalog"] = Answer(status)

    with pytest.raises(RegistryError, match=r"does not list its models; name one"):
        registry.models()
    with pytest.raises(NotFoundError, match=r"no model 'toy'.*does not list them"):
        registry.resolve(Ref("toy"))


def test_models_are_not_denied_while_the_registry_is_busy(
    server: Server, registry: OciRegistry
) -> None:
    """A failure that may pass is told as one, and not as a missing model."""
    server.routes["/v2/_catalog"] = Answer(503, {"Retry-After": "0"})

    for ask in (registry.models, lambda: registry.resolve(Ref("toy"))):
        with pytest.raises(RegistryError, match="cannot serve this now") as caught:
            ask()
        assert not isinstance(caught.value, NotFoundError)


def test_models_are_those_below_the_prefix(server: Server, oci: Distribution) -> None:
    """Other repositories are no models, and neither are those without a version."""
    names = ("a/b/toy", "a/b/web", "a/b/c/d", "a/toy", "toy", "a/b/UPPER")
    server.routes |= {
        "/v2/_catalog": listing(*names, key="repositories"),
        "/v2/a/b/toy/tags/list": listing("1.0.0-0123456789ab", "alias-champion", "latest"),
        "/v2/a/b/web/tags/list": listing("latest", "1.0.0", "1.0.0-short", "01.0.0-0123456789ab"),
    }
    registry = OciRegistry("h", "a/b", oci)

    assert registry.models() == ["toy"]
    assert registry.versions("toy") == ["1.0.0"]
    assert registry.aliases("toy") == ["champion"]


def pointed(registry: OciRegistry, server: Server, etag: str | None, *, heeded: bool) -> None:
    """Serve an alias by a server with *etag*, which may not heed what a client has."""
    manifest = write_alias("toy", "champion", [pointer_layer(1, DATA)])
    server.routes[BLOB] = Answer(body=DATA)
    headers = {} if etag is None else {"ETag": etag}
    plain = Answer(headers=headers, body=manifest)
    server.routes[ALIAS] = document(manifest, etag) if heeded and etag else plain
    assert registry.poll("toy", "champion", "").data == DATA


@pytest.mark.parametrize("etag", ['"sha256:x"', 'W/"x"', None, "", '"' + "x" * 300 + '"'])
@pytest.mark.parametrize("heeded", [True, False])
def test_poll_of_what_has_not_changed_is_one_request(
    server: Server, registry: OciRegistry, etag: str | None, *, heeded: bool
) -> None:
    """With any server an unchanged alias costs one request; a good one answers without a body."""
    pointed(registry, server, etag, heeded=heeded)
    first = registry.poll("toy", "champion", "")
    server.asked.clear()

    again = registry.poll("toy", "champion", first.etag)
    assert (again.data, again.etag, again.unchanged) == (None, first.etag, True)
    assert len(server.asked) == 1
    assert server.asked[0].headers["if-none-match"] == first.etag
    assert server.asked[0].headers["accept"] == "application/vnd.oci.image.manifest.v1+json"
    assert len(first.etag) <= 256


def test_poll_of_what_has_changed(server: Server, registry: OciRegistry) -> None:
    """Another pointer is read, and none is none."""
    pointed(registry, server, '"a"', heeded=True)

    assert registry.poll("toy", "champion", '"b"').data == DATA
    assert registry.poll("toy", "other", '"b"') == (None, "", False)


@pytest.mark.parametrize("answer", [Answer(404), Answer(body=b"x" * len(DATA)), Answer(body=b"")])
def test_pointers_are_verified(server: Server, registry: OciRegistry, answer: Answer) -> None:
    """A pointer that is gone or other than its digest is refused, by poll and by log."""
    pointed(registry, server, '"a"', heeded=True)
    server.routes[BLOB] = dataclasses.replace(
        answer, headers={"Docker-Content-Digest": f"sha256:{sha256(DATA)}"}
    )

    for ask in (
        lambda: registry.poll("toy", "champion", ""),
        lambda: registry.log("toy", "champion"),
    ):
        with pytest.raises(IntegrityError, match=f"{sha256(DATA)} in .*/toy is (gone|damaged)"):
            ask()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(204),
        Answer(400),
        Answer(304),
        Answer(body=b"{}"),
        Answer(body=b"<html>"),
        Answer(body=b" " * (4 * 1024 * 1024 + 1)),
        Answer(body=write_alias("toy", "champion", [pointer_layer(1, b"x" * 65_537)])),
    ],
    ids=["204", "400", "304", "{}", "html", "huge", "huge pointer"],
)
def test_manifests_that_are_none_are_refused(
    server: Server, registry: OciRegistry, answer: Answer
) -> None:
    """Whatever a server answers for a manifest, the error is one of mlembed's."""
    target = Target("toy", "1.0.0", bundle().id)
    tag = f"1.0.0-{bundle().id[:12]}"
    server.routes |= {ALIAS: answer, f"/v2/toy/manifests/{tag}": answer, TAGS: listing(tag)}

    for ask in (
        lambda: registry.resolve(Ref("toy")),
        lambda: registry.resolve(Ref("toy", "1.0.0")),
        lambda: registry.log("toy", "champion"),
        lambda: registry.signature(target),
    ):
        with pytest.raises(MlembedError, match="/toy"):
            ask()


def test_a_tag_names_its_own_bundle_only(server: Server, registry: OciRegistry) -> None:
    """A tag that was moved to another bundle, or another model's, is refused."""
    tag = f"1.0.0-{bundle().id[:12]}"
    server.routes[TAGS] = listing(tag)
    for other in (bundle(note="other"), bundle("1.1.0"), bundle(name="other")):
        server.routes[f"/v2/toy/manifests/{tag}"] = Answer(body=Artifact.of(other).to_bytes())
        with pytest.raises(IntegrityError, match=f"toy:{tag} holds another bundle"):
            registry.resolve(Ref("toy", "1.0.0"))


def test_a_tag_without_a_manifest_is_no_version(server: Server, registry: OciRegistry) -> None:
    """A version whose manifest is gone is not there, is nobody's, and cannot be signed."""
    server.routes[TAGS] = listing("1.0.0-0123456789ab")

    with pytest.raises(NotFoundError, match=r"'toy' has no version '1\.0\.0'"):
        registry.resolve(Ref("toy", "1.0.0"))
    assert registry.published("toy") == {}
    target = Target("toy", "1.0.0", "0123456789ab" + "0" * 52)
    assert registry.signature(target) == b""
    with pytest.raises(NotFoundError, match="publish it first"):
        registry.sign(target, b"x")


def test_published_tells_no_time_that_it_does_not_know(
    server: Server, registry: OciRegistry
) -> None:
    """A version that does not say when it was published has no age."""
    artifact = dataclasses.replace(Artifact.of(bundle()), published="")
    tag = f"1.0.0-{bundle().id[:12]}"
    server.routes |= {
        TAGS: listing(tag),
        f"/v2/toy/manifests/{tag}": Answer(body=artifact.to_bytes()),
    }

    assert registry.published("toy") == {}


@pytest.mark.parametrize(
    ("location", "wanted"),
    [
        ("oci://ghcr.io/team/models", ("https://ghcr.io:443", "team/models/toy")),
        ("oci://ghcr.io:443/team/models/", ("https://ghcr.io:443", "team/models/toy")),
        ("oci://registry.example.com", ("https://registry.example.com:443", "toy")),
        ("oci://127.0.0.1:5000/a-b.c__d", ("http://127.0.0.1:5000", "a-b.c__d/toy")),
        ("oci://localhost/x", ("http://localhost:80", "x/toy")),
        ("oci://[::1]:5000/x", ("http://[::1]:5000", "x/toy")),
    ],
)
def test_open_oci_reads_locations(location: str, wanted: tuple[str, str]) -> None:
    """TLS is spoken with all but this machine, and a model is a repository below the prefix."""
    registry = open_oci(urlsplit(location), None)

    assert registry._server._transport.origin == wanted[0]
    assert registry._repository("toy").path == wanted[1]
    assert str(registry) == location.rstrip("/")


@pytest.mark.parametrize(
    "location",
    [
        "oci://user:hunter2@ghcr.io/team",
        "oci://ghcr.io/team?token=hunter2",
        "oci://ghcr.io/team#hunter2",
        "oci:///team",
        "oci://ghcr.io/Team",
        "oci://ghcr.io/a//b",
        "oci://ghcr.io/../b",
        "oci://ghcr.io/" + "a" * 191,
        "oci://a b/team",
    ],
)
def test_open_oci_refuses_what_is_no_location(location: str) -> None:
    """A malformed location is refused with what is expected, and without its secrets."""
    with pytest.raises(SettingsError) as caught:
        open_oci(urlsplit(location), None)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["a..b", "a-", "a._b", "a___b"])
def test_names_that_no_repository_may_have(registry: OciRegistry, name: str) -> None:
    """A model's name that OCI does not know is refused before anything is sent."""
    with pytest.raises(SettingsError, match=f"'{name}' can name no repository"):
        registry.versions(name)


@pytest.mark.parametrize("authorization", ["alice:hunter2", "hunter2"])
def test_open_oci_takes_the_login_of_its_settings(server: Server, authorization: str) -> None:
    """The settings' login comes first, as a token or as user and password."""
    server.routes["/v2/x/toy/tags/list"] = lambda asked: (
        listing("alias-a")
        if "authorization" in asked.headers
        else Answer(401, {"WWW-Authenticate": "Basic realm=x"})
    )
    registry = open_oci(
        urlsplit(f"oci://127.0.0.1:{server.port}/x"), Settings(registry_auth=authorization)
    )

    assert registry.aliases("toy") == ["a"]
    kind = "Basic " if ":" in authorization else "Bearer "
    assert server.asked[1].headers["authorization"].startswith(kind)
    assert "hunter2" not in f"{registry}{registry!r}"


def test_open_oci_takes_docker_s_login(
    server: Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a login of its own it takes docker's, and tells why that cannot be had."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    host = f"127.0.0.1:{server.port}"
    server.routes["/v2/x/toy/tags/list"] = lambda asked: (
        listing("alias-a")
        if asked.headers.get("authorization") == "Basic YWxpY2U6eA=="
        else Answer(401, {"WWW-Authenticate": "Basic realm=x"})
    )
    registry = open_oci(urlsplit(f"oci://{host}/x"), None)
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {host: "pass"}}))
    with pytest.raises(RegistryError, match=f"docker keeps the login for {host} in a helper"):
        registry.aliases("toy")
    auths = {host: {"auth": "YWxpY2U6eA=="}}
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))

    assert registry.aliases("toy") == ["a"]
