"""Say which fields of a record a prediction sets, and how its values are written there.

Values are made when the action is queued, so what is sent is what was decided then, and the same at
every attempt.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from mlembed.errors import SettingsError
from mlembed_crm.errors import PayloadError

if TYPE_CHECKING:
    from mlembed.serving.prediction import Prediction

Kind = Literal["text", "number", "integer", "boolean", "date", "datetime"]
Source: TypeAlias = "str | Callable[[Prediction], Any]"

SOURCES: Mapping[str, Callable[[Any], Any]] = {
    "score": lambda prediction: prediction.score,
    "label": lambda prediction: prediction.label,
    "reason": lambda prediction: prediction.reason,
    "key": lambda prediction: prediction.key,
    "model": lambda prediction: prediction.model,
    "version": lambda prediction: prediction.version,
    "prediction_id": lambda prediction: prediction.id,
    "time": lambda prediction: dt.datetime.fromtimestamp(prediction.time_ns / 1e9, dt.UTC),
}
_KINDS: Mapping[str, Kind] = {"score": "number", "time": "datetime"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value of a prediction, as a destination wants it; made by `field`.

    Attributes:
        source: A name of `SOURCES`, or a function of the prediction.
        kind: What the value becomes.
        scale: What a number is multiplied by, to change its unit.
        digits: Decimal places that a number is rounded to; None for all.
        words: What True and False are called, for a text.
        max_length: Most characters of a text.
        truncate: Whether a longer text is cut; else it is an error.
        missing: `error`, `skip` (leave the field alone) or `clear` (empty it) for no value.
    """

    source: Source
    kind: Kind = "text"
    scale: float = 1.0
    digits: int | None = None
    words: tuple[str, str] = ("true", "false")
    max_length: int | None = None
    truncate: bool = False
    missing: Literal["error", "skip", "clear"] = "error"

    def of(self, prediction: Prediction) -> Any:
        """Return the value in JSON types; None where there is none.

        Raises:
            PayloadError: If it cannot be what it is to be; does not show it.
        """
        get = self.source if callable(self.source) else SOURCES[self.source]
        found = get(prediction)
        if found is None or (isinstance(found, float) and not math.isfinite(found)):
            return None
        return getattr(self, f"_{self.kind}")(found)

    def _number(self, found: Any) -> float | int:
        try:
            number = float(found) * self.scale
        except (TypeError, ValueError, OverflowError):
            raise PayloadError(f"{_of(found)} is no number") from None
        if not math.isfinite(number):
            raise PayloadError("the number is not finite")
        return number if self.digits is None else round(number, self.digits)

    def _integer(self, found: Any) -> int:
        return round(self._number(found))

    def _boolean(self, found: Any) -> bool:
        if isinstance(found, bool):
            return found
        raise PayloadError(f"{_of(found)} is neither True nor False")

    def _date(self, found: Any) -> str:
        if isinstance(found, dt.datetime):
            if found.tzinfo is None:
                raise PayloadError(f"{_of(found)} has no zone, so its day is not known")
            return found.astimezone(dt.UTC).date().isoformat()
        if isinstance(found, dt.date):
            return found.isoformat()
        raise PayloadError(f"{_of(found)} is no date")

    def _datetime(self, found: Any) -> str:
        if not isinstance(found, dt.datetime) or found.tzinfo is None:
            raise PayloadError(f"{_of(found)} is no time with a zone")
        return found.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _text(self, found: Any) -> str:
        if isinstance(found, bool):
            text = self.words[not found]
        elif isinstance(found, float) or self.digits is not None:
            number = self._number(found)
            text = repr(number) if self.digits is None else f"{number:.{self.digits}f}"
        elif isinstance(found, dt.datetime):
            text = self._datetime(found)
        else:
            text = str(found)
        if self.max_length is not None and len(text) > self.max_length:
            if not self.truncate:
                raise PayloadError(f"{len(text)} characters, at most {self.max_length} fit")
            text = text[: self.max_length - 1] + "\N{HORIZONTAL ELLIPSIS}"
        return text


def field(
    source: Source,
    kind: Kind | None = None,
    *,
    scale: float = 1.0,
    digits: int | None = None,
    words: tuple[str, str] = ("true", "false"),
    max_length: int | None = None,
    truncate: bool = False,
    missing: Literal["error", "skip", "clear"] = "error",
) -> Value:
    """Say how a field of a record is made of a prediction.

    Args:
        source: `score`, `label`, `reason`, `key`, `model`, `version`, `prediction_id` or `time`,
            or a function of the prediction.
        kind: What the field holds: `text`, `number`, `integer`, `boolean`, `date` or `datetime`
            (both in UTC); by default `number` for the score, `datetime` for the time, else `text`.
        scale: Multiplies a number, such as 100 for a score in percent.
        digits: Decimal places of a number.
        words: What True and False are called where *kind* is `text`.
        max_length: Most characters of a text.
        truncate: Cut a longer text, and end it with an ellipsis; else it is not sent.
        missing: What to do where there is no value, as for a score that is no number: `error` (the
            action is not queued), `skip` (the field is left as it is) or `clear`.

    Raises:
        SettingsError: If there is no such source or kind, or a bound is out of range.
    """
    if not callable(source) and source not in SOURCES:
        raise SettingsError(
            f"field: there is no '{source}'; give one of {', '.join(SOURCES)}, or a function"
        )
    if kind is None:
        kind = "text" if callable(source) else _KINDS.get(source, "text")
    if kind not in get_args(Kind):
        raise SettingsError(f"field: kind '{kind}' is none of {', '.join(get_args(Kind))}")
    if missing not in {"error", "skip", "clear"}:
        raise SettingsError(f"field: missing is '{missing}', expected error, skip or clear")
    if max_length is not None and max_length < 1:
        raise SettingsError("field: max_length must be 1 or more")
    if not math.isfinite(scale) or (digits is not None and digits not in range(16)):
        raise SettingsError("field: scale must be finite, and digits between 0 and 15")
    return Value(
        source=source,
        kind=kind,
        scale=scale,
        digits=digits,
        words=words,
        max_length=max_length,
        truncate=truncate,
        missing=missing,
    )


class Upsert:
    """Writes fields of the record that a key identifies, and makes it where there is none.

    Args:
        record: The destination's kind of record, such as `contacts`, `Lead` or `crm.lead`.
        key: Its field that holds the key which the host gave to `predict(..., key=...)`; best one
            that the destination knows to be unique.
        fields: What each field is set to: `field(...)`, or a source alone.

    Raises:
        SettingsError: If a name is empty, a field is set twice, or there is no such source.
    """

    def __init__(self, record: str, key: str, fields: Mapping[str, Value | Source]) -> None:
        for name, text in (("record", record), ("key", key)):
            if not isinstance(text, str) or not text:
                raise SettingsError(f"Upsert: {name} must be a text that is not empty")
        if not isinstance(fields, Mapping) or not fields:
            raise SettingsError('Upsert: fields must name at least one, as {"ml_score": "score"}')
        if key in fields:
            raise SettingsError(f"Upsert: '{key}' holds the key and is set by it; leave it out")
        self.record = record
        self.key = key
        self.fields = {
            name: value if isinstance(value, Value) else field(value)
            for name, value in fields.items()
        }

    def payload(self, prediction: Prediction) -> dict[str, Any]:
        """Return the fields and values that *prediction* sets.

        Raises:
            PayloadError: If there is no key, or a value cannot be made; names all such fields.
        """
        if prediction.key is None or not str(prediction.key):
            raise PayloadError(
                f"a prediction without a key identifies no record of '{self.record}'; call "
                "predict(record, key=...)"
            )
        made: dict[str, Any] = {}
        problems = []
        for name, value in self.fields.items():
            try:
                found = value.of(prediction)
            except PayloadError as error:
                problems.append(f"'{name}': {error}")
                continue
            if found is None and value.missing == "error":
                problems.append(f"'{name}': there is no value; say missing='skip' or 'clear'")
            elif found is not None or value.missing == "clear":
                made[name] = found
        if problems:
            raise PayloadError(f"record '{self.record}': {'; '.join(problems)}")
        return made

    def __repr__(self) -> str:
        return f"Upsert({self.record!r}, key={self.key!r}, fields={list(self.fields)})"


def _of(found: Any) -> str:
    return f"a {type(found).__name__}"
