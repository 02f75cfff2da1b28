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
    from collections.abc import Callable, Mapping

    from mlembed.bundle.bundle import Bundle

TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Golden:
    """Records with the scores they must give.

    Attributes:
        records: One mapping a row; None where a value is missing.
        scores: The score of each.
        tolerance: Greatest difference, relative to max(1, |score|).
    """

    records: tuple[Mapping[str, Any], ...]
    scores: tuple[float, ...]
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

    def replay(self, title: str, score: Callable[[Mapping[str, Any]], float]) -> None:
        """Score every record and compare.

        Raises:
            GoldenError: Naming the rows that differ and by how much.
        """
        bad, worst = [], 0.0
        for number, (record, expected) in enumerate(zip(self.records, self.scores, strict=True)):
            error = abs(score(record) - expected)
            if not error <= self.tolerance * max(1.0, abs(expected)):
                bad.append(number)
                worst = max(worst, error) if error == error else math.inf  # noqa: PLR0124  NaN
        if bad:
            raise GoldenError(
                f"{title} does not reproduce its golden rows {bad[:10]} here: off by up to "
                f"{worst:.3g}, allowed {self.tolerance:g}. It was not put in service; compare "
                "the onnxruntime versions of trainer and host"
            )


def read_golden(bundle: Bundle) -> Golden:
    """Read the golden rows of *bundle*.

    Raises:
        BundleError: If there are none or they are malformed.
    """
    title = bundle.manifest.title
    data = bundle.json("golden.json")
    try:
        records, scores, tolerance = data["records"], data["scores"], data["tolerance"]
    except (KeyError, TypeError) as error:
        raise BundleError(f"{title}: golden.json has no records, scores and tolerance") from error
    if not (
        isinstance(records, list)
        and isinstance(scores, list)
        and all(isinstance(record, dict) for record in records)
        and all(map(is_finite_number, [*scores, tolerance]))
    ):
        raise BundleError(f"{title}: golden.json holds no records with a score each")
    if not records or len(records) != len(scores):
        raise BundleError(f"{title}: golden.json has no rows, or unpaired ones")
    return Golden(tuple(records), tuple(map(float, scores)), float(tolerance))
