"""The columns of a model's input row: names, kinds, ranges, vocabularies.

A column says all that is needed to turn one field of a host's record into one double,
so a bundle can be served without the class that declared it.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Any, Literal, get_args

from mlembed.errors import DeclarationError

Kind = Literal["number", "integer", "boolean", "category", "timestamp"]
UnknownRule = Literal["rare", "missing", "error"]
LogMode = Literal["raw", "hash", "bucket", "drop"]

KINDS: tuple[Kind, ...] = get_args(Kind)
UNKNOWN_RULES: tuple[UnknownRule, ...] = get_args(UnknownRule)
LOG_MODES: tuple[LogMode, ...] = get_args(LogMode)
MISSING = math.nan
MAX_CODES = 250  # trees with native categories take at most 255, rare and missing among them


@dataclasses.dataclass(frozen=True, kw_only=True)
class Category:
    """How the vocabulary of a category is learnt; put it into `Annotated[str, Category(...)]`.

    Attributes:
        unknown: What a value outside the vocabulary becomes when served: `rare` (the bucket that
            rare training values share; missing where there was none), `missing`, or `error`.
        min_count: Training rows a value needs to get a code of its own.
        max_size: Most codes; the most frequent values win, ties in alphabetical order.
    """

    unknown: UnknownRule = "rare"
    min_count: int = 10
    max_size: int = 200

    def __post_init__(self) -> None:
        if self.unknown not in UNKNOWN_RULES:
            raise DeclarationError(f"Category(unknown={self.unknown!r}): expected {UNKNOWN_RULES}")
        counts = (self.min_count, self.max_size)
        if not (
            all(isinstance(count, int) for count in counts)
            and 1 <= self.max_size <= MAX_CODES
            and self.min_count >= 1
        ):
            raise DeclarationError(
                f"Category: min_count must be at least 1 and max_size between 1 and {MAX_CODES}"
            )


@dataclasses.dataclass(frozen=True)
class Log:
    """How a column is written to the prediction log; put it into `Annotated[str, Log("hash")]`.

    Attributes:
        mode: `raw`; `hash` (64 bits of an HMAC-SHA256 under `MLEMBED_LOG_KEY`); `bucket` (the bin
            of the bundle's reference a number falls into); or `drop`.
    """

    mode: LogMode

    def __post_init__(self) -> None:
        if self.mode not in LOG_MODES:
            raise DeclarationError(f"Log({self.mode!r}): expected one of {LOG_MODES}")


_FLAGS = ("nullable", "exclusive_minimum", "exclusive_maximum", "declared", "rare")
_RULE_KEYS = {field.name for field in dataclasses.fields(Category)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One field of the record and how it becomes one double of the row.

    Attributes:
        name: Field of the record.
        kind: number, integer, boolean, category (codes) or timestamp (seconds since 1970 UTC).
        nullable: Whether the field may be missing (NaN in the row).
        minimum: Least value allowed, in the field's unit.
        maximum: Greatest value allowed.
        exclusive_minimum: Whether `minimum` itself is refused.
        exclusive_maximum: Whether `maximum` itself is refused.
        unit: Unit or meaning, for people.
        vocabulary: Values of a category; a value's position is its code.
        declared: Whether the vocabulary was declared (Literal, Enum) rather than learnt.
        rare: Whether the code `len(vocabulary)` stands for all rare values.
        rule: How unknown values are treated and the vocabulary is learnt.
        log: How the prediction log holds it; a host may say otherwise.
    """

    name: str
    kind: Kind
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    unit: str = ""
    vocabulary: tuple[str, ...] = ()
    declared: bool = False
    rare: bool = False
    rule: Category = Category()
    log: LogMode = "raw"

    @property
    def n_codes(self) -> int:
        """Number of codes a category may take, the rare bucket included; 0 for other kinds."""
        return len(self.vocabulary) + self.rare if self.kind == "category" else 0

    @property
    def unknown_code(self) -> float | None:
        """Code of a value outside the vocabulary; NaN for missing, None where it is an error."""
        if self.rule.unknown == "error":
            return None
        if self.rule.unknown == "rare" and self.rare:
            return float(len(self.vocabulary))
        return MISSING

    def allows(self, value: float) -> bool:
        """Tell whether a finite *value* lies within the declared range."""
        if self.minimum is not None and (
            value < self.minimum or (self.exclusive_minimum and value == self.minimum)
        ):
            return False
        return not (
            self.maximum is not None
            and (value > self.maximum or (self.exclusive_maximum and value == self.maximum))
        )

    @property
    def range_text(self) -> str:
        """The range as people write it, such as `[0, 120]`; empty where there is none."""
        if self.minimum is None and self.maximum is None:
            return ""
        left = "(" if self.exclusive_minimum or self.minimum is None else "["
        right = ")" if self.exclusive_maximum or self.maximum is None else "]"
        low = "-inf" if self.minimum is None else f"{self.minimum:g}"
        high = "inf" if self.maximum is None else f"{self.maximum:g}"
        return f"{left}{low}, {high}{right}"

    def to_json(self) -> dict[str, Any]:
        """Describe the column in plain JSON types, defaults left out."""
        return {
            field.name: _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Column:
        """Read what `to_json` wrote.

        Raises:
            DeclarationError: If a key is unknown or a value has the wrong type.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(data, dict) or not {"name", "kind"} <= set(data) <= known:
            raise DeclarationError(f"a column has the keys {sorted(known)}; name and kind are owed")
        rule = data.get("rule", {})
        problems = [text for text, good in _checks(data).items() if not good]
        if not (isinstance(rule, dict) and set(rule) <= _RULE_KEYS):
            problems.append(f"rule has the keys {sorted(_RULE_KEYS)}")
        if problems:
            raise DeclarationError(f"a column is malformed: {'; '.join(problems)}")
        values = data | {"vocabulary": tuple(data.get("vocabulary", ())), "rule": Category(**rule)}
        return cls(**values)


def _checks(data: dict[str, Any]) -> dict[str, bool]:
    """Return what must hold of a column's JSON, and whether it does."""
    name, kind, words = data["name"], data["kind"], data.get("vocabulary", [])
    ends = [data.get(end) for end in ("minimum", "maximum")]
    return {
        "name must be an identifier": isinstance(name, str) and name.isidentifier(),
        f"kind must be one of {KINDS}": isinstance(kind, str) and kind in KINDS,
        "unit must be text": isinstance(data.get("unit", ""), str),
        f"log must be one of {LOG_MODES}": data.get("log", "raw") in LOG_MODES,
        f"{', '.join(_FLAGS)} must be true or false": all(
            isinstance(data.get(flag, False), bool) for flag in _FLAGS
        ),
        "minimum and maximum must be finite numbers": all(
            end is None or is_finite_number(end) for end in ends
        ),
        "vocabulary must be a list of distinct strings": isinstance(words, list)
        and all(isinstance(word, str) for word in words)
        and len(set(words)) == len(words),
        "only a category has a vocabulary": kind == "category"
        or not (words or data.get("rare") or data.get("declared")),
    }


def is_finite_number(value: object) -> bool:
    """Tell whether *value* is an int or float that a double can hold; booleans are not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return -sys.float_info.max <= value <= sys.float_info.max


def _plain(value: Any) -> Any:
    if isinstance(value, Category):
        return dataclasses.asdict(value)
    return list(value) if isinstance(value, tuple) else value
