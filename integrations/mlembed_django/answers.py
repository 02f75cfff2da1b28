"""The answer for one row of a queryset, worked out where it is asked for.

A chunk holds the scores as one array; what nobody asks for, such as an id, is never made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.functional import cached_property

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlembed.serving.batch import Batch
    from mlembed.serving.prediction import Prediction, Reason


class Lot:
    """The answers that one run of the graph gave.

    Args:
        batch: As the model gave them.
        keys: The host's key of each record.
    """

    def __init__(self, batch: Batch, keys: Sequence[Any]) -> None:
        self.batch = batch
        self.keys = keys
        self.version = batch.version
        self.error = batch.error

    @cached_property
    def scores(self) -> list[float]:
        """The scores."""
        scores: list[float] = self.batch.scores.tolist()
        return scores

    @cached_property
    def labels(self) -> list[bool | str | None]:
        """The labels."""
        return self.batch.labels

    @cached_property
    def reasons(self) -> list[Reason]:
        """The reasons."""
        return self.batch.reasons

    @cached_property
    def ids(self) -> list[str]:
        """The ids."""
        return self.batch.ids

    @cached_property
    def intervals(self) -> list[tuple[float, float]] | None:
        """Where the truth lies, or None where the bundle promises nothing."""
        found = self.batch.intervals
        return None if found is None else [(low, high) for low, high in found.tolist()]


class Alone:
    """The answer for a row that does not fit: the fallback's.

    Args:
        prediction: The answer.
        key: The host's key of the record.
    """

    intervals = None

    def __init__(self, prediction: Prediction, key: Any) -> None:
        self.keys = [key]
        self.version = prediction.version
        self.error = prediction.error
        self.scores = [prediction.score]
        self.labels = [prediction.label]
        self.reasons = [prediction.reason]
        self.ids = [prediction.id]


class Scored:
    """One row and its answer."""

    __slots__ = ("_answers", "_instance", "_place", "_row")

    def __init__(
        self,
        row: Any,
        answers: Lot | Alone,
        place: int,
        instance: Callable[[Any], Any] | None = None,
    ) -> None:
        self._row = row
        self._answers = answers
        self._place = place
        self._instance = instance

    @property
    def instance(self) -> Any:
        """The row as the queryset gives it; made at the first look where only its values were read."""
        if self._instance is not None:
            self._row, self._instance = self._instance(self._row), None
        return self._row

    @property
    def score(self) -> float:
        """As `Prediction.score`."""
        return self._answers.scores[self._place]

    @property
    def label(self) -> bool | str | None:
        """As `Prediction.label`."""
        return self._answers.labels[self._place]

    @property
    def interval(self) -> tuple[float, float] | None:
        """As `Prediction.interval`."""
        found = self._answers.intervals
        return None if found is None else found[self._place]

    @property
    def id(self) -> str:
        """The prediction's id; give it back to `outcome`."""
        return self._answers.ids[self._place]

    @property
    def version(self) -> str:
        """Version that answered; empty where none could."""
        return self._answers.version

    @property
    def reason(self) -> Reason:
        """`ok`, `fallback` or `abstain`."""
        return self._answers.reasons[self._place]

    @property
    def error(self) -> str:
        """What failed, for `fallback`; empty otherwise."""
        return self._answers.error

    @property
    def key(self) -> Any:
        """The host's own key of the row, or None."""
        return self._answers.keys[self._place]

    def __float__(self) -> float:
        return self.score

    def __repr__(self) -> str:
        return f"Scored(score={self.score!r}, label={self.label!r}, reason={self.reason!r}, key={self.key!r})"
