"""The one HTTP client of hosts and publishers: bounded in time and size, and tight-lipped.

Credentials go to their own origin and nowhere else, nothing is logged, every answer is bounded
before it is read, and whatever goes wrong is one of mlembed's errors.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from mlembed.errors import SettingsError
from mlembed.registry.http.answer import Response, read, require_good
from mlembed.registry.http.connection import Connections
from mlembed.registry.http.credentials import Credentials, Static, require_origin
from mlembed.registry.http.deadline import Deadline
from mlembed.registry.http.download import Download
from mlembed.registry.http.faults import TransientError
from mlembed.registry.http.route import Route, is_sendable, read_call, read_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import httpx

    from mlembed.registry.http.route import Call

__all__ = ["Credentials", "Response", "Static", "TransientError", "Transport"]

T = TypeVar("T")

_LEAST_BYTES_PER_SECOND = 64 * 1024
_MAX_BODY_BYTES = 1024 * 1024
_PAUSES_SECONDS = (0.25, 1.0)  # before the second and the third try
_RESUME_SECONDS = 0.1  # before a download goes on: a server that gives a byte a time is not busy
_RETRIED = {"busy", "failing", "cut"}


class Transport:
    """HTTP with one registry, from any thread, and after a fork.

    Args:
        origin: A URL of the registry; its scheme, host and port are what credentials are for.
        credentials: Who asks; None for nobody.
        timeout_seconds: Longest wait for one step: to connect, to read, to write; also for the
            retries of a small request.
        deadline_seconds: Longest time of one call with all its retries; where a body is large,
            as long as it takes at 64 KiB a second. Only the system's look-up of a name is beyond
            its reach.
        ca_file: Certificates to trust, as a PEM file; None for those of the environment, by
            SSL_CERT_FILE or SSL_CERT_DIR, or else those that httpx brings.

    Raises:
        SettingsError: If the URL is malformed or a time is not positive.
    """

    def __init__(
        self,
        origin: str,
        credentials: Credentials | None = None,
        *,
        timeout_seconds: float = 10.0,
        deadline_seconds: float = 60.0,
        ca_file: str | Path | None = None,
    ) -> None:
        self.origin = require_origin(origin)
        if not (0 < timeout_seconds < float("inf") and 0 < deadline_seconds < float("inf")):
            raise SettingsError("Transport: timeout_seconds and deadline_seconds must be above 0")
        self._credentials = credentials
        self._timeout_seconds = timeout_seconds
        self._deadline_seconds = deadline_seconds
        self._connections = Connections(ca_file, timeout_seconds)

    def __repr__(self) -> str:
        return f"Transport({self.origin!r})"

    def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        max_bytes: int,
        etag: str | None = None,
    ) -> Response:
        """Return the small document at *url*.

        Args:
            url: Where; a path alone is one of the origin's.
            headers: What to send besides.
            max_bytes: Most that the document may have.
            etag: What an earlier answer called it; if it still is that, the answer is a 304.

        Raises:
            RegistryError: If it cannot be had; a 404 is returned instead.
        """
        conditions = {"If-None-Match": etag} if etag and is_sendable(etag) else {}
        return self.send("GET", url, headers={**(headers or {}), **conditions}, max_bytes=max_bytes)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | BinaryIO | None = None,
        max_bytes: int = _MAX_BODY_BYTES,
    ) -> Response:
        """Send *content* to *url*, or ask what *method* asks, and return the answer.

        Only GET and HEAD are redirected to another origin. A POST is sent again only to a server
        that surely did nothing with it.

        Args:
            method: HTTP method, in capitals.
            url: Where; a path alone is one of the origin's.
            headers: What to send besides.
            content: Body; a file is read from its present position to its end, and is seekable.
            max_bytes: Most that the answer's body may have.

        Raises:
            RegistryError: If there is no answer, it is larger, or the server refuses or fails;
                of 4xx only 401, 403 and 429 are errors, others are returned.
        """
        call = read_call(method, self._url(url), headers, content)
        seconds = call.size / _LEAST_BYTES_PER_SECOND
        with Deadline(max(self._deadline_seconds, seconds)) as deadline:
            for pause in (*_PAUSES_SECONDS, None):
                try:
                    return self._run(
                        call,
                        deadline,
                        lambda answer, request: read(answer, request, max_bytes),
                        fresh=method == "POST" or pause != _PAUSES_SECONDS[0],
                    )
                except TransientError as error:
                    seconds_left = self._timeout_seconds + seconds - deadline.elapsed()
                    kinds = {"busy"} if method == "POST" else _RETRIED
                    if pause is None or error.kind not in kinds:
                        raise
                    self._wait(error, pause, min(seconds_left, deadline.remaining()))
        raise AssertionError  # pragma: no cover  the last try returns or raises

    def download(
        self,
        url: str,
        *,
        size: int,
        sha256: str,
        file: BinaryIO,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Write the file at *url* to *file*, in constant memory, and check it.

        A connection that is cut or stalls is resumed, as long as every third try brings
        something. Whatever is raised, *file* holds nothing to rely on.

        Args:
            url: Where; a path alone is one of the origin's.
            size: Bytes it must have.
            sha256: Digest it must have, in hex.
            file: Where it goes, from the present position on; seekable.
            headers: What to send besides.

        Raises:
            IntegrityError: If it has another size or digest.
            NotFoundError: If there is no such file.
            RegistryError: If it cannot be had, or not in time.
        """
        call = read_call("GET", self._url(url), headers, None)
        part = Download(call.url, size, sha256, file)
        failures = 0
        seconds = max(self._deadline_seconds, size / _LEAST_BYTES_PER_SECOND)
        with Deadline(seconds) as deadline:
            while True:
                rest = dataclasses.replace(call, headers={**call.headers, **part.range()})
                before = part.furthest
                try:
                    self._run(rest, deadline, part.take, fresh=failures > 0 or part.done > 0)
                    break
                except TransientError as error:
                    if part.done == size > 0:  # all of it, but for the end of the last chunk
                        break
                    failures = 0 if part.furthest > before else failures + 1
                    if failures > len(_PAUSES_SECONDS):
                        raise
                    pause = (_RESUME_SECONDS, *_PAUSES_SECONDS)[failures]
                    self._wait(error, pause, deadline.remaining())
        part.verify()

    def close(self) -> None:
        """Close every connection: the idle now, those in use when their calls end."""
        self._connections.close()

    def _url(self, url: str) -> httpx.URL:
        return read_url(url, f"{self.origin}/", "what the registry is asked for")

    def _run(
        self,
        call: Call,
        deadline: Deadline,
        use: Callable[[httpx.Response, httpx.Request], T],
        *,
        fresh: bool,
    ) -> T:
        """Make one try of *call* and return what *use* makes of its answer."""
        route = Route(call, self.origin, self._credentials)
        while True:
            request = route.request()
            with self._connections.exchange(request, deadline, fresh=fresh) as answer:
                if not route.goes_on(answer):
                    require_good(answer, request, known=route.known)
                    return use(answer, request)

    def _wait(self, error: TransientError, pause: float, most_seconds: float) -> None:
        seconds = pause if error.pause_seconds is None else error.pause_seconds
        if seconds >= most_seconds:
            raise error
        time.sleep(seconds)
