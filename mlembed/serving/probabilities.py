"""The answers of a model of several classes: the most probable one, and how probable each is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.serving.batch import Batch
from mlembed.serving.prediction import Prediction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.serving.prediction import Answer

    Probabilities = Sequence[float] | NDArray[np.float64]


class ClassPrediction(Prediction):
    """One answer of a model of several classes.

    `score` is the probability of the most probable class; of several, the first in the bundle's
    order is meant.
    """

    __slots__ = ("_probabilities",)

    def __init__(self, call: Answer, probabilities: Probabilities) -> None:
        self._call = call  # and no call of another `__init__`, which costs a hundredth of an answer
        self._probabilities = probabilities

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Probability of each class, in the bundle's order."""
        return dict(zip(self._classes, map(float, self._probabilities), strict=True))

    @property
    def label(self) -> str | None:
        """The most probable class; None where the model abstains."""
        if self._call[5] != "ok":
            return None
        return self._classes[int(np.argmax(self._probabilities))]

    def to_json(self) -> dict[str, Any]:
        """Describe the prediction in plain JSON types."""
        return super().to_json() | {"probabilities": self.probabilities}

    @property
    def _classes(self) -> tuple[str, ...]:
        classes: tuple[str, ...] = self._call[0].classes  # type: ignore[union-attr]  # of several
        return classes

    def __getstate__(self) -> tuple[Any, ...]:
        return (*super().__getstate__(), self.probabilities)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        super().__setstate__(state[:-1])
        source: Any = self._call[0]
        self._call = (source._replace(classes=(*state[-1],)), *self._call[1:])
        self._probabilities = [*state[-1].values()]


class ClassBatch(Batch):
    """The answers for many records by a model of several classes, in their order.

    `scores` are the probabilities of the most probable classes.

    Attributes:
        classes: The classes.
        codes: Place of each record's most probable class among them, `(n_records,)`.
    """

    classes: tuple[str, ...]
    codes: NDArray[np.intp]
    probabilities: NDArray[np.float64]

    @property
    def labels(self) -> list[bool | str | None]:
        """The most probable class of each record; None where the model abstains."""
        told = zip(self.codes.tolist(), self.reasons, strict=True)
        return [self.classes[code] if reason == "ok" else None for code, reason in told]
