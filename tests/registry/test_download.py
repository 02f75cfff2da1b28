"""A file arrives whole, byte for byte, however often it breaks off; or it is refused."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mlembed.errors import NotFoundError, RegistryError
from mlembed.registry.http.transport import TransientError, Transport
from processes import run_script
from registry.fetching import DATA, DIGEST, PATH, download
from registry.hostile import Answer, Server, blob, random_bytes, redirect, sequence
from registry.wires import Wire, cut, hang_up, stall, trickle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a server that holds the file."""
    with Server() as running:
        running.routes[PATH] = blob(DATA)
        yield running


def test_download_writes_the_file(server: Server) -> None:
    """The bytes arrive in one request, and also by way of a redirect."""
    server.routes["/away"] = redirect(f"{PATH}?sig=1")

    assert download(server.url) == DATA
    assert download(server.url, path="/away") == DATA
    assert "range" not in server.asked[0].headers


@pytest.mark.parametrize("data", [b"", b"x"])
def test_download_writes_a_small_file(server: Server, data: bytes) -> None:
    """A file of no bytes is a file."""
    server.routes[PATH] = blob(data)

    assert download(server.url, data) == data


def test_download_resumes_where_it_broke_off(server: Server) -> None:
    """A connection that is cut, closed or stalls is taken up at the next byte."""
    faults = (cut(300_000), hang_up(200_000), cut(0), hang_up(50), stall(100_000), cut(50_000))
    with Wire(server, *faults) as wire:
        assert download(wire.url) == DATA

    starts = [
        int(asked.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        for asked in server.asked
    ]
    assert wire.connections == len(faults) + 1
    assert starts[0] == 0
    assert starts == sorted(starts)
    assert starts[-1] > 250_000  # a reset may lose what was on its way


def test_download_resumes_an_answer_of_unknown_length(server: Server) -> None:
    """Where neither length nor chunks say where it ends, an early end is a cut connection."""
    server.routes[PATH] = sequence(Answer(body=DATA[:1000], length=""), blob(DATA))

    assert download(server.url) == DATA
    assert server.asked[1].headers["range"] == "bytes=1000-"


def test_download_is_done_when_all_bytes_are_there(server: Server) -> None:
    """Where only the mark of the end is missing, nothing is asked for again."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.routes[PATH] = Answer(raw=head + b"%x\r\n%b\r\n" % (len(DATA), DATA))

    assert download(server.url) == DATA
    assert len(server.asked) == 1


def test_download_begins_anew_where_ranges_are_not_served(server: Server) -> None:
    """A server that answers with the whole file again is taken at its word."""
    server.routes[PATH] = Answer(body=DATA)
    with Wire(server, cut(400_000), cut(500_000)) as wire:
        assert download(wire.url) == DATA


def test_download_gives_up_without_progress(server: Server) -> None:
    """Three tries that bring nothing new are enough."""
    with (
        Wire(server, hang_up(200_000), *[cut(0)] * 9) as wire,
        pytest.raises(TransientError, match=f"{PATH} broke off|{PATH}: Connection reset"),
    ):
        download(wire.url)
    assert wire.connections == 4

    server.routes[PATH] = Answer(body=DATA)  # whole each time, and cut at the same byte
    for again in (200_000, 100_000):
        faults = [hang_up(200_000), *[hang_up(again)] * 9]
        with Wire(server, *faults) as wire, pytest.raises(TransientError):
            download(wire.url)
        assert wire.connections == 4


def test_download_waits_for_a_busy_server(server: Server) -> None:
    """A server that is busy between two parts is asked again, and not the whole file of it."""
    busy = Answer(503, {"Retry-After": "0"})
    server.routes[PATH] = sequence(busy, blob(DATA), busy, blob(DATA))
    with Wire(server, hang_up(0), cut(400_000)) as wire:
        assert download(wire.url) == DATA


def test_download_of_nothing(server: Server) -> None:
    """A file that is not there is not found, rather than a failure of the registry."""
    with pytest.raises(NotFoundError, match="/none does not exist; publish the bundle again"):
        download(server.url, path="/none")


def test_download_takes_no_byte_beyond_the_length(server: Server) -> None:
    """Bytes after the announced end are not part of the file, nor of the next answer."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(DATA)}\r\n\r\n".encode()
    server.routes[PATH] = Answer(raw=head + DATA + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    server.routes["/next"] = Answer(body=b"next")
    transport = Transport(server.url)
    file = io.BytesIO()

    transport.download(PATH, size=len(DATA), sha256=DIGEST, file=file)

    assert file.getvalue() == DATA
    assert transport.get("/next", max_bytes=4).body == b"next"
    transport.close()


def test_download_ends_by_its_deadline(server: Server) -> None:
    """A server that trickles, and never stalls, ends when time is up."""
    server.routes[PATH] = blob(DATA[:30_000])
    begun = time.monotonic()
    with (
        Wire(server, trickle(1000, 0.02)) as wire,
        pytest.raises(RegistryError, match=rf"{PATH} is too slow: no whole answer within 0\.6 s"),
    ):
        download(wire.url, deadline_seconds=0.6, data=DATA[:30_000])

    assert 0.5 < time.monotonic() - begun < 2


def test_download_has_longer_for_a_larger_file(server: Server) -> None:
    """A megabyte may take sixteen seconds, whatever a small call may take."""

    def slowly() -> Iterator[bytes]:
        for start in range(0, len(DATA), 250_000):
            time.sleep(0.05)
            yield DATA[start : start + 250_000]

    server.routes[PATH] = Answer(body=slowly())
    server.routes["/slow"] = Answer(pause_seconds=0.2)

    assert download(server.url, deadline_seconds=0.1) == DATA
    with pytest.raises(RegistryError, match="too slow"):
        download(server.url, data=b"", path="/slow", deadline_seconds=0.1)


def test_downloads_run_side_by_side(server: Server) -> None:
    """Eight threads with eight files do not mix them up."""
    files = {f"/{n}": random_bytes(n, 300_000) for n in range(8)}
    server.routes |= {path: blob(data) for path, data in files.items()}
    right: list[bool] = []
    with Wire(server, *[cut(100_000)] * 8) as wire:
        threads = [
            threading.Thread(
                target=lambda p=path, d=data: right.append(download(wire.url, d, p) == d)
            )
            for path, data in files.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert right == [True] * 8


def test_download_takes_little_memory(server: Server, tmp_path: Path) -> None:
    """The memory of a process does not grow with the file it fetches."""
    part = bytes(1_000_000)
    server.routes["/large"] = lambda _: Answer(
        body=(part for _ in range(64)), length=64 * len(part)
    )
    script = """
    import json, resource, sys
    from mlembed.registry.http.transport import Transport

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    transport = Transport(sys.argv[1])
    transport.get("/small", max_bytes=1)
    before = peak()
    with open(sys.argv[2], "wb") as file:
        transport.download("/large", size=int(sys.argv[3]), sha256=sys.argv[4], file=file)
    transport.close()
    print(json.dumps(peak() - before))
    """
    digest = hashlib.sha256()
    for _ in range(64):
        digest.update(part)

    grown = json.loads(
        run_script(script, server.url, tmp_path / "file", str(64 * len(part)), digest.hexdigest())
    )

    assert (tmp_path / "file").stat().st_size == 64 * len(part)
    assert grown < 8
