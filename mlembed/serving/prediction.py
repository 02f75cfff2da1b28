"""What a call of a model returns."""

from __future__ import annotations

from typing import Any, Literal

from mlembed.telemetry.ids import uuid7

Reason = Literal["ok", "fallback", "abstain"]


class Prediction:
    """One answer of a model, and where it came from.

    Attributes:
        score: Probability of the positive class, or the predicted value; the fallback's value
            where `reason` is `fallback`.
        label: The decided class (bool for a binary model), None where the model abstains or
            predicts a quantity.
        model: Name of the model.
        version: Version that answered; empty where none could.
        reason: `ok`, `fallback` (something failed and the host's value is returned) or `abstain`.
        error: What failed, for `fallback`; empty otherwise.
        key: The host's own key of the entity, or None.
        time_ns: Unix time of the call, in nanoseconds.
    """

    __slots__ = (
        "_sequence",
        "error",
        "key",
        "label",
        "model",
        "reason",
        "score",
        "time_ns",
        "version",
    )

    def __init__(  # noqa: PLR0913, PLR0917  positional for speed
        self,
        score: float,
        label: Any,
        model: str,
        version: str,
        time_ns: int,
        sequence: int,
        reason: Reason = "ok",
        error: str = "",
        key: str | None = None,
    ) -> None:
        self.score = score
        self.label = label
        self.model = model
        self.version = version
        self.time_ns = time_ns
        self._sequence = sequence
        self.reason = reason
        self.error = error
        self.key = key

    @property
    def id(self) -> str:
        """The prediction's id, a UUIDv7; give it back to `Model.outcome`."""
        return uuid7(self.time_ns // 1_000_000, self._sequence)

    def to_json(self) -> dict[str, Any]:
        """Describe the prediction in plain JSON types."""
        return {
            "id": self.id,
            "model": self.model,
            "version": self.version,
            "score": self.score,
            "label": self.label,
            "reason": self.reason,
            "error": self.error,
            "key": self.key,
        }

    def __repr__(self) -> str:
        return (
            f"Prediction(score={self.score!r}, label={self.label!r}, "
            f"model='{self.model}@{self.version}', reason={self.reason!r}, id='{self.id}')"
        )

    def __float__(self) -> float:
        return self.score

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Prediction):
            return NotImplemented
        return self._state() == other._state()

    def __hash__(self) -> int:
        return hash((self.time_ns, self._sequence))

    def __getstate__(self) -> tuple[Any, ...]:
        return self._state()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        for name, value in zip(self.__slots__, state, strict=True):
            setattr(self, name, value)

    def _state(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)
