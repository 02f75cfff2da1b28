"""Golden rows: records and the scores they must give, replayed before a bundle may serve.

They hold missing, unknown and extreme values, so encoder, vocabulary, graph and runtime
are all shown right on the very machine that will serve.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from mlembed.bundle import strictjson
from mlembed.columns import is_finite_number
from mlembed.errors import BundleError, GoldenError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlembed.bundle.bundle import Bundle

TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Golden:
    """Records with the scores they must give.

    Attributes:
        records: One mapping a row; None where a value is missing.
        scores: The score of each; for a multiclass the probability of every class.
        tolerance: Greatest difference, relative to max(1, |score|).
    """

    records: tuple[Mapping[str, Any], ...]
    scores: tuple[float | tuple[float, ...], ...]
    tolerance: float = TOLERANCE

    def to_bytes(self) -> bytes:
        """Write the rows as the bundle's golden.json."""
        return strictjson.dumps(
            {
                "records": [dict(record) for record in self.records],
                "scores": list(self.scores),
                "tolerance": self.tolerance,
            }
        )

    def replay(
        self, title: str, score: Callable[[Mapping[str, Any]], float | Sequence[float]]
    ) -> None:
        """Score every record and compare.

        Args:
            title: The bundle as people name it, for the error.
            score: Returns the score of a record; for a multiclass the probability of every class.

        Raises:
            GoldenError: Naming the rows that differ and by how much.
        """
        bad, worst = [], 0.0
        for number, (record, expected) in enumerate(zip(self.records, self.scores, strict=True)):
            error = self._excess(score(record), expected)
            if error is not None:
                bad.append(number)
                worst = max(worst, error)
        if bad:
            raise GoldenError(
                f"{title} does not reproduce its golden rows {bad[:10]} here: off by up to "
                f"{worst:.3g}, allowed {self.tolerance:g}. It was not put in service; compare "
                "the onnxruntime versions of trainer and host"
            )

    def _excess(
        self, given: float | Sequence[float], expected: float | Sequence[float]
    ) -> float | None:
        """Return the largest difference beyond the tolerance, infinity for NaN; None for none."""
        pairs = zip(_numbers(given), _numbers(expected), strict=True)
        errors = [(abs(number - other), max(1.0, abs(other))) for number, other in pairs]
        bad = [error for error, size in errors if not error <= self.tolerance * size]
        return max(error if error == error else math.inf for error in bad) if bad else None  # noqa: PLR0124  NaN


def read_golden(bundle: Bundle) -> Golden:
    """Read the golden rows of *bundle*.

    Raises:
        BundleError: If there are none or they are malformed.
    """
    title, n_classes = bundle.manifest.title, len(bundle.manifest.task.classes)
    data = bundle.json("golden.json")
    try:
        records, scores, tolerance = data["records"], data["scores"], data["tolerance"]
    except (KeyError, TypeError) as error:
        raise BundleError(f"{title}: golden.json has no records, scores and tolerance") from error
    if not (
        isinstance(records, list)
        and isinstance(scores, list)
        and all(isinstance(record, dict) for record in records)
        and is_finite_number(tolerance)
        and all(_is_score(score, n_classes) for score in scores)
    ):
        each = f"{n_classes} probabilities" if n_classes else "a score"
        raise BundleError(f"{title}: golden.json holds no records with {each} each")
    if not records or len(records) != len(scores):
        raise BundleError(f"{title}: golden.json has no rows, or unpaired ones")
    plain = tuple(tuple(map(float, score)) if n_classes else float(score) for score in scores)
    return Golden(tuple(records), plain, float(tolerance))


def _numbers(score: float | Sequence[float]) -> Sequence[float]:
    return (score,) if isinstance(score, (float, int)) else score


def _is_score(score: Any, n_classes: int) -> bool:
    if not n_classes:
        return is_finite_number(score)
    return isinstance(score, list) and len(score) == n_classes and all(map(is_finite_number, score))
