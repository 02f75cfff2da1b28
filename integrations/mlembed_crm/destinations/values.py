"""Read values strictly: what is not of a type is None, and no value becomes another.

A value of the wrong type may be an error inside a system rather than a refusal, so it is found
before it is sent.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from mlembed_crm.errors import PayloadError


def text(value: Any) -> str | None:
    """Return a text."""
    return value if isinstance(value, str) else None


def boolean(value: Any) -> bool | None:
    """Return True or False."""
    return value if isinstance(value, bool) else None


def integer(value: Any) -> int | None:
    """Return an integer; True is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: Any) -> float | None:
    """Return a number, an integer as it is; True is none."""
    return value if isinstance(value, float) else integer(value)


def date(value: Any) -> dt.date | None:
    """Return the date of a text in ISO 8601."""
    try:
        return dt.date.fromisoformat(value)
    except (TypeError, ValueError):
        return None


def moment(value: Any) -> dt.datetime | None:
    """Return the time of a text in ISO 8601; one without a zone is none."""
    try:
        time = dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else None


def integer_key(key: str, bits: int) -> int:
    """Return the integer that a key is, of less than *bits* bits.

    Raises:
        PayloadError: If it is none; does not show the key.
    """
    # The one way to write a number, so that two keys are never one record.
    if not (key.isascii() and key.isdecimal() and key == str(int(key[:20]))):
        raise PayloadError("holds integers, and the key is none")
    if int(key) >= 2**bits:
        raise PayloadError("holds no integer as large as the key")
    return int(key)
