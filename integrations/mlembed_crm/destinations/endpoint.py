"""Call an HTTP service that may be slow, wrong or hostile, and lose neither time nor secrets to it.

Every call opens its own connection, to an address that was checked, and ends by a deadline that a
slow receiver cannot stretch. Redirects and proxies are not followed.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from mlembed import __version__
from mlembed.errors import SettingsError
from mlembed_crm.addresses import is_private_literal, resolve
from mlembed_crm.destinations.deadline import Deadline
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

_MAX_RESPONSE_BYTES = 16 * 1024 * 1024
_PORTS = {"https": 443, "http": 80}
_MAX_PORT = 65_535
_HOST = re.compile(rb"[A-Za-z0-9._:-]+")


class Answer(NamedTuple):
    """What a service answered.

    Attributes:
        status: Its status code.
        headers: Names in any case.
        body: As far as it was read.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body, parsed.

        Raises:
            DeliveryError: If it is no JSON, such as the page of a proxy; does not show it.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            kind = self.headers.get("content-type", "").split(";")[0].strip() or "an unnamed type"
            raise DeliveryError(
                f"HTTP {self.status} with {kind} where JSON was expected",
                status=self.status,
                unknown=True,
            ) from None


class Behind:
    """A destination behind one endpoint, which it is called by."""

    _endpoint: Endpoint

    @property
    def name(self) -> str:
        """Its scheme and host; the rest of the URL may be secret."""
        return self._endpoint.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self.name}/...')"


class Endpoint:
    """One HTTP service.

    Args:
        url: `https`, unless *allow_private*; what it has of a path comes before that of each call.
        allow_private: Allow private addresses and plain `http`, for a service of your own.
        timeout_seconds: Longest time of one call, once its name is resolved.
        tls: TLS settings, for a service with a private certificate authority.
        transport: What carries requests instead, such as `httpx.MockTransport`; then neither the
            address is checked nor the deadline kept.
        owner: Whose URL it is, for messages.

    Raises:
        SettingsError: If the URL or the time is malformed.
    """

    def __init__(
        self,
        url: str,
        *,
        allow_private: bool = False,
        timeout_seconds: float = 30.0,
        tls: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
        owner: str = "Endpoint",
    ) -> None:
        self._url = _read_url(url, owner, allow_private=allow_private)
        self._host = self._url.raw_host.decode("ascii")
        if not 0 < timeout_seconds < float("inf"):
            raise SettingsError(f"{owner}: timeout_seconds must be more than 0, and finite")
        self._allow_private = allow_private
        self.timeout_seconds = timeout_seconds
        self._transport = transport
        self._tls = tls or httpx.create_ssl_context(trust_env=False)

    @property
    def name(self) -> str:
        """The service's scheme and host; the rest of the URL may be secret."""
        return f"{self._url.scheme}://{self._url.netloc.decode('ascii')}"

    def __repr__(self) -> str:
        return f"Endpoint('{self.name}/...')"

    def call(
        self,
        method: str,
        path: str = "",
        *,
        headers: Mapping[str, str],
        content: bytes = b"",
        max_bytes: int = _MAX_RESPONSE_BYTES,
    ) -> Answer:
        """Send one request and return what was answered, whatever the status.

        Args:
            method: Such as `POST`.
            path: Added to the URL's own, query included.
            headers: Besides those of the connection.
            content: The body.
            max_bytes: As much of the answer's body is read.

        Raises:
            DeliveryError: If no answer comes in time. It is `unknown` unless nothing was sent.
        """
        if self._transport is not None:
            addresses: tuple[str, ...] = (self._host,)
        else:
            port = self._url.port or _PORTS[self._url.scheme]
            addresses = resolve(self._host, port, allow_private=self._allow_private)
        with Deadline(self.timeout_seconds) as deadline:
            for address in addresses:
                request = self._request(method, path, headers, content, address, deadline)
                try:
                    return self._exchange(request, max_bytes)
                except httpx.TransportError as error:
                    failure = error
                    if not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
                        break
            raise self._unanswered(failure, deadline) from failure

    def _unanswered(self, failure: httpx.TransportError, deadline: Deadline) -> DeliveryError:
        connected = not isinstance(failure, (httpx.ConnectError, httpx.ConnectTimeout))
        reason = type(failure).__name__
        if deadline.passed or isinstance(failure, httpx.TimeoutException):
            reason = f"no answer within {self.timeout_seconds:g} s"
        elif isinstance(failure, httpx.ConnectError):
            reason = f"cannot connect: {failure}"
        return DeliveryError(reason, reached=False, unknown=connected)

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        content: bytes,
        address: str,
        deadline: Deadline,
    ) -> httpx.Request:
        url = self._url.copy_with(host=address)
        if path:
            whole = self._url.raw_path.rstrip(b"/") + path.encode("ascii")
            url = url.copy_with(raw_path=whole)
        every = {
            "Host": self._url.netloc.decode("ascii"),
            "User-Agent": f"mlembed/{__version__}",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        extensions = {
            "sni_hostname": self._host,
            "timeout": httpx.Timeout(deadline.remaining()).as_dict(),
            "trace": deadline.trace,
        }
        return httpx.Request(
            method, url, headers={**every, **headers}, content=content, extensions=extensions
        )

    def _exchange(self, request: httpx.Request, max_bytes: int) -> Answer:
        if self._transport is not None:
            return _read(self._transport.handle_request(request), max_bytes)
        # The transport alone: a client would write the whole URL to its log.
        with httpx.HTTPTransport(verify=self._tls, trust_env=False) as transport:
            return _read(transport.handle_request(request), max_bytes)


def _read(response: httpx.Response, max_bytes: int) -> Answer:
    """Read the answer as far as it is reasonable; one that breaks off is what came of it."""
    parts: list[bytes] = []
    size = 0
    try:
        for part in response.stream:  # type: ignore[union-attr]  # of a sync transport
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                break
    except httpx.TransportError:
        pass  # the status has come; who needs the body as well sees that it is cut
    finally:
        response.close()
    return Answer(response.status_code, response.headers, b"".join(parts))


def _read_url(text: str, owner: str, *, allow_private: bool) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError):
        raise SettingsError(f"{owner}: url is malformed; expected https://host/path") from None
    if url.scheme not in _PORTS or not url.host:
        raise SettingsError(f"{owner}: url must begin with https:// and a host")
    if not _HOST.fullmatch(url.raw_host) or (
        url.port is not None and not 0 < url.port <= _MAX_PORT
    ):
        raise SettingsError(f"{owner}: url is malformed; its host or port cannot exist")
    if url.scheme == "http" and not allow_private:
        raise SettingsError(
            f"{owner}: url must be https; plain http needs allow_private, for a receiver of your own"
        )
    if url.userinfo:
        raise SettingsError(f"{owner}: url must hold no user or password")
    if not allow_private and is_private_literal(url.raw_host.decode("ascii")):
        raise SettingsError(
            f"{owner}: url is at a private address, which is refused; name a public host, or set "
            "allow_private for a receiver of your own"
        )
    return url.copy_with(fragment=None)
