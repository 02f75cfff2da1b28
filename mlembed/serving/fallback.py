"""The score a host answers with when anything fails, or the wish that failures are raised."""

from __future__ import annotations

import math
from typing import Final, TypeAlias

from mlembed.errors import SettingsError


class Raise:
    """No fallback: failures are raised."""

    def __repr__(self) -> str:
        return "RAISE"


RAISE: Final = Raise()
Fallback: TypeAlias = float | Raise


def checked(fallback: Fallback) -> Fallback:
    """Return *fallback*, a score as a float.

    Raises:
        SettingsError: If it is neither a finite number nor RAISE.
    """
    if isinstance(fallback, Raise):
        return fallback
    try:
        number = float(fallback)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(fallback, str) or not math.isfinite(number):
        raise SettingsError("fallback must be a finite number: the score to answer with")
    return number
