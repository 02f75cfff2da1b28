"""Read the body of a request: of the right type, not too large, strict JSON, and nothing unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlembed.bundle import strictjson
from mlembed.endpoints.messages import JSON
from mlembed.endpoints.problems import Problem
from mlembed.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Collection

    from mlembed.endpoints.messages import Request

_MAX_NAMED, _MAX_NAME = 10, 64
_CHARSETS = ("", "utf-8", "utf8")


def check_size(request: Request, max_bytes: int) -> None:
    """Refuse a body that is too large, or says so.

    Raises:
        Problem: Of the kind `too-large`, or `request` where the length is none.
    """
    said = request.headers.get("content-length", "0") or "0"
    if not (said.isascii() and said.isdigit()):
        raise Problem("request", "Content-Length is no number")
    # The digits are counted first: a number of thousands takes long, and Python refuses it.
    if len(said) > 18 or int(said) > max_bytes or len(request.body) > max_bytes:  # noqa: PLR2004
        raise Problem(
            "too-large", f"At most {max_bytes} bytes are read; send fewer records at a time"
        )


def check_type(request: Request, *, accepted: Collection[str] = (JSON,)) -> None:
    """Refuse a body of another media type.

    A form of another site can send neither of those that are accepted, so a logged-in user's browser
    cannot be made to ask.

    Args:
        request: The request.
        accepted: Media types; the empty one stands for none, which browsers are refused.

    Raises:
        Problem: Of the kind `media-type`.
    """
    headers = request.headers
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise Problem(
            "media-type", "A compressed body is not read", (), {"Accept-Encoding": "identity"}
        )
    media, _, parameters = headers.get("content-type", "").partition(";")
    media = media.strip().lower()
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    is_known = media in accepted and (bool(media) or "origin" not in headers)
    if not is_known or charset not in _CHARSETS:
        names = " or ".join(filter(None, accepted))
        raise Problem("media-type", f"Send Content-Type: {names}", (), {"Accept": names})


def read_object(data: bytes, max_bytes: int) -> dict[str, Any]:
    """Return the JSON object that *data* is.

    Raises:
        Problem: Of the kind `json`, or `request` where it is something else.
    """
    try:
        value = strictjson.loads(data, "the body", max_bytes)
    except BundleError as error:
        raise Problem("json", str(error)) from error
    if type(value) is not dict:
        raise Problem("request", f"The body is {json_type(value)}, expected an object")
    return value


def check_names(given: dict[str, Any], known: Collection[str], place: str) -> None:
    """Refuse what *place* does not have.

    Raises:
        Problem: Of the kind `request`, naming the first of them.
    """
    if unknown := [name for name in given if name not in known]:
        shown = tuple(f"'{name[:_MAX_NAME]}' is unknown" for name in unknown[:_MAX_NAMED])
        raise Problem("request", f"{place} has: {', '.join(known)}", shown)


def typed(given: dict[str, Any], name: str, kind: type, default: Any = None) -> Any:
    """Return what *given* has under *name*; *default* where that is nothing, or null.

    Raises:
        Problem: Of the kind `request`, if it is of another type than *kind*.
    """
    value = given.get(name)
    if value is None:
        return default
    if type(value) is not kind:
        wanted = _TYPES[kind]
        raise Problem("request", f"'{name}' is {json_type(value)}, expected {wanted}")
    return value


def key_of(value: Any, name: str = "key") -> str | None:
    """Return a host's key, a text or a whole number, as a text; None for null.

    Raises:
        Problem: Of the kind `request`, if it is something else.
    """
    if value is None or type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    raise Problem("request", f"'{name}' is {json_type(value)}, expected a text or a whole number")


_TYPES = {
    type(None): "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
}


def json_type(value: Any) -> str:
    """Return what people call the type of a JSON value."""
    return _TYPES.get(type(value), "something else")
