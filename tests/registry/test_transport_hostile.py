"""Whatever a server sends, a call ends in time, in little memory, and with one of our own errors."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlembed.errors import IntegrityError, RegistryError
from mlembed.registry.http.deadline import Deadline
from mlembed.registry.http.transport import Transport
from registry.hostile import Answer, Server, sequence
from registry.wires import Wire, stall, trickle

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: x\r\n\r\nbody"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nbody\r\n0\r\nA: b\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
PATH = "/doc"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Return one server for all."""
    with Server() as running:
        yield running


@pytest.fixture
def transport(server: Server) -> Iterator[Transport]:
    """Return a transport to it that gives up soon, and has no time for a second try."""
    made = Transport(server.url, timeout_seconds=0.2, deadline_seconds=0.4)
    yield made
    made.close()


def test_get_refuses_a_large_document_unread(server: Server, transport: Transport) -> None:
    """What is announced as too large is refused before its bytes are waited for."""

    def stalled() -> Iterator[bytes]:
        yield b"x"
        time.sleep(0.5)

    server.routes[PATH] = Answer(body=stalled(), length=1001)
    with pytest.raises(RegistryError, match=f"{PATH} sends more than the 1000 bytes"):
        transport.get(PATH, max_bytes=1000)

    server.routes[PATH] = Answer(body=bytes(1001))
    assert transport.get(PATH, max_bytes=1001).body == bytes(1001)


@pytest.mark.parametrize("status", [200, 404])
def test_get_stops_an_endless_document(server: Server, transport: Transport, status: int) -> None:
    """A body without end is read to the first byte too many, and no farther."""
    sent = []

    def endless() -> Iterator[bytes]:
        while True:
            sent.append(1)
            yield bytes(64 * 1024)

    server.routes[PATH] = Answer(status, body=endless())
    with pytest.raises(RegistryError, match="sends more than the 1000 bytes"):
        transport.get(PATH, max_bytes=1000)

    time.sleep(0.05)
    count = len(sent)
    time.sleep(0.05)
    assert len(sent) == count


def test_get_refuses_a_compressed_bomb(server: Server, transport: Transport) -> None:
    """A small body that unpacks into a large one is refused, and never unpacked."""
    bomb = gzip.compress(bytes(10_000_000))
    for coding in ("gzip", "x-gzip, identity", "br", "deflate"):
        server.routes[PATH] = Answer(headers={"Content-Encoding": coding}, body=bomb)
        with pytest.raises(RegistryError, match="compresses its answer although it was asked not"):
            transport.get(PATH, max_bytes=1_000_000)

    server.routes[PATH] = Answer(headers={"Content-Encoding": "Identity"}, body=bomb)
    assert transport.get(PATH, max_bytes=1_000_000).body == bomb


ENDLESS = {
    "interim answers": itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "trickled interim answers": itertools.repeat(b"HTTP/1.1 102 Processing\r\n\r\n"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_get_ends_though_interim_answers_never_do(
    server: Server, transport: Transport, name: str
) -> None:
    """A server that always says it will answer soon is believed until the deadline."""

    def slowly() -> Iterator[bytes]:
        for part in ENDLESS[name]:
            time.sleep(0.01 if "trickled" in name else 0.0)
            yield part

    server.routes[PATH] = Answer(raw=slowly())
    begun = time.monotonic()

    with pytest.raises(RegistryError, match=r"is too slow: no whole answer within 0\.4 s"):
        transport.get(PATH, max_bytes=9)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("head", [b"HTTP/1.1 20", OK + b"X: ", OK + b"\r\n", CHUNKED[:60]])
def test_get_ends_though_bytes_trickle(server: Server, transport: Transport, head: bytes) -> None:
    """A byte at a time, in a status, a header, a body without length or a chunk, ends in time."""

    def slowly() -> Iterator[bytes]:
        yield head
        while True:
            time.sleep(0.02)
            yield b"0"

    server.routes[PATH] = Answer(raw=slowly())
    begun = time.monotonic()

    with pytest.raises(RegistryError, match=r"too slow|does not speak HTTP"):
        transport.get(PATH, max_bytes=1000)
    assert time.monotonic() - begun < 2


def test_get_ends_though_a_kept_connection_trickles(server: Server) -> None:
    """The deadline reaches a connection that an earlier call has opened."""
    server.routes[PATH] = Answer(body=b"x")
    with Wire(server, trickle(300, 0.02)) as wire:
        made = Transport(wire.url, timeout_seconds=0.2, deadline_seconds=0.4)
        assert [made.get(PATH, max_bytes=1).body for _ in range(2)] == [b"x"] * 2
        with pytest.raises(RegistryError, match=r"too slow: no whole answer within 0\.4 s"):
            made.get(PATH, max_bytes=10_000)
        assert wire.connections == 1
        made.close()


def test_send_ends_though_nobody_reads(server: Server) -> None:
    """A server that takes the connection and reads nothing does not hold an upload."""
    with Wire(server, stall(0)) as wire:
        made = Transport(wire.url, timeout_seconds=0.2, deadline_seconds=0.4)
        with pytest.raises(RegistryError, match=r"too slow|does not answer"):
            made.send("PUT", PATH, content=bytes(1000))
        made.close()


def test_deadline_cuts_what_it_comes_to_see_too_late() -> None:
    """A connection that is made after time was up is cut as well; a closed one is left alone."""
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(0.01) as deadline:
        while not deadline.passed:
            time.sleep(0.001)
        deadline.watch(ours)

        assert theirs.recv(1) == b""
        ours.close()
        deadline.watch(ours)
        assert deadline.remaining() > 0


def test_calls_fail_where_no_thread_can_start(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a thread to watch the time, nothing is asked, and the error is our own."""

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RegistryError, match="this process can start no thread"):
        transport.get(PATH, max_bytes=1)


RAW = [
    b"",
    b"\r\n\r\n",
    b"\x00" * 1000,
    b"\xff\xfe" * 1000,
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 99 X\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    OK + b"X" * 200_000,
    OK + b"A: b\r\n" * 50_000,
    OK + b"no colon\r\n\r\n",
    OK + b" folded\r\n\r\n",
    OK + b"A\x00: b\r\n\r\n",
    OK + b"Content-Length: -1\r\n\r\n",
    OK + b"Content-Length: 1, 2\r\n\r\nab",
    OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    OK + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n",
    OK + b"Content-Length: 4\r\n\r\nab",
    OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nab\r\n",
    OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 100 + b"\r\nab",
    OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabXX0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\x00\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://\xc3\xbc.\xe2\x80\xae/\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: //[::1\r\n\r\n",
    b"HTTP/1.1 429 No\r\nRetry-After: \xff\r\n\r\n",
    b"HTTP/1.1 999 No\r\n\r\n",
]


@pytest.mark.parametrize("raw", RAW, ids=range(len(RAW)))
def test_garbage_is_one_of_our_errors(server: Server, transport: Transport, raw: bytes) -> None:
    """What is not HTTP, or not whole, is a registry error in every call."""
    server.routes[PATH] = Answer(raw=raw)

    with pytest.raises(RegistryError):
        transport.get(PATH, max_bytes=10)
    with pytest.raises(RegistryError):
        transport.send("PUT", PATH, content=io.BytesIO(b"x"))
    with pytest.raises((RegistryError, IntegrityError)):
        transport.download(PATH, size=2, sha256="0" * 64, file=io.BytesIO())


@given(
    good=st.sampled_from([GOOD, CHUNKED]),
    changes=st.lists(st.tuples(st.integers(0, 120), st.binary(max_size=4)), max_size=4),
    tail=st.binary(max_size=20),
)
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_answers_that_were_tampered_with(
    server: Server, good: bytes, changes: list[tuple[int, bytes]], tail: bytes
) -> None:
    """However the bytes of an answer are changed, it is read within bounds or refused."""
    raw = bytearray(good)
    for place, part in changes:
        raw[place : place + len(part)] = part
    server.routes[PATH] = Answer(raw=bytes(raw) + tail)
    made = Transport(server.url, timeout_seconds=0.2, deadline_seconds=0.2)

    with contextlib.suppress(RegistryError):
        assert len(made.get(PATH, max_bytes=64).body) <= 64
    with contextlib.suppress(RegistryError, IntegrityError):
        made.download(PATH, size=4, sha256="0" * 64, file=io.BytesIO())
        raise AssertionError
    made.close()


def test_an_interrupted_call_leaves_nothing(server: Server, transport: Transport) -> None:
    """A user's interrupt goes through, and the half-read connection is not used again."""

    class Interrupting(io.BytesIO):
        """A file at which the user loses patience."""

        def write(self, _part: object, /) -> int:
            raise KeyboardInterrupt

    server.routes[PATH] = sequence(Answer(body=bytes(500_000)), Answer(body=b"next"))

    with pytest.raises(KeyboardInterrupt):
        transport.download(PATH, size=500_000, sha256="0" * 64, file=Interrupting())
    assert not transport._connections._idle
    assert transport.get(PATH, max_bytes=4).body == b"next"


def test_files_that_cannot_be_read_are_named(server: Server, transport: Transport) -> None:
    """A body that cannot be measured or read is our own error, with the system's reason."""

    class Broken(io.BytesIO):
        """A file on a disk that fails, or of another length than it says."""

        def read(self, _size: int | None = -1, /) -> bytes:
            if self.getvalue() == b"short":
                return b""
            raise OSError(5, "Input/output error")

        def tell(self) -> int:
            if self.getvalue() == b"pipe":
                raise OSError(29, "Illegal seek")
            return super().tell()

    server.routes[PATH] = Answer(201)
    for data, says in (
        (b"disk", "Input/output"),
        (b"pipe", "Illegal seek"),
        (b"short", "cannot ask"),
    ):
        with pytest.raises(RegistryError, match=says):
            transport.send("PUT", PATH, content=Broken(data))
    assert transport.send("PUT", PATH, content=b"x").status == 201
