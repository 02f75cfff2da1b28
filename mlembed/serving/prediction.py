"""What a call of a model returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from mlembed.telemetry.ids import uuid7

Reason = Literal["ok", "fallback", "abstain"]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from mlembed.bundle.task import Interval
    from mlembed.serving.batch import Batch
    from mlembed.serving.breaker import Breaker
    from mlembed.telemetry.recorder import Recorder
    from mlembed.telemetry.source import Source

    # Source, Unix time, sequence, latency, score, reason, error and key of a call.
    Answer = tuple[Source | "Answered", int, int, int, Any, str, str, str | None]


class AnswersItself(Protocol):
    """A version in service whose answers are made otherwise than of one score of one row.

    Failures are raised to the model, whose fallback, breaker and log treat them as any other.
    """

    def predict(
        self,
        record: Any,
        key: str | None,
        moments: tuple[int, int],
        breaker: Breaker,
        recorder: Recorder | None,
        /,
    ) -> Prediction:
        """Answer for one record.

        Args:
            record: What the host gave.
            key: The host's own key of the entity.
            moments: Unix time and clock at the beginning of the call, in nanoseconds.
            breaker: The model's.
            recorder: Where it is logged, or None.
        """

    def predict_batch(
        self, data: Any, moments: tuple[int, int], breaker: Breaker, recorder: Recorder | None, /
    ) -> Batch:
        """Answer for many records; as `predict`."""


class Prediction:
    """One answer of a model, and where it came from."""

    __slots__ = ("_call",)

    def __init__(self, call: Answer) -> None:
        # One tuple is all that an answer costs.
        self._call = call

    @property
    def score(self) -> float:
        """Probability of the positive or the most probable class, or the quantity.

        The fallback's value where one answers. None where a graph takes tensors and its bundle declares no score.
        """
        score: float = self._call[4]
        return score

    @property
    def outputs(self) -> Mapping[str, NDArray[Any]]:
        """What a graph that takes tensors gave, by name; empty for columns and for a fallback."""
        return {}

    @property
    def probabilities(self) -> Mapping[str, float] | None:
        """Probability of each class, in the bundle's order; None but for an answer of a multiclass."""
        return None

    @property
    def label(self) -> bool | str | None:
        """The decided class: whether it is the positive one, or its name of several.

        None where the model abstains, gives a quantity or could not answer.
        """
        call = self._call
        return None if call[5] == "fallback" else call[0].decide(call[4])[0]

    @property
    def interval(self) -> tuple[float, float] | None:
        """Lower and upper end of where the truth lies, at the level the bundle promises.

        None where the bundle promises none, and for a fallback.
        """
        call = self._call
        interval = None if call[5] == "fallback" else call[0].interval
        return None if interval is None else interval.around(call[4])

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._call[0].name

    @property
    def version(self) -> str:
        """Version that answered; empty where none could."""
        return self._call[0].version

    @property
    def reason(self) -> Reason:
        """`ok`, `abstain`, or `fallback`: something failed and the host's value is returned."""
        return self._call[5]  # type: ignore[return-value]  # one of the three

    @property
    def error(self) -> str:
        """What failed, for `fallback`: its type, a colon and why; empty otherwise."""
        return self._call[6]

    @property
    def key(self) -> str | None:
        """The host's own key of the entity, or None."""
        return self._call[7]

    @property
    def time_ns(self) -> int:
        """Unix time of the call, in nanoseconds."""
        return self._call[1]

    @property
    def latency_seconds(self) -> float:
        """Time from the call until the score was there; 0 for one from another process."""
        return self._call[3] / 1e9

    @property
    def id(self) -> str:
        """The prediction's id, a UUIDv7; give it back to `Model.outcome`."""
        return uuid7(self._call[1] // 1_000_000, self._call[2])

    def to_json(self) -> dict[str, Any]:
        """Describe the prediction in plain JSON types; `interval` only where there is one."""
        ends = self.interval
        return {
            "id": self.id,
            "model": self.model,
            "version": self.version,
            "score": self.score,
            **({} if ends is None else {"interval": list(ends)}),
            "label": self.label,
            "reason": self.reason,
            "error": self.error,
            "key": self.key,
        }

    def __repr__(self) -> str:
        ends = "" if self.interval is None else f"interval={self.interval!r}, "
        why = f"error={self.error!r}, " if self.error else ""
        return (
            f"Prediction(score={self.score!r}, {ends}label={self.label!r}, "
            f"model='{self.model}@{self.version}', reason={self.reason!r}, {why}id='{self.id}')"
        )

    def __float__(self) -> float:
        return self.score

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Prediction):
            return NotImplemented
        return self._state() == other._state()

    def __hash__(self) -> int:
        return hash(self._call[1:3])

    def __getstate__(self) -> tuple[Any, ...]:
        return self._state()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        model, version, time_ns, sequence, score, label, reason, error, key, *interval = state
        source = Answered(model, version, lambda _: (label, reason), *interval)
        self._call = (source, time_ns, sequence, 0, score, reason, error, key)

    def _state(self) -> tuple[Any, ...]:
        """Return all that an answer says; what was asked stays where it was."""
        return (
            *(self.model, self.version, self.time_ns, self._call[2]),
            *(self.score, self.label, self.reason, self.error, self.key),
            *(() if self.interval is None else (self._call[0].interval,)),
        )


class NamedPrediction(Prediction):
    """A prediction with an id of another make: a row of a batch, or what a log holds.

    Args:
        call: What it says.
        name: The id.
    """

    __slots__ = ("_name",)

    def __init__(self, call: Answer, name: str) -> None:
        super().__init__(call)
        self._name = name

    @property
    def id(self) -> str:
        """The prediction's id; give it back to `Model.outcome`."""
        return self._name

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._name, *rest = state
        super().__setstate__(tuple(rest))

    def _state(self) -> tuple[Any, ...]:
        return self._name, *super()._state()


class Answered(NamedTuple):
    """The source of a prediction that came from another process."""

    name: str
    version: str
    decide: Callable[[float], tuple[bool | str | None, str]]
    interval: Interval | None = None
    classes: tuple[str, ...] = ()
