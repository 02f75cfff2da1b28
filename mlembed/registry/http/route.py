"""Where a call goes next, and what may still be told there.

A redirect is followed five times at most and never from https to http. Once it has led to another
origin, no credential goes along any more, not even back home: the server that sent the call there
chose the URL it comes back with.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, BinaryIO

from mlembed.errors import RegistryError
from mlembed.registry.http.answer import Response, drain
from mlembed.registry.http.credentials import origin_of
from mlembed.registry.http.faults import place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx

    from mlembed.registry.http.credentials import Credentials

_CHUNK_BYTES = 64 * 1024
_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_SAME_METHOD = (307, 308)
_UNAUTHORIZED = 401
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
# Headers of the caller's that say who asks; they leave their origin as little as credentials do.
_SECRET = {"authorization", "cookie", "proxy-authorization", "x-amz-security-token"}


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """What is asked, before credentials and redirects.

    Attributes:
        method: HTTP method.
        url: Where it begins.
        headers: Of the caller.
        content: Body; a file is read from `start` on.
        size: Bytes of the body.
        start: Position of a file where its body begins.
    """

    method: str
    url: httpx.URL
    headers: Mapping[str, str] = dataclasses.field(repr=False)
    content: bytes | BinaryIO | None = dataclasses.field(default=None, repr=False)
    size: int = 0
    start: int = 0


class Route:
    """The way of one try of *call*.

    Args:
        call: What is asked.
        origin: The origin that *credentials* are for.
        credentials: Who asks; None for nobody.

    Attributes:
        known: Whether the last request bore credentials.
    """

    def __init__(self, call: Call, origin: str, credentials: Credentials | None) -> None:
        self._call = call
        self._url = call.url
        self._origin = origin
        self._home = origin_of(str(call.url))
        self._abroad = False
        self._credentials = credentials
        self._redirects = 0
        self._challenged = False
        self.known = False

    def request(self) -> httpx.Request:
        """Return the next request.

        Raises:
            RegistryError: If a header cannot be sent, or credentials cannot be had.
        """
        import httpx

        from mlembed import __version__

        headers = {
            name: text
            for name, text in self._call.headers.items()
            if not (self._abroad and name.lower() in _SECRET)
        }
        signer = self._signer()
        signed = signer.header(str(self._url), self._call.method) if signer is not None else {}
        self.known = bool(signed)
        headers.update(signed)
        for name, text in headers.items():
            if not (_NAME.fullmatch(name) and is_sendable(text)):
                raise RegistryError(
                    f"cannot ask {place(self._url)}: a header holds what HTTP cannot carry; "
                    "expected printable ASCII"
                )
        headers |= {"Accept-Encoding": "identity", "User-Agent": f"mlembed/{__version__}"}
        content = self._call.content
        if content is None or isinstance(content, bytes):
            body: bytes | Iterator[bytes] | None = content
        else:
            headers["Content-Length"] = str(self._call.size)
            body = _parts(self._call, content)
        return httpx.Request(self._call.method, self._url, headers=headers, content=body)

    def goes_on(self, answer: httpx.Response) -> bool:
        """Return whether there is another request to make after *answer*.

        Raises:
            RegistryError: If a redirect leads where the call must not go.
        """
        if answer.status_code in _REDIRECTS and "location" in answer.headers:
            self._redirect(answer)
        elif answer.status_code != _UNAUTHORIZED or not self._persuades(answer):
            return False
        drain(answer)
        return True

    def _signer(self) -> Credentials | None:
        return self._credentials if self._home == self._origin and not self._abroad else None

    def _persuades(self, answer: httpx.Response) -> bool:
        signer = self._signer()
        if signer is None or self._challenged:
            return False
        self._challenged = True
        headers = {name.lower(): text for name, text in answer.headers.items()}
        return signer.challenged(Response(answer.status_code, headers, b"", str(self._url)))

    def _redirect(self, answer: httpx.Response) -> None:
        here = place(self._url)
        self._redirects += 1
        if self._redirects > _MAX_REDIRECTS:
            raise RegistryError(f"{here} redirects too often; check the registry's URL")
        target = read_url(answer.headers["location"], self._url, f"what {here} redirects to")
        if self._url.scheme == "https" and target.scheme != "https":
            raise RegistryError(
                f"{here} redirects from https to {place(target)}; that is never followed"
            )
        moved = origin_of(str(target)) != origin_of(str(self._url))
        if self._call.method not in ("GET", "HEAD") and (
            moved or answer.status_code not in _SAME_METHOD
        ):
            raise RegistryError(
                f"{here} redirects {self._call.method} to {place(target)}; only reading is "
                "redirected. Write the registry's URL as it is there"
            )
        self._abroad = self._abroad or moved
        self._url = target


def read_call(
    method: str,
    url: httpx.URL,
    headers: Mapping[str, str] | None,
    content: bytes | BinaryIO | None,
) -> Call:
    """Return what is to be asked, with the size of its body.

    Raises:
        RegistryError: If the body is a file that cannot be measured.
    """
    if content is None or isinstance(content, bytes):
        return Call(method, url, dict(headers or {}), content, len(content or b""))
    try:
        start = content.tell()
        size = content.seek(0, 2) - start
    except OSError as error:
        raise _unreadable(url, error) from error
    return Call(method, url, dict(headers or {}), content, size, start)


def read_url(text: str, base: httpx.URL | str, what: str) -> httpx.URL:
    """Return the URL *text*, which may be relative to *base*, without user and fragment.

    Raises:
        RegistryError: If it is no http or https URL; calls it *what*.
    """
    import httpx

    try:
        url = httpx.URL(base).join(text).copy_with(userinfo=b"", fragment=None)
        origin_of(str(url))
    except (httpx.InvalidURL, ValueError):
        # The foreign error may quote a part of the URL that is a secret.
        raise RegistryError(
            f"{what} is no http or https URL of a host that can exist; check the registry's URL"
        ) from None
    return url


def is_sendable(text: str) -> bool:
    """Return whether *text* can be the value of a header."""
    return _VALUE.fullmatch(text) is not None


def _parts(call: Call, file: BinaryIO) -> Iterator[bytes]:
    left = call.size
    try:
        file.seek(call.start)
        while left and (part := file.read(min(left, _CHUNK_BYTES))):
            left -= len(part)
            yield part
    except OSError as error:
        raise _unreadable(call.url, error) from error


def _unreadable(url: httpx.URL, error: OSError) -> RegistryError:
    return RegistryError(
        f"cannot read what to send to {place(url)}: {error.strerror or type(error).__name__}"
    )
