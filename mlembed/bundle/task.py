"""What a score means: the task of a model, and the interval that holds the truth around it.

What not every task has, an interval and classes, is written only where it is there, so that the
bytes of a manifest, and its bundle's id, stay as they were before these were known.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from mlembed.columns import is_finite_number

MAX_CLASSES = 1000
_OPTIONAL = ("interval", "classes")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """How far the truth may lie from a regression's score.

    Offsets of split conformal prediction: Lei et al., "Distribution-Free Predictive Inference for
    Regression", 2018.

    Attributes:
        level: Share of truths that lie inside, as it was measured on held-out rows.
        below: From the score down to the lower end, in the score's unit; negative where even the
            lower end is above the score.
        above: From the score up to the upper end.
    """

    level: float
    below: float
    above: float

    def around(self, score: float) -> tuple[float, float]:
        """Return the lower and the upper end around *score*."""
        return score - self.below, score + self.above


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What the score means.

    Attributes:
        kind: `binary` (score is the probability of the positive class), `regression`, or
            `multiclass` (score is the probability of the most probable class).
        label: Name of the label's column in the training data.
        positive: The positive class in words; empty for the other kinds.
        threshold: Score from which the label is positive; without meaning for the other kinds.
        abstain: Closed band of scores in which the model gives no label, or None.
        unit: Unit of a regression's score.
        interval: Where the truth lies around a regression's score, or None.
        classes: The classes of a multiclass task, in the order of the graph's probabilities; the
            first of several that are equally probable is the label.
    """

    kind: Literal["binary", "regression", "multiclass"]
    label: str
    positive: str = ""
    threshold: float = 0.5
    abstain: tuple[float, float] | None = None
    unit: str = ""
    interval: Interval | None = None
    classes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Describe the task in plain JSON types."""
        data = dataclasses.asdict(self)
        return {key: value for key, value in data.items() if value or key not in _OPTIONAL}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Task:
        """Read a task; `problems` tells what is wrong with its values.

        Raises:
            TypeError: If it has other keys than `to_json` writes.
        """
        values = dict(data)
        if not all(values[key] for key in _OPTIONAL if key in values):
            raise TypeError("the task has an empty interval, or no classes; leave them out")
        if values.get("abstain") is not None:
            values["abstain"] = tuple(values["abstain"])
        if "interval" in values:
            values["interval"] = Interval(**values["interval"])
        if "classes" in values:
            if not isinstance(values["classes"], list):
                raise TypeError("the task's classes must be a list of texts")
            values["classes"] = tuple(values["classes"])
        return cls(**values)

    def problems(self) -> list[str]:
        """Say what is wrong with its values; nothing where all is well."""
        return [text for text, good in self._checks().items() if not good]

    def _checks(self) -> dict[str, bool]:
        band = self.abstain
        return {
            "the task must be binary or regression, or multiclass": self.kind
            in ("binary", "regression", "multiclass"),
            "the task's label, positive class and unit must be text": all(
                isinstance(text, str) for text in (self.label, self.positive, self.unit)
            ),
            "the task's threshold must be a number": is_finite_number(self.threshold),
            "the task's abstain band must be two numbers, the lower first": band is None
            or (len(band) == 2 and all(map(is_finite_number, band)) and band[0] <= band[1]),  # noqa: PLR2004
            "the task's interval must be a level between 0 and 1 and two numbers, the lower end "
            "not above the upper, and of a regression": self.interval is None
            or (self.kind == "regression" and _is_interval(self.interval)),
            f"the task's classes must be 2 to {MAX_CLASSES} texts, each once, of a multiclass, and "
            "of no other": _are_classes(self.classes)
            if self.kind == "multiclass"
            else not self.classes,
        }


def _are_classes(classes: tuple[object, ...]) -> bool:
    texts = [text for text in classes if isinstance(text, str) and text]
    return len(texts) == len(classes) == len({*texts}) and 2 <= len(texts) <= MAX_CLASSES  # noqa: PLR2004


def _is_interval(interval: Interval) -> bool:
    numbers = (interval.level, interval.below, interval.above)
    return (
        all(map(is_finite_number, numbers))
        and 0 < interval.level < 1
        and -interval.below <= interval.above
    )
