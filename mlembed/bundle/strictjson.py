"""Read JSON that decides what runs: no duplicate keys, no NaN, no surprises in size or depth."""

from __future__ import annotations

import json
import math
from typing import Any

from mlembed.errors import BundleError

_MAX_BYTES = 64 * 1024 * 1024


def loads(data: bytes, place: str, max_bytes: int = _MAX_BYTES) -> Any:
    """Parse *data*, naming *place* in errors.

    Raises:
        BundleError: If it is too large, too deep, not UTF-8 JSON, repeats a key or holds NaN.
    """
    if len(data) > max_bytes:
        raise BundleError(f"{place} is larger than {max_bytes} bytes; it is refused unread")
    try:
        return json.loads(
            data.decode(),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{place} is not the JSON it should be: {error}") from error


def dumps(value: Any) -> bytes:
    """Write *value* the one way that digests rely on: sorted keys, no spaces, UTF-8.

    Raises:
        BundleError: If it holds NaN, an infinity or half a surrogate pair, which JSON cannot.
    """
    try:
        return json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode()
    except UnicodeEncodeError:
        raise BundleError("a text holds half a surrogate pair; clean it before packing") from None
    except ValueError as error:
        raise BundleError(f"a value is no JSON: {error}; leave it out or set it to None") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large for a double")
    return number
