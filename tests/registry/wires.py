"""TCP proxies that spoil what passes them: they cut, hang up, stall, trickle and flood."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import struct
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Self

from registry.hostile import end

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry.hostile import Server

_CHUNK = 64 * 1024


@dataclasses.dataclass(frozen=True)
class Fault:
    """What a wire does to one connection once *after* bytes of the server's have passed."""

    after: int
    spoil: Callable[[socket.socket], object]


def cut(after: int) -> Fault:
    """Return a connection that breaks off."""
    return Fault(after, _reset)


def hang_up(after: int) -> Fault:
    """Return a connection that ends politely, though too early."""
    return Fault(after, lambda client: client.shutdown(socket.SHUT_RDWR))


def stall(after: int, seconds: float = 5.0) -> Fault:
    """Return a connection on which nothing comes any more, though it stays open."""
    return Fault(after, lambda client: _wait_forend(client, seconds))


def trickle(after: int, pause_seconds: float, part: bytes = b"0") -> Fault:
    """Return a connection on which *part* comes again and again, for ever."""

    def spoil(client: socket.socket) -> None:
        while not _wait_forend(client, pause_seconds):
            client.sendall(part)

    return Fault(after, spoil)


def flood(after: int) -> Fault:
    """Return a connection on which zeros come without end, whatever length was announced."""

    def spoil(client: socket.socket) -> None:
        while True:
            client.sendall(bytes(_CHUNK))

    return Fault(after, spoil)


class Wire:
    """A TCP proxy before *server* that gives the first connections the *faults*, in their order.

    Attributes:
        url: The server's, by way of this wire.
        connections: How many connections were made.
        sent: Bytes that were sent to clients.
    """

    def __init__(self, server: Server, *faults: Fault) -> None:
        self._target = ("127.0.0.1", server.port)
        self._faults = deque(faults)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._open: list[socket.socket] = []
        self.connections = self.sent = 0
        self.url = server.url.replace(str(server.port), str(self._listener.getsockname()[1]))

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (self._listener, *self._open):
            end(connection)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self.connections += 1
                fault = self._faults.popleft() if self._faults else None
                threading.Thread(target=self._serve, args=(client, fault), daemon=True).start()

    def _serve(self, client: socket.socket, fault: Fault | None) -> None:
        with contextlib.suppress(OSError), client, self._connect(client) as server:
            self._open += (client, server)
            threading.Thread(target=pump, args=(client, server), daemon=True).start()
            left = fault.after if fault else None
            while left != 0 and (part := server.recv(min(left or _CHUNK, _CHUNK))):
                client.sendall(part)
                self.sent += len(part)
                left = left - len(part) if left is not None else None
            if fault:
                fault.spoil(client)

    def _connect(self, _client: socket.socket) -> socket.socket:
        return socket.create_connection(self._target)


class Tunnel(Wire):
    """A wire that is an HTTP proxy: clients ask it for a way by CONNECT.

    Attributes:
        heads: What they asked with.
    """

    def __init__(self, server: Server, *faults: Fault) -> None:
        super().__init__(server, *faults)
        self.heads: list[bytes] = []
        self.url = self.url.replace("https://localhost", "http://127.0.0.1")

    def _connect(self, client: socket.socket) -> socket.socket:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(_CHUNK)
        self.heads.append(head)
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        return super()._connect(client)


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what comes from *source* until one of them ends."""
    with contextlib.suppress(OSError):
        while part := source.recv(_CHUNK):
            sink.sendall(part)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _reset(client: socket.socket) -> None:
    # A linger of no seconds: closing sends a reset, and what is on its way is lost.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.shutdown(socket.SHUT_RD)  # wakes the pump, which would hold the socket open


def _wait_forend(client: socket.socket, seconds: float) -> bool:
    """Wait, and return whether the client has gone meanwhile."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.005)
        with contextlib.suppress(BlockingIOError):
            if client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                return True
    return False
