"""A file that is not the announced bytes, or has nowhere to go, is refused."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from mlembed.errors import IntegrityError, RegistryError
from mlembed.registry.http.transport import Transport
from registry.fetching import DATA, DIGEST, PATH, download
from registry.hostile import Answer, Server, blob, sequence
from registry.wires import Wire, cut, flood, hang_up

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a server that holds the file."""
    with Server() as running:
        running.routes[PATH] = blob(DATA)
        yield running


def test_download_of_a_changed_file_is_refused(server: Server) -> None:
    """Parts of two files, each sent as announced, are not one file."""
    changed = blob(bytes(len(DATA)))
    server.routes[PATH] = sequence(blob(DATA), changed)
    with Wire(server, cut(400_000)) as wire, pytest.raises(IntegrityError) as caught:
        download(wire.url)

    assert str(caught.value) == (
        f"sha256 {DIGEST[:12]}... from 127.0.0.1 has another digest; it is refused. Publish the "
        "bundle again from the run that made it"
    )


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(body=DATA[:-1]), "announces 999999 bytes instead of 1000000"),
        (Answer(body=DATA + b"!"), "announces 1000001 bytes instead of 1000000"),
        (Answer(body=DATA + b"!", length=""), "has more than its 1000000 bytes"),
        (Answer(body=bytes(len(DATA))), "has another digest"),
        (Answer(body=b"0", headers={"Transfer-Encoding": "chunked"}, length=""), "does not speak"),
        (Answer(206, body=DATA), "answers 206 to GET, which is not understood"),
        (Answer(204), "answers 204 instead of the file"),
        (Answer(416), "answers 416 instead of the file"),
        (Answer(headers={"Content-Encoding": "gzip"}, body=DATA), "compresses its answer"),
    ],
)
def test_download_refuses_another_file(server: Server, answer: Answer, says: str) -> None:
    """Too few bytes, too many or others are refused; the message shows no query."""
    server.routes[PATH] = answer

    with pytest.raises((IntegrityError, RegistryError), match=says) as caught:
        download(server.url)

    assert "127.0.0.1" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_download_refuses_chunks_that_end_early(server: Server) -> None:
    """An answer that says it is whole, and is not, is not resumed."""
    server.routes[PATH] = Answer(
        headers={"Transfer-Encoding": "chunked"}, body=b"3\r\nabc\r\n0\r\n\r\n", length=""
    )

    with pytest.raises(IntegrityError, match="has 3 bytes instead of 1000000"):
        download(server.url)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "told",
    ["", "bytes 0-999999/1000000", "bytes */1000000", "pages 9-9/9", "bytes 9-8/x", "9" * 4000],
)
def test_download_refuses_another_range(server: Server, told: str) -> None:
    """A part that begins elsewhere than it was asked for is never appended."""
    server.routes[PATH] = sequence(blob(DATA), Answer(206, {"Content-Range": told}, DATA))
    with Wire(server, cut(400_000)) as wire, pytest.raises(RegistryError, match="another byte"):
        download(wire.url)


def test_download_refuses_a_range_of_a_larger_file(server: Server) -> None:
    """What is left of another file is refused before it is read, though it be as long."""
    told = {"Content-Range": "bytes 1000-999999/1000001"}
    broken = Answer(body=DATA[:1000], length="")
    for rest in (blob(DATA + b"!"), Answer(206, told, DATA[1000:])):
        server.routes[PATH] = sequence(broken, rest)
        with pytest.raises(IntegrityError, match="announces 1000001 bytes instead of 1000000"):
            download(server.url)


def test_download_that_began_anew_keeps_nothing_of_before(server: Server) -> None:
    """What a first answer left in the file is cut off before a second one is looked at."""
    server.routes[PATH] = sequence(Answer(body=DATA[:1000], length=""), Answer(body=DATA[:-1]))
    transport, file = Transport(server.url), io.BytesIO(b"__")
    file.seek(2)

    with pytest.raises(IntegrityError, match="announces 999999 bytes"):
        transport.download(PATH, size=len(DATA), sha256=DIGEST, file=file)
    assert file.getvalue() == b"__"
    transport.close()


def test_download_stops_an_endless_body(server: Server) -> None:
    """A body without end is cut at the first byte too many."""
    server.routes[PATH] = Answer(body=DATA, length="")
    with Wire(server, flood(500_000)) as wire, pytest.raises(IntegrityError, match="more than its"):
        download(wire.url)


class Full(io.BytesIO):
    """A file on a disk that is full, or one that takes half of what it is given."""

    def __init__(self, error: OSError | None) -> None:
        super().__init__()
        self._error = error

    def write(self, part: object, /) -> int:
        """Fail, or pretend to write little."""
        if self._error is not None:
            raise self._error
        return len(bytes(part)) // 2  # type: ignore[call-overload]  # a buffer


def test_download_to_a_full_disk(server: Server) -> None:
    """The disk's own error is the cause, so that a cache can tell it from the network's."""
    transport = Transport(server.url)
    for error, says in ((OSError(28, "No space left"), "No space left"), (None, "buffered file")):
        with pytest.raises(
            RegistryError, match=f"cannot write what .*{PATH} sends: .*{says}"
        ) as got:
            transport.download(PATH, size=len(DATA), sha256=DIGEST, file=Full(error))
        assert got.value.__cause__ is error
    transport.close()


class Pipe(io.BytesIO):
    """What knows no position, or loses it after some time."""

    def __init__(self, positions: int) -> None:
        super().__init__()
        self._positions = positions

    def tell(self) -> int:
        """Return the position, where it is known."""
        if not self._positions:
            raise OSError(29, "Illegal seek")
        return super().tell()

    def seek(self, *_: int) -> int:
        """Fail."""
        raise OSError(29, "Illegal seek")


def test_download_to_what_cannot_be_sought(server: Server) -> None:
    """A pipe is refused with our own error, at once or when it would have to begin anew."""
    server.routes[PATH] = Answer(body=DATA)
    for positions in (0, 1):
        with Wire(server, hang_up(400_000)) as wire:
            transport = Transport(wire.url)
            with pytest.raises(RegistryError, match=r"cannot write what .* sends: Illegal seek"):
                transport.download(PATH, size=len(DATA), sha256=DIGEST, file=Pipe(positions))
            transport.close()
