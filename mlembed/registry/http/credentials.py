"""Who the caller is, and for which origin alone.

A credential is made for one scheme, host and port and is shown to no other, however a server
redirects; it stands in no repr, message or log.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from mlembed.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlembed.registry.http.transport import Response

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9._:-]+")
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Credentials(Protocol):
    """Signs requests to one origin; both calls may be made from any thread, and after a fork.

    The transport asks only for URLs of its own origin, and never again within a call that a
    redirect has led elsewhere.
    """

    def header(self, url: str, method: str, /) -> Mapping[str, str]:
        """Return the headers that let *method* do its work on *url*; none where there are none.

        Raises:
            RegistryError: If they cannot be had.
        """
        ...

    def challenged(self, response: Response, /) -> bool:
        """Learn from a 401 and return whether asking `header` again may help; once a call.

        Raises:
            RegistryError: If what the answer wants cannot be had.
        """
        ...


class Static:
    """The same credential for every request to *origin*.

    Args:
        origin: A URL of the registry; only its scheme, host and port count.
        authorization: `user:password`, or a token.

    Raises:
        SettingsError: If one of them is malformed; shows neither.
    """

    def __init__(self, origin: str, authorization: str) -> None:
        self.origin = require_origin(origin)
        if ":" in authorization:
            self._value = "Basic " + base64.b64encode(authorization.encode()).decode("ascii")
        elif _TOKEN.fullmatch(authorization):
            self._value = f"Bearer {authorization}"
        else:
            raise SettingsError(
                "the registry's credentials are malformed; expected user:password or a token, "
                "without blanks and without the word Bearer, in MLEMBED_REGISTRY_AUTH"
            )

    def __repr__(self) -> str:
        return f"Static({self.origin!r}, ...)"

    def header(self, url: str, _method: str, /) -> Mapping[str, str]:
        """Return the one header, where *url* is of the origin it was made for."""
        return {"Authorization": self._value} if origin_of(url) == self.origin else {}

    def challenged(self, _response: Response, /) -> bool:
        """Return False: there is nothing better to show."""
        return False


def origin_of(url: str) -> str:
    """Return the scheme, host and port of *url*; equal for every spelling of one origin.

    Raises:
        ValueError: If it is no `http` or `https` URL of a host that can exist.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").encode("idna").decode("ascii").lower()
    port = _PORTS[parts.scheme] if parts.scheme in _PORTS and parts.port is None else parts.port
    if parts.scheme not in _PORTS or not port or not _HOST.fullmatch(host):
        raise ValueError("not an http or https URL of a host")
    return f"{parts.scheme}://[{host}]:{port}" if ":" in host else f"{parts.scheme}://{host}:{port}"


def require_origin(url: str) -> str:
    """Return the origin of *url*, which an operator wrote.

    Raises:
        SettingsError: If it has none or holds a user; does not show it.
    """
    try:
        origin = origin_of(url)
    except ValueError:
        raise SettingsError(
            "the registry's URL is malformed; expected https://host/path or http://host:port/path"
        ) from None
    if "@" in urlsplit(url).netloc:
        raise SettingsError(
            "the registry's URL holds a user or password; give them as MLEMBED_REGISTRY_AUTH"
        )
    return origin
