"""Documents are read and written as HTTP has it, from any thread and process, and retried in time."""

from __future__ import annotations

import io
import pickle
import time
from typing import TYPE_CHECKING

import pytest

from mlembed.errors import RegistryError, SettingsError
from mlembed.registry.http.transport import TransientError, Transport
from processes import run_script
from registry.hostile import Answer, Server, document, redirect, sequence
from registry.wires import Wire, cut, stall

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/v2/toy/manifests/champion"


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a running server."""
    with Server() as running:
        yield running


@pytest.fixture
def transport(server: Server) -> Iterator[Transport]:
    """Return a transport to it, with short patience."""
    made = Transport(server.url, timeout_seconds=1.0, deadline_seconds=2.0)
    yield made
    made.close()


def test_get_returns_the_document(server: Server, transport: Transport) -> None:
    """The whole answer comes back, its headers by their names in lower case."""
    server.routes[PATH] = Answer(headers={"X-Kind": "toy"}, body=b"pointer")

    response = transport.get(f"{server.url}{PATH}?n=1#part", headers={"Accept": "a/b"}, max_bytes=7)

    assert (response.status, response.body) == (200, b"pointer")
    assert response.headers["x-kind"] == "toy"
    assert response.url == f"{server.url}{PATH}?n=1"
    assert server.asked[0].path == f"{PATH}?n=1"
    assert server.asked[0].headers["accept"] == "a/b"
    assert server.asked[0].headers["accept-encoding"] == "identity"
    assert server.asked[0].headers["user-agent"].startswith("mlembed/")


def test_get_takes_a_path_of_the_origin(server: Server, transport: Transport) -> None:
    """A path alone is asked of the registry itself."""
    server.routes[PATH] = Answer(body=b"here")

    assert transport.get(PATH, max_bytes=4).body == b"here"


@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 412, 416])
def test_get_leaves_other_refusals_to_the_caller(
    server: Server, transport: Transport, status: int
) -> None:
    """What is missing or in conflict is for the caller to judge."""
    server.routes[PATH] = Answer(status, body=b"no")

    assert transport.get(PATH, max_bytes=2).status == status


def test_get_asks_only_for_what_changed(server: Server, transport: Transport) -> None:
    """With the tag of the last answer, an unchanged document is a 304 without a body."""
    server.routes[PATH] = document(b"pointer", '"7"')
    first = transport.get(PATH, max_bytes=7)

    again = transport.get(PATH, max_bytes=7, etag=first.headers["etag"])
    changed = transport.get(PATH, max_bytes=7, etag='"6"')
    strange = transport.get(PATH, max_bytes=7, etag='"\xff\n"')

    assert (again.status, again.body) == (304, b"")
    assert (changed.status, changed.body) == (200, b"pointer")
    assert (strange.status, strange.body) == (200, b"pointer")


@pytest.mark.parametrize("status", [206, 300, 302, 304, 305])
def test_get_refuses_what_it_did_not_ask_for(
    server: Server, transport: Transport, status: int
) -> None:
    """Half a document, or a 304 for what nobody has, is not taken for the document."""
    server.routes[PATH] = Answer(status, body=b"x")

    with pytest.raises(RegistryError, match=rf"{PATH} answers {status} to GET.*check the registry"):
        transport.get(PATH, max_bytes=9)


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_send_carries_the_body(server: Server, transport: Transport, method: str) -> None:
    """Bytes and files arrive whole, a file from where it stands, with their length."""
    file = io.BytesIO(b"__" + b"z" * 200_000)
    file.seek(2)
    server.routes[PATH] = Answer(201, {"Location": "/up"})

    answers = [transport.send(method, PATH, content=body) for body in (None, b"ab", file)]

    assert [asked.body for asked in server.asked] == [b"", b"ab", b"z" * 200_000]
    assert [asked.headers.get("content-length") for asked in server.asked][1:] == ["2", "200000"]
    assert {(answer.status, answer.headers["location"]) for answer in answers} == {(201, "/up")}


def test_send_head_reads_no_body(server: Server, transport: Transport) -> None:
    """HEAD tells the length of what it does not send, however large."""
    server.routes[PATH] = Answer(headers={"Content-Encoding": "gzip"}, length=10**12)

    response = transport.send("HEAD", PATH)

    assert (response.body, response.headers["content-length"]) == (b"", str(10**12))


def test_send_repeats_a_file_whole(server: Server, transport: Transport) -> None:
    """A retry, and a redirect within the origin, send the file from its beginning again."""
    server.routes["/a"] = sequence(Answer(503, {"Retry-After": "0"}), redirect("/b", 307))
    server.routes["/b"] = Answer(201)

    for method in ("PUT", "POST"):
        assert transport.send(method, "/a", content=io.BytesIO(b"blob")).status == 201

    assert {asked.body for asked in server.asked} == {b"blob"}


def test_send_is_not_redirected_elsewhere(server: Server, transport: Transport) -> None:
    """What is written goes to the registry itself, or nowhere."""
    with Server() as other:
        server.routes |= {
            "/other": redirect(f"{other.url}/x?sig=1", 307),
            "/see": redirect("/x", 303),
        }
        for path in ("/other", "/see"):
            with pytest.raises(RegistryError, match=r"redirects PUT to http://\S+/x; only reading"):
                transport.send("PUT", path, content=b"blob")

        assert other.asked == []


def test_redirects_are_followed_five_times(server: Server, transport: Transport) -> None:
    """A call goes as far as five redirects lead, and no farther."""
    server.routes |= {f"/{n}": redirect(f"/{n + 1}?x", 301 + n % 3) for n in range(6)}
    server.routes["/6"] = Answer(body=b"end")

    assert transport.get("/1", max_bytes=3).body == b"end"
    with pytest.raises(RegistryError, match=r"/5 redirects too often"):
        transport.get("/0", max_bytes=3)


@pytest.mark.parametrize(
    "location",
    [
        *("file:///etc/passwd", "ftp://h/x", "//", "http://h:99999/", "http://h:0/", "http://[x/"),
        *("\x00", "http://\x7f/", "http://a b/", f"http://{'a' * 70}.example/", "x" * 70_000),
    ],
)
def test_redirects_to_the_impossible_are_refused(
    server: Server, transport: Transport, location: str
) -> None:
    """A redirect to what is no URL of the web ends the call with our own error."""
    server.routes[PATH] = redirect(location)

    with pytest.raises(RegistryError):
        transport.get(PATH, max_bytes=3)


@pytest.mark.parametrize(
    "url", ["ftp://h/x", "file:///x", "http://h:0/", "http://[x/", "http://h:x/", "//\0"]
)
def test_get_refuses_what_is_no_url(transport: Transport, url: str) -> None:
    """What cannot be asked for, and may come out of a document, is a registry error at once."""
    with pytest.raises(RegistryError, match="no http or https URL of a host that can exist"):
        transport.get(url, max_bytes=1)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 599, 999])
def test_send_retries_a_busy_server(server: Server, transport: Transport, status: int) -> None:
    """A passing failure is not seen; a POST is repeated only where nothing can have happened."""
    server.routes[PATH] = sequence(Answer(status), Answer(body=b"x"))

    assert transport.get(PATH, max_bytes=1).body == b"x"

    server.routes[PATH] = sequence(Answer(status, {"Retry-After": "0"}), Answer(201))
    if status in (429, 503):
        assert transport.send("POST", PATH).status == 201
    else:
        with pytest.raises(TransientError, match=f"cannot serve this now .{status}"):
            transport.send("POST", PATH)


def test_send_gives_up_after_three_tries(server: Server, transport: Transport) -> None:
    """A failure that stays is an error with the status, after three tries."""
    server.routes[PATH] = Answer(500, {"Retry-After": "0"}, b"secret")

    with pytest.raises(
        RegistryError, match=rf"{PATH} cannot serve this now \(500\); try"
    ) as caught:
        transport.get(PATH, max_bytes=1)

    assert len(server.asked) == 3
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("asks", "tries", "least"),
    [
        *(
            ("0", 2, 0.0),
            ("1", 1, 0.0),
            ("9" * 5000, 1, 0.0),
            ("Sun, 31 Dec 9999 23:59:59", 1, 0.0),
        ),
        *(("Thu, 01 Jan 1970 00:00:00 GMT", 2, 0.0), ("-1", 2, 0.25), ("soon", 2, 0.25)),
    ],
)
def test_retry_after_is_kept_within_the_timeout(
    server: Server, transport: Transport, asks: str, tries: int, least: float
) -> None:
    """The pause that a server asks for is kept if there is time for it; else the call ends."""
    server.routes[PATH] = sequence(Answer(429, {"Retry-After": asks}), Answer(404))
    begun = time.monotonic()

    if tries == 1:
        with pytest.raises(TransientError, match=r"\(429\).*ask less often"):
            transport.get(PATH, max_bytes=1)
    else:
        transport.get(PATH, max_bytes=1)

    assert len(server.asked) == tries
    assert least <= time.monotonic() - begun < 0.9


def test_retry_after_is_at_most_five_seconds(server: Server, transport: Transport) -> None:
    """A server cannot send a caller to sleep for an hour."""
    server.routes[PATH] = Answer(503, {"Retry-After": "3600"})

    with pytest.raises(TransientError) as caught:
        transport.get(PATH, max_bytes=1)

    assert (caught.value.pause_seconds, caught.value.kind) == (5.0, "busy")


def test_get_retries_a_cut_connection(server: Server) -> None:
    """An answer that breaks off is asked for again; one that stalls is not waited for twice."""
    server.routes[PATH] = Answer(body=b"pointer" * 1000)
    with Wire(server, cut(0), cut(3000)) as wire:
        transport = Transport(wire.url)
        assert transport.get(PATH, max_bytes=7000).body == b"pointer" * 1000
        transport.close()
    with Wire(server, stall(3000)) as wire:
        transport = Transport(wire.url, timeout_seconds=0.2)
        with pytest.raises(TransientError, match=r"does not answer: nothing came for 0\.2 s"):
            transport.get(PATH, max_bytes=7000)
        assert wire.connections == 1
        transport.close()


def test_transport_refuses_malformed_settings() -> None:
    """A URL that cannot be a registry's, or no time at all, is a settings error."""
    for url in ("", "models", "ftp://h/", "http://", "http://h:x/", "https://h:0", "http://[h/"):
        with pytest.raises(SettingsError, match="URL is malformed; expected https://host/path"):
            Transport(url)
    with pytest.raises(SettingsError, match="holds a user or password; give them as MLEMBED_"):
        Transport("https://user:hunter2@h/")
    for seconds in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(SettingsError, match="must be above 0"):
            Transport("https://h/", timeout_seconds=seconds)
        with pytest.raises(SettingsError, match="must be above 0"):
            Transport("https://h/", deadline_seconds=seconds)


def test_errors_survive_pickling() -> None:
    """What a worker raises arrives in its parent as it was."""
    error = pickle.loads(pickle.dumps(TransientError("busy", "busy", 2.0)))  # noqa: S301

    assert (str(error), error.kind, error.pause_seconds, error.errno) == ("busy", "busy", 2.0, None)


def test_import_loads_no_library() -> None:
    """The module costs nothing until something is asked."""
    script = """
    import sys
    from mlembed.registry.http.transport import Static, Transport
    Transport("https://host/", Static("https://host/", "token"))
    print({"httpx", "httpcore", "numpy", "urllib.request"} & set(sys.modules))
    """

    assert run_script(script).strip() == "set()"
