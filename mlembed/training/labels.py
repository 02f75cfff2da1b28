"""What a model predicts: one of two classes, one of several, or a quantity.

A label means the same in a training table and in an outcome that a host reports much later:
both are read by the one method `of`.
"""

from __future__ import annotations

import dataclasses
import decimal
import functools
import math
import numbers
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from mlembed.bundle.classes import Places, number_in, spelling
from mlembed.bundle.task import MAX_CLASSES
from mlembed.errors import DataError, DeclarationError

if TYPE_CHECKING:
    Class = str | bool | float

_NAMED = 6
DEFAULT_THRESHOLD = 0.5
_WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}


@dataclasses.dataclass(frozen=True)
class Binary:
    """A label of two classes; every value that is not positive is the other class.

    Attributes:
        column: Column of the table.
        positive: The positive class, or the several spellings of it.
        threshold: Score from which the label is positive.
    """

    kind: ClassVar[Literal["binary"]] = "binary"

    column: str
    _: dataclasses.KW_ONLY
    positive: Class | Iterable[Class]
    threshold: float = DEFAULT_THRESHOLD

    def __post_init__(self) -> None:
        if isinstance(self.positive, Iterable) and not isinstance(self.positive, str):
            object.__setattr__(self, "positive", tuple(self.positive))
        if not self.classes or not all(_is_class(item) for item in self.classes):
            raise DeclarationError(
                f"Binary('{self.column}', positive=...): expected a text, a bool or a number, "
                "or several of them"
            )
        if not 0 < self.threshold < 1:
            raise DeclarationError(
                f"Binary('{self.column}', threshold=...): expected a number between 0 and 1"
            )

    @property
    def classes(self) -> tuple[Class, ...]:
        """The spellings of the positive class."""
        return self.positive if isinstance(self.positive, tuple) else (self.positive,)

    @property
    def words(self) -> str:
        """The positive class as people say it."""
        return " or ".join(
            str(item).lower() if isinstance(item, bool) else str(item) for item in self.classes
        )

    def of(self, value: Any) -> float:
        """Return 1.0 if *value* is the positive class, 0.0 if it is the other.

        Text and numbers are the same where they say the same ("1" and 1). True is the positive
        class, whatever the table calls it, unless the declaration names True, False, 1 or 0.

        Raises:
            DataError: If the value is missing, or neither class.
        """
        plain = _plain(value)
        if plain is None:
            raise DataError(
                f"label '{self.column}': an outcome is missing; expected {self._wanted}"
            )
        if isinstance(plain, str) and plain in self._texts:
            return 1.0
        number, known = _number(plain), self._numbers
        if (
            number is not None
            and not math.isfinite(number)
            and (known or not isinstance(plain, str))
        ):
            raise DataError(
                f"label '{self.column}': an outcome is not finite; expected {self._wanted}"
            )
        if number is not None and known:
            if isinstance(plain, bool) and not known <= {0.0, 1.0}:
                return number
            if number in (0.0, 1.0) or not all(isinstance(item, bool) for item in self.classes):
                return float(number in known)
        elif isinstance(plain, str):
            if self._texts:
                return 0.0
        elif number in (0.0, 1.0):
            return number
        raise DataError(f"label '{self.column}': an outcome is unclear; expected {self._wanted}")

    @functools.cached_property
    def _texts(self) -> frozenset[str]:
        return frozenset(item.strip() for item in self.classes if isinstance(item, str))

    @functools.cached_property
    def _numbers(self) -> frozenset[float]:
        found = (_number(item.strip() if isinstance(item, str) else item) for item in self.classes)
        return frozenset(number for number in found if number is not None)

    @property
    def _wanted(self) -> str:
        return f"a bool, or {self.words} for the positive class"


@dataclasses.dataclass(frozen=True)
class Multiclass:
    """A label of several classes.

    A class is a text; a number stands for its shortest spelling ("3" for 3.0), true and false for
    these words.

    Attributes:
        column: Column of the table.
        classes: The classes, in the order of the model's probabilities; learnt where they are not
            given, by `learn`.
        threshold: NaN: the most probable class is the label.
    """

    kind: ClassVar[Literal["multiclass"]] = "multiclass"
    threshold: ClassVar[float] = math.nan

    column: str
    _: dataclasses.KW_ONLY
    classes: Sequence[Class] | None = None

    def __post_init__(self) -> None:
        if self.classes is None:
            return
        given = (self.classes,) if isinstance(self.classes, str) else tuple(self.classes)
        texts = [spelling(_plain(item)) if _is_class(item) else None for item in given]
        named = tuple(text for text in texts if text)
        if len({*named}) != len(given) or not 2 <= len(named) <= MAX_CLASSES:  # noqa: PLR2004
            raise DeclarationError(
                f"Multiclass('{self.column}', classes=...): expected 2 to {MAX_CLASSES} texts, "
                "numbers or bools, each once; leave it out and they are learnt"
            )
        object.__setattr__(self, "classes", named)

    def learn(self, values: Iterable[Any]) -> Multiclass:
        """Return this label with the classes among *values*, sorted; as it is where it has some.

        Numbers are sorted as such, if all are. Missing values, and what is no class, are passed
        over: `of` refuses them.

        Raises:
            DataError: If there are fewer than two classes, or more than a bundle can hold.
        """
        if self.classes is not None:
            return self
        found = {text for value in values if (text := spelling(_plain(value))) is not None}
        if not 2 <= len(found) <= MAX_CLASSES:  # noqa: PLR2004
            raise DataError(
                f"label '{self.column}': expected 2 to {MAX_CLASSES} classes, the training rows "
                f"hold {len(found)}; join rare ones, or declare a Regression of a quantity"
            )
        numbers = {text: number for text in found if (number := number_in(text)) is not None}
        if len(numbers) < len(found):
            return dataclasses.replace(self, classes=sorted(found))
        in_order = sorted(found, key=lambda text: (numbers[text], text))
        return dataclasses.replace(self, classes=in_order)

    def of(self, value: Any) -> float:
        """Return the place of the class *value* among the classes.

        Raises:
            DataError: If it is missing or none of them, or no classes are known yet.
        """
        plain = _plain(value)
        place = self._places.of(plain)
        if place is None:
            what = "missing" if plain is None else "none of the classes"
            raise DataError(f"label '{self.column}': an outcome is {what}; expected {self._wanted}")
        return float(place)

    @functools.cached_property
    def _places(self) -> Places:
        return Places([str(item) for item in self.classes or ()])

    @property
    def _wanted(self) -> str:
        named = [str(item) for item in (self.classes or ())[:_NAMED]]
        more = len(self.classes or ()) - len(named)
        told = f"one of {', '.join(named)}{f' and {more} more' if more else ''}"
        return told if named else "classes to be given, or learnt from the training rows"


@dataclasses.dataclass(frozen=True)
class Regression:
    """A quantity.

    Attributes:
        column: Column of the table.
        unit: Unit of the quantity, for people.
        threshold: NaN: a quantity has no classes.
    """

    kind: ClassVar[Literal["regression"]] = "regression"
    threshold: ClassVar[float] = math.nan

    column: str
    _: dataclasses.KW_ONLY
    unit: str = ""

    def of(self, value: Any) -> float:
        """Return *value* as a number.

        Raises:
            DataError: If it is missing, no number or not finite.
        """
        plain = _plain(value)
        number = None if isinstance(plain, str) and plain.lower() in _WORDS else _number(plain)
        if number is None or not math.isfinite(number):
            raise DataError(f"label '{self.column}': an outcome is no finite number")
        return number


def _is_class(item: Any) -> bool:
    return (isinstance(item, str) and bool(item.strip())) or (
        isinstance(item, (bool, int, float)) and math.isfinite(item)
    )


def _plain(value: Any) -> Any:
    """Return *value* as None, a trimmed text, a bool or a float; others as they are."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, decimal.Decimal)):
        return value
    return None if math.isnan(value) else float(value)


def _number(value: Any) -> float | None:
    """Return the number that *value* is or spells, or None."""
    if isinstance(value, str):
        if value.lower() in _WORDS:
            return _WORDS[value.lower()]
        try:
            return float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, (bool, int, float)) else None
