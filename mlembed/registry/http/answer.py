"""Read a server's answer with bounds: how much, in which form, and which statuses mean what.

Nothing is ever decompressed: what a registry serves is named by its digest as it lies there, and
a small body that unpacks into gigabytes is refused before it is read.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING

from mlembed.errors import RegistryError
from mlembed.registry.http.faults import TransientError, place

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

_MAX_PAUSE_SECONDS = 5.0
_MAX_DRAINED_BYTES = 64 * 1024
_UNHANDLED = (429, 503)


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """A whole, small answer.

    Attributes:
        status: The HTTP status: 2xx, 304 where it was asked for, or a 4xx that the caller judges.
        headers: By their names in lower case.
        body: Not more than was asked for, and as it was sent.
        url: Where it came from in the end; its query may be a secret.
    """

    status: int
    headers: Mapping[str, str] = dataclasses.field(repr=False)
    body: bytes = dataclasses.field(repr=False)
    url: str = dataclasses.field(repr=False)


def read(answer: httpx.Response, request: httpx.Request, max_bytes: int) -> Response:
    """Read all of *answer*, which is refused if its body is larger than *max_bytes*.

    Raises:
        RegistryError: If it is larger or compressed.
    """
    where = place(request.url)
    body = bytearray()
    if request.method != "HEAD":
        require_plain(answer, where)
        if (length_of(answer) or 0) > max_bytes:
            raise _too_large(where, max_bytes)
        for part in answer.iter_raw():
            body += part
            if len(body) > max_bytes:
                raise _too_large(where, max_bytes)
    headers = {name.lower(): text for name, text in answer.headers.items()}
    return Response(answer.status_code, headers, bytes(body), str(request.url))


def drain(answer: httpx.Response) -> None:
    """Read the rest of *answer* if it is small, so that its connection can be used again."""
    size = 0
    for part in answer.iter_raw():
        size += len(part)
        if size > _MAX_DRAINED_BYTES:
            return


def require_good(answer: httpx.Response, request: httpx.Request, *, known: bool) -> None:
    """Let pass what the caller judges: 2xx, 304 where it was asked for, most of 4xx.

    Args:
        answer: What came.
        request: What was asked.
        known: Whether the request bore credentials.

    Raises:
        TransientError: If the server is busy or fails.
        RegistryError: If it refuses the caller, or answers what was not asked.
    """
    status, where = answer.status_code, place(request.url)
    if status in (401, 403):
        raise RegistryError(
            f"{where} refuses these credentials ({status}); check MLEMBED_REGISTRY_AUTH, "
            "user:password or a token, and what they may do"
            if known
            else f"{where} wants credentials ({status}); set MLEMBED_REGISTRY_AUTH to "
            "user:password or a token"
        )
    if status == 429 or status >= 500:  # noqa: PLR2004  too many requests, and the server's own
        remedy = "ask less often" if status == 429 else "look into the registry's own log"  # noqa: PLR2004
        raise TransientError(
            f"{where} cannot serve this now ({status}); try again later, or {remedy}",
            "busy" if status in _UNHANDLED else "failing",
            _pause(answer.headers.get("retry-after", "")),
        )
    unasked = (status == 304 and "if-none-match" not in request.headers) or (  # noqa: PLR2004
        status == 206 and "range" not in request.headers  # noqa: PLR2004
    )
    if unasked or not (200 <= status < 300 or status == 304 or status >= 400):  # noqa: PLR2004
        raise RegistryError(
            f"{where} answers {status} to {request.method}, which is not understood; check the "
            "registry's URL"
        )


def require_plain(answer: httpx.Response, where: str) -> None:
    """Refuse a compressed body.

    Raises:
        RegistryError: If *answer*, of *where*, has one.
    """
    coding = answer.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise RegistryError(
            f"{where} compresses its answer although it was asked not to; turn content encoding "
            "off on the registry or the proxy before it"
        )


def length_of(answer: httpx.Response) -> int | None:
    """Return the length that *answer* announces in bytes; None if it does not."""
    text = answer.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() else None


def _pause(text: str) -> float | None:
    """Return the seconds that the Retry-After of *text* means, capped."""
    if text.isascii() and text.isdecimal():
        seconds = float(text)
    else:
        from email.utils import parsedate_to_datetime

        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return min(max(seconds, 0.0), _MAX_PAUSE_SECONDS) if not math.isnan(seconds) else None


def _too_large(where: str, max_bytes: int) -> RegistryError:
    return RegistryError(
        f"{where} sends more than the {max_bytes} bytes that such a document may have; check the "
        "registry's URL"
    )
