"""What mistakes cost: one number for all rows, or an amount for each."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mlembed.training.evaluation.cuts import Cuts

    Floats = NDArray[np.float64]
    Amounts = Mapping[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Costs:
    """What mistakes cost, one amount a row.

    Attributes:
        false_positive: Cost of labelling the row, if it is negative, `(n,)`.
        false_negative: Cost of not labelling the row, if it is positive, `(n,)`.
        review: Cost of labelling the row, whatever it is, `(n,)`.
    """

    false_positive: Floats
    false_negative: Floats
    review: Floats

    def mean(self, cuts: Cuts, y: Floats) -> Floats:
        """Return the mean cost of a row at each threshold, `(n_cuts,)`."""
        missed = np.where(y == 1, self.false_negative, 0.0)
        called = np.where(y == 1, 0.0, self.false_positive) + self.review
        left = np.maximum(missed.sum() - cuts.summed(missed), 0)
        mean: Floats = (cuts.summed(called) + left) / cuts.n
        return mean


def is_amount(part: object) -> bool:
    """Tell whether *part* is a number that a cost may be."""
    return isinstance(part, (int, float)) and not isinstance(part, bool) and 0 <= part < math.inf


def is_column(part: object) -> bool:
    """Tell whether *part* may name a column."""
    return isinstance(part, str) and bool(part)


def amount(part: float | str, n: int, amounts: Amounts) -> Floats:
    """Return the amounts of *n* rows, `(n,)`: one number for all, or those of a column.

    Raises:
        DataError: If the column is absent, or an amount is missing, negative or infinite.
    """
    if not isinstance(part, str):
        return np.full(n, float(part))
    given = column(part, n, amounts)
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"column '{part}' must hold amounts, as numbers") from error
    bad = int(np.count_nonzero(~((values >= 0) & np.isfinite(values))))
    if bad:
        raise DataError(
            f"column '{part}' must hold amounts of 0 or more; {bad} of {n} rows are missing, "
            "negative or infinite. Clean them, or drop the rows"
        )
    return values


def column(name: str, n: int, amounts: Amounts) -> NDArray[Any]:
    """Return the column *name* of *n* rows, `(n,)`.

    Raises:
        DataError: If it is absent or of other rows.
    """
    if name not in amounts:
        raise DataError(f"the threshold needs column '{name}', which the table lacks; add it")
    if len(amounts[name]) != n:
        raise DataError(f"column '{name}' has {len(amounts[name])} values for {n} rows; pass {n}")
    return amounts[name]
