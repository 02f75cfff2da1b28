"""Read JSON that decides what runs: no duplicate keys, no NaN, no surprises in size or depth.

No bytes take more than linear time or the host's stack, whatever limits of Python the host has
raised; and nothing is written that would be refused when it is read.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from mlembed.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_BYTES = 64 * 1024 * 1024
_MAX_DEPTH = 64
_MAX_DIGITS = 100
# Possessive, and matched where the last one ended: no text makes it go back or look twice.
_TO_BRACKET = re.compile(r'(?:[^][{}"]++|"(?:[^"\\]++|\\.)*+")*+([][{}])', re.DOTALL)
_HALF_ESCAPED = re.compile(r"\\u[dD][89a-fA-F]")
_HALF = re.compile("[\ud800-\udfff]")


def loads(data: bytes, place: str, max_bytes: int = _MAX_BYTES) -> Any:
    """Parse *data*, naming *place* in errors.

    Raises:
        BundleError: If it is too large, too deep, not UTF-8 JSON, repeats a key, or holds NaN, an
            endless integer or half a surrogate pair.
    """
    if len(data) > max_bytes:
        raise BundleError(f"{place} is larger than {max_bytes} bytes; it is refused unread")
    try:
        text = data.decode()
        _require_shallow(text)
        value = _DECODER.decode(text)
        if _HALF_ESCAPED.search(text) and any(map(_HALF.search, texts(value))):
            raise ValueError("a text holds half a surrogate pair")
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{place} is not the JSON it should be: {error}") from error
    return value


def dumps(value: Any) -> bytes:
    """Write *value* the one way that digests rely on: sorted keys, no spaces, UTF-8.

    Raises:
        BundleError: If it holds what JSON cannot, such as NaN, or what `loads` refuses.
    """
    try:
        data = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode()
    except UnicodeEncodeError:
        raise BundleError("a text holds half a surrogate pair; clean it before packing") from None
    except (ValueError, RecursionError) as error:
        raise BundleError(f"a value is no JSON: {error}; leave it out or set it to None") from error
    loads(data, "a value that is to be packed")
    return data


def texts(value: Any) -> Iterator[str]:
    """Yield every text and key in what `loads` returned."""
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            rest += item
        elif isinstance(item, dict):
            rest += [*item, *item.values()]


def _require_shallow(text: str) -> None:
    """Refuse brackets in brackets beyond what any document of ours needs.

    The parser's own limit is the interpreter's: a host that has raised it would crash.

    Raises:
        ValueError: If there are too many.
    """
    if text.count("[") + text.count("{") <= _MAX_DEPTH:
        return
    depth = at = 0
    while found := _TO_BRACKET.match(text, at):
        at = found.end()
        depth += 1 if found[1] in "[{" else -1
        if depth > _MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {_MAX_DEPTH} levels")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:  # the time it takes is quadratic, and Python's limit the host's
        raise ValueError("an integer has too many digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large for a double")
    return number


# One for all: `json.loads` would make another at each call.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_constant=_refuse_constant,
    parse_float=_finite,
    parse_int=_integer,
)
