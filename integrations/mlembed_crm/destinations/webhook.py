"""Post an action to a URL as a signed CloudEvent.

Every attempt opens its own connection, to an address that was checked, and ends by a deadline
that a slow receiver cannot stretch. Redirects and proxies are not followed.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import httpx

from mlembed import __version__
from mlembed.errors import SettingsError
from mlembed_crm import signing
from mlembed_crm.addresses import is_private_literal, resolve
from mlembed_crm.destinations import Receipt
from mlembed_crm.destinations.answers import require_accepted
from mlembed_crm.destinations.deadline import Deadline
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from mlembed_crm.action import Action

_MAX_RESPONSE_BYTES = 64 * 1024
_PORTS = {"https": 443, "http": 80}
_MAX_PORT = 65_535
_HOST = re.compile(rb"[A-Za-z0-9._:-]+")


class Webhook:
    """A receiver of signed webhooks (Standard Webhooks 1.0, CloudEvents 1.0).

    Args:
        url: Where to post; `https` unless *allow_private*.
        secret: `whsec_` and base64, or several while they are being rotated: each signs.
        allow_private: Allow private addresses and plain `http`, for a receiver of your own.
        timeout_seconds: Longest time of one attempt, once its name is resolved.
        tls: TLS settings, for a receiver with a private certificate authority.

    Raises:
        SettingsError: If the URL or a secret is malformed.
    """

    def __init__(
        self,
        url: str,
        secret: str | Sequence[str],
        *,
        allow_private: bool = False,
        timeout_seconds: float = 10.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = _read_url(url, allow_private=allow_private)
        self._host = self._url.raw_host.decode("ascii")
        self._keys = signing.read_secrets(secret)
        if not 0 < timeout_seconds < float("inf"):
            raise SettingsError("Webhook: timeout_seconds must be more than 0, and finite")
        self._allow_private = allow_private
        self._timeout_seconds = timeout_seconds
        self._tls = tls or httpx.create_ssl_context(trust_env=False)

    @property
    def name(self) -> str:
        """The receiver's scheme and host; the rest of the URL may be secret."""
        return f"{self._url.scheme}://{self._url.netloc.decode('ascii')}"

    def __repr__(self) -> str:
        return f"Webhook('{self.name}/...')"

    def send(self, action: Action, /) -> Receipt:
        """Post *action*.

        Raises:
            DeliveryError: If the answer is not 2xx or does not come in time.
        """
        port = self._url.port or _PORTS[self._url.scheme]
        addresses = resolve(self._host, port, allow_private=self._allow_private)
        body = action.event()
        with Deadline(self._timeout_seconds) as deadline:
            for address in addresses:
                request = self._request(address, action.id, body, deadline)
                try:
                    return self._exchange(request)
                except httpx.TransportError as error:
                    failure = error
                    if not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
                        break
            reason = type(failure).__name__
            if deadline.passed or isinstance(failure, httpx.TimeoutException):
                reason = f"no answer within {self._timeout_seconds:g} s"
            elif isinstance(failure, httpx.ConnectError):
                reason = f"cannot connect: {failure}"
            raise DeliveryError(reason, reached=False) from failure

    def _request(
        self, address: str, action_id: str, body: bytes, deadline: Deadline
    ) -> httpx.Request:
        timestamp = int(time.time())
        headers = {
            "Host": self._url.netloc.decode("ascii"),
            "User-Agent": f"mlembed/{__version__}",
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "Accept-Encoding": "identity",
            "Connection": "close",
            signing.ID: action_id,
            signing.TIMESTAMP: str(timestamp),
            signing.SIGNATURE: signing.sign(self._keys, action_id, timestamp, body),
        }
        extensions = {
            "sni_hostname": self._host,
            "timeout": httpx.Timeout(deadline.remaining()).as_dict(),
            "trace": deadline.trace,
        }
        url = self._url.copy_with(host=address)
        return httpx.Request("POST", url, headers=headers, content=body, extensions=extensions)

    def _exchange(self, request: httpx.Request) -> Receipt:
        # The transport alone: a client would write the whole URL to its log.
        with httpx.HTTPTransport(verify=self._tls, trust_env=False) as transport:
            response = transport.handle_request(request)
            try:
                require_accepted(response.status_code, response.headers)
                _drain(response)
            finally:
                response.close()
        return Receipt(status=response.status_code)


def _drain(response: httpx.Response) -> None:
    """Let the receiver finish its answer, as far as it is reasonable; the status has decided."""
    size = 0
    try:
        for part in response.iter_raw():
            size += len(part)
            if size > _MAX_RESPONSE_BYTES:
                return
    except httpx.TransportError:
        return


def _read_url(text: str, *, allow_private: bool) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError):
        raise SettingsError("Webhook: url is malformed; expected https://host/path") from None
    if url.scheme not in _PORTS or not url.host:
        raise SettingsError("Webhook: url must begin with https:// and a host")
    if not _HOST.fullmatch(url.raw_host) or (
        url.port is not None and not 0 < url.port <= _MAX_PORT
    ):
        raise SettingsError("Webhook: url is malformed; its host or port cannot exist")
    if url.scheme == "http" and not allow_private:
        raise SettingsError(
            "Webhook: url must be https; plain http needs allow_private, for a receiver of your own"
        )
    if url.userinfo:
        raise SettingsError("Webhook: url must hold no user or password; the signature is enough")
    if not allow_private and is_private_literal(url.raw_host.decode("ascii")):
        raise SettingsError(
            "Webhook: url is at a private address, which is refused; name a public host, or set "
            "allow_private for a receiver of your own"
        )
    return url.copy_with(fragment=None)
