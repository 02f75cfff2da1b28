"""What comes over HTTP and what goes back, of no framework."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = "application/json"
_NONE: Mapping[str, str] = MappingProxyType({})


class Request(NamedTuple):
    """A request, as an adapter hands it on.

    Attributes:
        method: `GET`, `POST` and so on, in capitals.
        path: The path below the mount, percent-decoded, without the first slash.
        headers: By lower-case name.
        body: The bytes; an adapter may stop reading beyond `Limits.max_bytes`, and need not begin
            where `content-length` says that there are more.
        client: Who asks, for the throttle: an address, or what the host knows the caller by.
        mount: Path of the mount, as `/ml`, for the OpenAPI description.
    """

    method: str
    path: str
    headers: Mapping[str, str] = _NONE
    body: bytes = b""
    client: str = ""
    mount: str = ""


class Answer(NamedTuple):
    """What goes back.

    Attributes:
        status: The HTTP status.
        headers: By name; no two of the same.
        body: The bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


# One encoder for all: `json.dumps` would make another at each call.
_written = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_AS_JSON = MappingProxyType({"Content-Type": JSON, **_HEADERS})


def json_answer(data: Any, status: int = 200, headers: Mapping[str, str] = _NONE) -> Answer:
    """Answer with *data* as JSON; *headers* come beside the usual ones, or in their place."""
    return Answer(status, {**_AS_JSON, **headers} if headers else _AS_JSON, to_json(data))


def to_json(data: Any) -> bytes:
    """Write *data* as strict JSON in UTF-8.

    Raises:
        ValueError: If it holds a number that JSON has not.
    """
    return _written(data).encode()


def binary_answer(data: bytes, headers: Mapping[str, str]) -> Answer:
    """Answer with bytes."""
    return Answer(200, {"Content-Type": "application/octet-stream", **_HEADERS, **headers}, data)
