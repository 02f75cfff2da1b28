"""Connections to the hosts of a registry, kept between requests, each used by one thread at a time.

httpx's transport is used without its client: that would write every URL into the host's log, and
the URLs of stores are signed. What a process connected, its forked child closes and never uses.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from mlembed.errors import MlembedError, RegistryError
from mlembed.registry.http.credentials import origin_of
from mlembed.registry.http.faults import explain, overdue, place

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import httpx

    from mlembed.registry.http.deadline import Deadline

_MAX_IDLE = 8  # a server that redirects to ever new hosts must not fill the process's files
_SLACK_SECONDS = 0.1  # so that a deadline comes first, and is what the error speaks of


class Connection:
    """At most one connection, to one origin.

    Args:
        origin: Scheme, host and port.
        transport: What opens it when it is first used, and again when the server has closed it.
        proxied: Whether that goes through a proxy.
    """

    def __init__(self, origin: str, transport: httpx.HTTPTransport, *, proxied: bool) -> None:
        self.origin = origin
        self.transport = transport
        self.proxied = proxied
        self._pid = os.getpid()
        self._socket: socket.socket | None = None

    @property
    def inherited(self) -> bool:
        """Whether another process made it, and may still be using it."""
        return self._pid != os.getpid()

    def send(
        self, request: httpx.Request, deadline: Deadline, timeout_seconds: float
    ) -> httpx.Response:
        """Send *request* and return the answer, its body unread."""

        def trace(event: str, info: dict[str, Any]) -> None:
            if event.endswith(("connect_tcp.complete", "start_tls.complete")):
                self._socket = info["return_value"].get_extra_info("socket")
                deadline.watch(self._socket)

        if self._socket is not None:
            deadline.watch(self._socket)
        step = min(timeout_seconds, deadline.remaining() + _SLACK_SECONDS)
        request.extensions.update(
            timeout=dict.fromkeys(("connect", "read", "write", "pool"), step), trace=trace
        )
        return self.transport.handle_request(request)


class Connections:
    """The idle connections of one transport.

    They are closed when it is let go of. There is no lock that a fork could leave held: a deque is safe between threads, and a
    connection is in one hand or in the deque.

    Args:
        ca_file: Certificates to trust, as a PEM file; None for those of the environment.
        timeout_seconds: Longest wait for one step: to connect, to read, to write.
    """

    def __init__(self, ca_file: str | Path | None, timeout_seconds: float) -> None:
        self._ca_file = ca_file
        self._timeout_seconds = timeout_seconds
        self._idle: deque[Connection] = deque()
        self._closed = False
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._proxies: Mapping[str, str] | None = None
        weakref.finalize(self, _trim, self._idle, 0)

    @contextlib.contextmanager
    def exchange(
        self, request: httpx.Request, deadline: Deadline, *, fresh: bool
    ) -> Iterator[httpx.Response]:
        """Send *request* and hold its answer, unread, while the block runs.

        Args:
            request: What to ask.
            deadline: When to give up.
            fresh: Whether a kept connection, which may have died unseen, is not good enough.

        Raises:
            RegistryError: Whatever goes wrong, also while the block reads.
        """
        connection, sound = self._take(request.url, fresh=fresh), False
        try:
            response = connection.send(request, deadline, self._timeout_seconds)
            try:
                yield response
            finally:
                response.close()
            # Where neither length nor chunks say where a body ends, a cut looks like its end.
            if deadline.passed:
                raise overdue(place(request.url), deadline)
            sound = True
        except MlembedError:
            raise
        except Exception as error:  # noqa: BLE001  a hostile answer may raise anything beneath
            # The foreign error may quote an echoed request, so it is not shown as the cause.
            raise explain(
                error, request.url, deadline, self._timeout_seconds, proxied=connection.proxied
            ) from None
        finally:
            deadline.forget()
            if sound:
                self._give_back(connection)
            else:
                _close(connection)

    def close(self) -> None:
        """Close all that is idle, and what comes back later."""
        self._closed = True
        _trim(self._idle, 0)

    def _take(self, url: httpx.URL, *, fresh: bool) -> Connection:
        if self._closed:
            raise RegistryError(f"the connection to {place(url)} was closed; open it anew")
        origin = origin_of(str(url))
        for connection in () if fresh else reversed(list(self._idle)):
            if connection.origin == origin or connection.inherited:
                with contextlib.suppress(ValueError):  # another thread was faster
                    self._idle.remove(connection)
                    if not connection.inherited:
                        return connection
                    _close(connection)
        return self._connection(origin, url)

    def _give_back(self, connection: Connection) -> None:
        self._idle.append(connection)
        _trim(self._idle, 0 if self._closed else _MAX_IDLE)

    def _connection(self, origin: str, url: httpx.URL) -> Connection:
        import httpx

        proxy = _proxy(origin, self._environment())
        tls = self._context(url.scheme)
        limits = httpx.Limits(max_connections=1)
        try:
            through = None
            if proxy is not None:
                secured = self._context("https") if proxy.startswith("https://") else None
                through = httpx.Proxy(proxy, ssl_context=secured)
            transport = httpx.HTTPTransport(
                verify=tls, trust_env=False, limits=limits, proxy=through
            )
        except (ImportError, ValueError, httpx.InvalidURL):
            raise RegistryError(
                f"cannot use this environment's proxy for {place(url)}: expected "
                "http://host:port in HTTPS_PROXY or HTTP_PROXY, or the host in NO_PROXY; "
                "socks5:// needs pip install 'httpx[socks]'"
            ) from None
        return Connection(origin, transport, proxied=proxy is not None)

    def _environment(self) -> Mapping[str, str]:
        from urllib.request import getproxies

        if self._proxies is None:
            self._proxies = getproxies()
        return self._proxies

    def _context(self, scheme: str) -> ssl.SSLContext:
        import ssl

        # Not a cached_property: before Python 3.12 that holds a lock. Twice does no harm.
        if scheme not in self._contexts:
            # Without TLS: one that trusts nobody, and costs nothing.
            plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._contexts[scheme] = self._trust() if scheme == "https" else plain
        return self._contexts[scheme]

    def _trust(self) -> ssl.SSLContext:
        import ssl

        import httpx

        try:
            if self._ca_file is not None:
                return ssl.create_default_context(cafile=self._ca_file)
            return httpx.create_ssl_context()  # SSL_CERT_FILE, SSL_CERT_DIR or certifi
        except OSError as error:
            what = self._ca_file or "the file that SSL_CERT_FILE names"
            raise RegistryError(
                f"cannot read certificates from {what}: {error.strerror or type(error).__name__}; "
                "expected a PEM file"
            ) from error


def _proxy(origin: str, proxies: Mapping[str, str]) -> str | None:
    from urllib.request import proxy_bypass

    scheme, _, host = origin.partition("://")
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _trim(idle: deque[Connection], most: int) -> None:
    while len(idle) > most:
        with contextlib.suppress(IndexError):  # another thread was faster
            _close(idle.popleft())


def _close(connection: Connection) -> None:
    with contextlib.suppress(OSError):
        connection.transport.close()
