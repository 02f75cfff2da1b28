"""Read a value as one of several classes, in a training table and in an outcome alike.

A class is a text. A number stands for its shortest spelling, true and false for these words, and
text that spells a number for the class that is the same number.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_WHOLE = 2.0**63


class Places:
    """Where each class stands.

    Args:
        classes: The classes, in the order of a model's probabilities.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._places = {text: place for place, text in enumerate(classes)}
        numbers = ((number_in(text), place) for text, place in reversed(self._places.items()))
        self._numbers = {number: place for number, place in numbers if number is not None}

    def of(self, value: Any) -> int | None:
        """Return the place of the class that *value* says; None where it says none of them.

        Args:
            value: A text, a bool or a number of Python.
        """
        text = spelling(value)
        if text is None:
            return None
        place = self._places.get(text)
        if place is not None:
            return place
        number = number_in(text)
        return None if number is None else self._numbers.get(number)


def spelling(value: Any) -> str | None:
    """Return the class that *value* stands for; None where it is missing, infinite or no class."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    if not math.isfinite(number):
        return None
    return str(int(number)) if number.is_integer() and abs(number) < _WHOLE else repr(number)


def number_in(text: str) -> float | None:
    """Return the finite number that *text* spells, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
