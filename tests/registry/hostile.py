"""Servers on the loopback that answer as a test says; `wires` spoils what they send.

    with Server() as server, Wire(server, cut(after=1000)) as wire:
        server.routes["/blob"] = blob(data)
        ...  # ask wire.url + "/blob"; server.asked holds what arrived

A `Server` speaks real HTTP, over TLS if it is given a context. A `Wire` passes bytes between a
client and a server; each connection takes the next of its faults, and none once they are used up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import ssl


@dataclasses.dataclass(frozen=True)
class Asked:
    """One request, as it arrived.

    Attributes:
        method: Its method.
        path: Its path and query.
        headers: By their names in lower case.
        body: Its body.
        connection: Number of the connection it came on, from 1.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a server answers.

    Attributes:
        status: The HTTP status.
        headers: What to send besides Content-Length.
        body: Bytes, or parts that are sent until there are none or the client has gone.
        length: Content-Length, if it is not that of the body; "" to send none and end by closing.
        raw: Sent instead of all that, word for word, before the connection is closed.
        pause_seconds: Time to think before the answer.
    """

    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""
    length: int | str | None = None
    raw: bytes | Iterable[bytes] | None = None
    pause_seconds: float = 0.0


Route = Answer | Callable[[Asked], Answer]


def random_bytes(seed: int, size: int) -> bytes:
    """Return *size* bytes that do not repeat, and are those of *seed* each time."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


def document(body: bytes, etag: str) -> Route:
    """Return a small document that answers 304 to who has it."""
    headers = {"ETag": etag}
    return lambda asked: (
        Answer(304, headers)
        if asked.headers.get("if-none-match") == etag
        else Answer(headers=headers, body=body)
    )


def blob(data: bytes) -> Route:
    """Return a file that can be asked for from any byte on."""

    def answer(asked: Asked) -> Answer:
        if "range" not in asked.headers:
            return Answer(body=data)
        start = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))
        told = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return Answer(206, {"Content-Range": told}, data[start:])

    return answer


def redirect(location: str, status: int = 302) -> Answer:
    """Return a redirect to *location*, with a body that nobody needs."""
    return Answer(status, {"Location": location}, b"moved")


def sequence(*routes: Route) -> Route:
    """Return what answers with one of *routes* after the other, and the last for ever."""
    left = deque(routes)

    def answer(asked: Asked) -> Answer:
        route = left.popleft() if len(left) > 1 else left[0]
        return route(asked) if callable(route) else route

    return answer


class Server(http.server.ThreadingHTTPServer):
    """An HTTP server whose answers a test decides, and may change while it runs.

    Args:
        tls: Context to speak TLS with.

    Attributes:
        routes: What to answer, by path without query; 404 for others.
        asked: What arrived so far.
        connections: How many connections were made.
        url: Where it is, without a slash at the end.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.routes: dict[str, Route] = {}
        self.asked: list[Asked] = []
        self.connections = 0
        self._tls = tls
        self._open: list[socket.socket] = []
        scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
        self.url = f"{scheme}://{host}:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection; with TLS, the handshake is left to its own thread."""
        connection, address = super().get_request()
        if self._tls is not None:
            connection = self._tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        self.connections += 1
        self._open.append(connection)
        return connection, (address, self.connections)

    def handle_error(self, *_: Any) -> None:
        """Say nothing: clients that hang up are what the tests are about."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        for connection in self._open:
            end(connection)
        self._thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, body, self.client_address[1])
        self.server.asked.append(asked)
        route = self.server.routes.get(self.path.partition("?")[0], Answer(404))
        with contextlib.suppress(OSError):
            self._answer(route(asked) if callable(route) else route)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_CONNECT = do_GET  # noqa: N815

    def _answer(self, answer: Answer) -> None:
        time.sleep(answer.pause_seconds)
        if answer.raw is not None:
            self.close_connection = True
            self._send(answer.raw)
            return
        self.send_response(answer.status)
        for name, text in answer.headers.items():
            self.send_header(name, text)
        length = answer.length
        if length is None and isinstance(answer.body, bytes):
            length = len(answer.body)
        if length not in ("", None):
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if not isinstance(answer.body, bytes) or length != len(answer.body):
            self.close_connection = True
        if self.command != "HEAD" and answer.status not in (204, 304):
            self._send(answer.body)

    def _send(self, body: bytes | Iterable[bytes]) -> None:
        for part in (body,) if isinstance(body, bytes) else body:
            self.wfile.write(part)

    def log_message(self, *_: Any) -> None:
        pass


def end(connection: socket.socket) -> None:
    """Close *connection*, whoever is waiting on it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
