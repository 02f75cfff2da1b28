"""What is wrong with the setting, said where it is and with what would be right."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Problem(NamedTuple):
    """One mistake in the setting.

    Attributes:
        kind: `setting` (a key or value), `reference` (a model reference or registry location) or
            `twice` (two apps declare one model).
        message: Where it is and what was expected.
        hint: What to change.
    """

    kind: Literal["setting", "reference", "twice"]
    message: str
    hint: str


class Reader:
    """Takes the values of one dict of the setting, and notes what is wrong with them.

    Args:
        place: What messages call it, such as `MLEMBED['HTTP']`.
        values: The dict; anything else is a problem, and counts as empty.
        known: The keys it may have.
        problems: Where problems are noted.
    """

    def __init__(
        self, place: str, values: Any, known: tuple[str, ...], problems: list[Problem]
    ) -> None:
        self.place, self._problems = place, problems
        self._values: Mapping[Any, Any] = values if isinstance(values, Mapping) else {}
        if not isinstance(values, Mapping):
            self.note(f"{place} is a {type(values).__name__}.", f"Give a dict of {known}.")
        for key in self._values:
            if key not in known:
                self.note(f"{place} has the unknown key '{key}'.", nearest(key, known))

    def note(self, message: str, hint: str) -> None:
        """Note a problem."""
        self._problems.append(Problem("setting", message, hint))

    def get(self, key: str) -> Any:
        """Return a value as it is; None where there is none."""
        return self._values.get(key)

    def text(self, key: str, default: str = "") -> str:
        """Return a text that is not empty, or *default*."""
        value = self._values.get(key)
        if value is None:
            return default
        if isinstance(value, str) and value:
            return value
        self.note(f"{self.place}['{key}'] must be a text.", "Give one, or leave it out.")
        return default

    def path(self, key: str) -> str:
        """Return the dotted path of an object, `package.module.name`, or an empty text."""
        value = self.text(key)
        if value and not all(part.isidentifier() for part in value.split(".")):
            value = "."
        if value and "." not in value[1:]:
            hint = "Write package.module.name; it is imported at its first use."
            self.note(f"{self.place}['{key}'] is no dotted path.", hint)
            return ""
        return value

    def path_or_list(self, key: str) -> str | tuple[Any, ...]:
        """Return the dotted path of a list, or the list that stands there itself."""
        value = self._values.get(key)
        return tuple(value) if isinstance(value, (list, tuple)) else self.path(key)

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """Return one of *choices*, the first by default."""
        value = self.text(key, choices[0])
        if value in choices:
            return value
        wanted = f"one of {', '.join(choices)}"
        self.note(f"{self.place}['{key}'] must be {wanted}.", nearest(value, choices))
        return choices[0]

    def flag(self, key: str, *, default: bool) -> bool:
        """Return True or False."""
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            self.note(f"{self.place}['{key}'] must be True or False.", "Give one of the two.")
            return default
        return value

    def number(self, key: str, default: float, least: float, most: float) -> float:
        """Return a number between *least* and *most*."""
        value = self._values.get(key, default)
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not good or not math.isfinite(value) or not least <= value <= most:
            wanted = f"a number between {least:g} and {most:g}"
            self.note(f"{self.place}['{key}'] must be {wanted}.", "Change it, or leave it out.")
            return default
        return float(value)

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        """Return a whole number between *least* and *most*."""
        value = self._values.get(key, default)
        if type(value) is not int or not least <= value <= most:
            wanted = f"a whole number between {least} and {most}"
            self.note(f"{self.place}['{key}'] must be {wanted}.", "Change it, or leave it out.")
            return default
        return value


def nearest(name: object, known: Iterable[str]) -> str:
    """Say which of the *known* names *name* is likely to mean, and list them all."""
    by_upper = {each.upper(): each for each in known}
    close = difflib.get_close_matches(str(name).upper(), by_upper, n=1)
    question = f"Did you mean '{by_upper[close[0]]}'? " if close else ""
    return f"{question}Known are: {', '.join(by_upper.values())}."
