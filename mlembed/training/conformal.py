"""Where the truth lies around a regression's score: split conformal prediction.

On rows that are exchangeable with the calibration rows an interval holds the truth at least as
often as its level says, whatever the model and the distribution. Rows of a later time, or many of
one entity, are not quite exchangeable: the coverage on the test rows is what can be believed.

Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005, chapter 4; Lei et al.,
"Distribution-Free Predictive Inference for Regression", Journal of the American Statistical
Association 113(523), 2018, algorithm 2; Angelopoulos and Bates, "Conformal Prediction: A Gentle
Introduction", Foundations and Trends in Machine Learning 16(4), 2023.
"""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from mlembed.errors import DataError, DeclarationError
from mlembed.training.evaluation.calibration import share_interval
from mlembed.training.evaluation.cuts import check_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Method = Literal["absolute", "signed"]


@dataclasses.dataclass(frozen=True)
class Band:
    """How far the truth may lie from a score, found on calibration rows.

    Attributes:
        level: Share of truths that lie inside, at least, on exchangeable rows.
        below: From the score down to the lower end; negative where that end is above the score.
        above: From the score up to the upper end; negative where that end is below it.
        n_calibration: Rows it was found on.
        method: absolute or signed.
    """

    level: float
    below: float
    above: float
    n_calibration: int
    method: Method

    def measured(
        self, y: Floats, scores: Floats, clusters: NDArray[np.integer] | None = None
    ) -> dict[str, Any]:
        """Describe the band and how often it holds the truth of other rows, in plain JSON types.

        Args:
            y: Quantities, `(n,)`.
            scores: `(n,)`.
            clusters: Number of each row's entity, `(n,)`.

        Raises:
            DataError: If there are no rows, or one is not finite.
        """
        check_rows(y, scores)
        held = ((scores - self.below <= y) & (y <= scores + self.above)).astype(np.float64)
        low, high = share_interval(held, clusters)
        return dataclasses.asdict(self) | {
            "coverage": float(np.mean(held)),
            "coverage_low": low,
            "coverage_high": high,
            "n": len(y),
        }


@dataclasses.dataclass(frozen=True)
class Interval:
    """Declares that a regression's score comes with an interval.

    Attributes:
        level: Share of truths that must lie inside, between 0 and 1.
        method: `absolute` reaches as far down as up; `signed` finds each end by itself, half of
            the misses on either side, for errors that are skewed.
    """

    level: float = 0.9
    method: Method = "absolute"

    def __post_init__(self) -> None:
        if not (isinstance(self.level, float) and 0 < self.level < 1):
            raise DeclarationError("Interval: level must be a number between 0 and 1, such as 0.9")
        if self.method not in get_args(Method):
            raise DeclarationError(f"Interval: method must be one of {', '.join(get_args(Method))}")

    @property
    def needed(self) -> int:
        """Fewest calibration rows from which the level can be kept."""
        return math.ceil(1 / self._tail) - 1

    def fit(self, y: Floats, scores: Floats) -> Band:
        """Find the offsets on rows that the estimator was not fitted on.

        Args:
            y: Quantities, `(n,)`.
            scores: `(n,)`.

        Raises:
            DataError: If there are too few rows, or one is not finite.
        """
        check_rows(y, scores)
        n = len(y)
        if n < self.needed:
            raise DataError(
                f"an interval of level {self.level:g} needs at least {self.needed} calibration "
                f"rows, there are {n}. Hold out more rows, or lower the level"
            )
        errors = np.sort(y - scores if self.method == "signed" else np.abs(y - scores))
        rank = math.ceil((n + 1) * (1 - self._tail))
        above = float(errors[rank - 1])
        below = -float(errors[n - rank]) if self.method == "signed" else above
        return Band(self.level, below, above, n, self.method)

    @property
    def _tail(self) -> Fraction:
        """The share of misses at one end, as the decimal says it."""
        missed = 1 - Fraction(repr(self.level))
        return missed / 2 if self.method == "signed" else missed
