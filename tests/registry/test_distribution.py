"""OCI servers differ, break the rules and lie; each call bounds that, and says what is wrong."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from mlembed.bundle.bundle import sha256
from mlembed.errors import (
    IntegrityError,
    RegistryError,
)
from mlembed.registry.http.transport import Transport
from mlembed.registry.oci import distribution
from mlembed.registry.oci.distribution import Distribution
from registry.hostile import Answer, Server, sequence
from registry.stock import bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.hostile import Asked, Route

TAGS = "/v2/toy/tags/list"
UPLOADS = "/v2/toy/blobs/uploads/"
DATA = b"some blob"
BLOB = f"/v2/toy/blobs/sha256:{sha256(DATA)}"
LARGE = bytes(2 * 1024 * 1024)


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


def listing(*names: str, link: str = "") -> Answer:
    """Return a page of a list, which goes on at *link*."""
    headers = {"Link": link} if link else {}
    return Answer(headers=headers, body=json.dumps({"name": "toy", "tags": names}).encode())


@pytest.mark.parametrize(
    "form", ["<{}>; rel=next", '<{}>;x="y" ;rel="next"', '<a>;rel="b",<{}>;rel="next"']
)
def test_lists_are_followed_to_their_end(server: Server, oci: Distribution, form: str) -> None:
    """Pages go on at the next link, relative or absolute, and end where there is none."""
    server.routes |= {
        TAGS: listing("a", "b", link=form.format("/v2/toy/more?last=b")),
        "/v2/toy/more": listing("c", link=form.format(f"{server.url}/v2/toy/end")),
        "/v2/toy/end": listing("d"),
    }

    assert oci.tags("toy") == ["a", "b", "c", "d"]
    assert server.asked[0].path == f"{TAGS}?n=1000"


def test_lists_are_bounded(
    server: Server, oci: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that never ends is given up, by its pages and by its names."""
    server.routes[TAGS] = listing("a", "b", link=f"<{TAGS}>; rel=next")
    with pytest.raises(RegistryError, match="more than 1000 pages"):
        oci.tags("toy")
    monkeypatch.setattr(distribution, "_MAX_NAMES", 5)
    with pytest.raises(RegistryError, match="more than 5 tags"):
        oci.tags("toy")


@pytest.mark.parametrize("link", ["http://127.0.0.1:1/v2", "//example.org/v2", "http://[", "ftp:x"])
def test_lists_do_not_leave_their_server(server: Server, oci: Distribution, link: str) -> None:
    """A list that goes on elsewhere is refused before anybody is asked there."""
    server.routes[TAGS] = listing("a", link=f"<{link}>; rel=next")

    with pytest.raises(RegistryError, match="tags/list goes on at another server"):
        oci.tags("toy")


@pytest.mark.parametrize(
    "body",
    [b"", b"[", b"[]", b"{}", b'{"tags":"a"}', b'{"tags":[1]}', b'{"tags":[],"tags":[]}', b"\xff"],
)
def test_lists_that_are_none_are_refused(server: Server, oci: Distribution, body: bytes) -> None:
    """What is no list of texts is an error that says where."""
    server.routes[TAGS] = Answer(body=body)

    with pytest.raises(RegistryError, match="/v2/toy/tags/list is no"):
        oci.tags("toy")


def test_lists_may_be_empty(server: Server, oci: Distribution) -> None:
    """No repository is no tags, and so is null, as Go writes an empty list."""
    assert oci.tags("toy") == []
    server.routes[TAGS] = Answer(body=b'{"name":"toy","tags":null}')
    assert oci.tags("toy") == []


def uploading(server: Server, location: str, put: Route) -> None:
    """Make *server* take uploads at *location*."""
    server.routes[UPLOADS] = Answer(202, {"Location": location})
    server.routes[urlsplit(location).path] = put


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize(
    ("query", "wanted"),
    [("", ""), ("?", ""), ("?_state=a%3D%2Bb", "_state=a%3D%2Bb&"), ("?x#y", "x&")],
)
def test_uploads_go_where_they_are_told(
    server: Server, oci: Distribution, query: str, wanted: str, *, absolute: bool
) -> None:
    """A place to upload to may be relative, and what it says besides goes back word for word."""
    uploading(server, (server.url if absolute else "") + "/up/1" + query, Answer(201))
    oci.push("toy", DATA)

    head, post, put = server.asked
    assert [head.method, head.path] == ["HEAD", BLOB]
    assert [post.method, post.headers["content-length"]] == ["POST", "0"]
    assert put.path == f"/up/1?{wanted}digest=sha256:{sha256(DATA)}"
    assert put.body == DATA
    assert put.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "location", [None, "http://[", "ftp://127.0.0.1/up", "http://127.0.0.2/up"]
)
def test_uploads_go_nowhere_unprotected(
    server: Server, oci: Distribution, location: str | None
) -> None:
    """Nothing is uploaded to a place that is none, or not protected."""
    server.routes[UPLOADS] = Answer(202, {} if location is None else {"Location": location})

    with pytest.raises(RegistryError, match=r"a place to upload to|not protected"):
        oci.push("toy", DATA)
    assert {asked.method for asked in server.asked} == {"HEAD", "POST"}


@pytest.mark.parametrize("status", [200, 400, 403, 404, 405])
def test_uploads_that_are_not_taken(server: Server, oci: Distribution, status: int) -> None:
    """A server that takes no uploads is an error, at the first step already."""
    server.routes[UPLOADS] = Answer(status)
    with pytest.raises(RegistryError, match=f"{status}"):
        oci.require_writable("toy")
    uploading(server, "/up", Answer(status))
    with pytest.raises(RegistryError, match=f"{status}"):
        oci.push("toy", DATA)


def test_require_writable_cancels(server: Server, oci: Distribution) -> None:
    """The probe is cancelled where that can be done, and it is no matter where it cannot."""
    for answer in (Answer(204), Answer(405), Answer(401)):
        uploading(server, "/up", answer)
        oci.require_writable("toy")

    assert [(asked.method, asked.path) for asked in server.asked] == [
        ("POST", UPLOADS),
        ("DELETE", "/up"),
    ] * 3


def test_an_upload_whose_answer_was_lost(server: Server, oci: Distribution) -> None:
    """Where a repeated PUT finds its session gone and the blob there, all is well."""
    server.routes[BLOB] = sequence(Answer(404), Answer(body=DATA))
    uploading(server, "/up", sequence(Answer(500, {"Retry-After": "0"}), Answer(404)))

    oci.push("toy", DATA)
    assert [asked.method for asked in server.asked] == ["HEAD", "POST", "PUT", "PUT", "HEAD", "GET"]


def test_blobs_that_are_there_stay(server: Server, oci: Distribution) -> None:
    """A small blob is compared, a large one is believed by its length, and neither is sent again."""
    server.routes |= {
        BLOB: Answer(body=DATA),
        f"/v2/toy/blobs/sha256:{sha256(LARGE)}": Answer(length=len(LARGE)),
    }
    oci.push("toy", DATA)
    oci.push("toy", LARGE)

    assert [asked.method for asked in server.asked] == ["HEAD", "GET", "HEAD"]


@pytest.mark.parametrize("data", [DATA, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("mended", [True, False])
def test_damaged_blobs_are_sent_again(
    server: Server, oci: Distribution, data: bytes, *, mended: bool
) -> None:
    """A damaged blob is replaced; a server that keeps it instead is told of, with the remedy."""
    stored = [b"x" + data[1:] if data is DATA else data[1:]]

    def put(asked: Asked) -> Answer:
        stored.append(asked.body if mended else stored[0])
        return Answer(201)

    server.routes[f"/v2/toy/blobs/sha256:{sha256(data)}"] = lambda asked: (
        Answer(length=len(stored[-1])) if asked.method == "HEAD" else Answer(body=stored[-1])
    )
    uploading(server, "/up", put)
    if mended:
        oci.push("toy", data)
    else:
        with pytest.raises(IntegrityError, match=r"keeps a damaged sha256:.*remove that blob"):
            oci.push("toy", data)

    assert len(stored) == 2


def test_a_busy_server_is_not_sent_what_it_may_have(server: Server, oci: Distribution) -> None:
    """A blob that cannot be compared now is not called damaged."""
    server.routes[BLOB] = lambda asked: (
        Answer(length=len(DATA)) if asked.method == "HEAD" else Answer(503, {"Retry-After": "0"})
    )

    with pytest.raises(RegistryError, match="cannot serve this now"):
        oci.push("toy", DATA)
    assert {asked.method for asked in server.asked} == {"HEAD", "GET"}


def test_a_blob_that_breaks_off_is_sent_again(server: Server, oci: Distribution) -> None:
    """A blob that the server announces and cannot give is replaced."""
    stored = [b""]

    def put(asked: Asked) -> Answer:
        stored.append(asked.body)
        return Answer(201)

    server.routes[BLOB] = lambda _: Answer(body=stored[-1], length=len(DATA))
    uploading(server, "/up", put)
    oci.push("toy", DATA)

    assert stored == [b"", DATA]


def test_download_tells_what_is_missing(oci: Distribution) -> None:
    """A file that is gone is told by False, and by no error."""
    file = bundle().manifest.files[0]

    assert not oci.download("toy", file, io.BytesIO())
    assert oci.blob("toy", file.sha256, file.size) is None


@pytest.mark.parametrize("status", [202, 404])
def test_delete_is_told(server: Server, oci: Distribution, status: int) -> None:
    """What is deleted or gone is gone; a server that does not delete is told of."""
    path = f"/v2/toy/manifests/sha256:{'0' * 64}"
    server.routes[path] = Answer(status)
    oci.delete_manifest("toy", "0" * 64)

    server.routes[path] = Answer(405)
    with pytest.raises(RegistryError, match="is deletion allowed there"):
        oci.delete_manifest("toy", "0" * 64)
