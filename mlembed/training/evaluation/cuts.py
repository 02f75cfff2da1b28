"""Every threshold that tells some of the rows from the others, and whom it labels.

A threshold lies midway between two scores that were seen, never on one: the last bit of a score
must not decide a label. Rows of one score stay together.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from mlembed.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Cuts:
    """The thresholds of a set of rows, from one that labels nobody to one that labels all.

    Attributes:
        thresholds: Scores from which the label is positive, decreasing, `(n_cuts,)`.
        labelled: Rows each one labels positive, `(n_cuts,)`.
        true: How many of those are positive, `(n_cuts,)`.
        order: The rows, highest score first, `(n,)`.
    """

    thresholds: Floats
    labelled: NDArray[np.intp]
    true: NDArray[np.intp]
    order: NDArray[np.intp]

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.order)

    @property
    def positives(self) -> int:
        """Number of rows that are positive."""
        return int(self.true[-1])

    @property
    def precision(self) -> Floats:
        """Share of the labelled rows that is positive, `(n_cuts,)`; 1 where nobody is labelled."""
        return np.where(self.labelled > 0, self.true / np.maximum(self.labelled, 1), 1.0)

    @property
    def recall(self) -> Floats:
        """Share of the positive rows that is labelled, `(n_cuts,)`; 0 where there are none."""
        return self.true / max(self.positives, 1)

    def summed(self, values: Floats) -> Floats:
        """Return the sum of *values*, `(n,)`, over the rows each threshold labels, `(n_cuts,)`."""
        sums: Floats = np.concatenate([[0.0], np.cumsum(values[self.order])])[self.labelled]
        return sums


def cuts_of(y: Floats, scores: Floats) -> Cuts:
    """Return the thresholds of rows.

    Args:
        y: 0 or 1, `(n,)`.
        scores: `(n,)`.

    Raises:
        DataError: If there are no rows, a score is not finite or a label neither 0 nor 1.
    """
    check_rows(y, scores)
    if not np.isin(y, (0.0, 1.0)).all():
        raise DataError("a threshold needs labels of 0 and 1; pass what Binary.of returns")
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    low, high = ordered[1:], ordered[:-1]
    middle = low + (high - low) / 2
    apart = (low < middle) & (middle < high)
    inner = np.flatnonzero(apart) + 1
    labelled = np.concatenate([[0], inner, [len(y)]])
    true = np.concatenate([[0], np.cumsum(y[order] == 1)])[labelled]
    thresholds = np.concatenate([[_above(ordered[0])], middle[apart], [_below(ordered[-1])]])
    return Cuts(thresholds, labelled, true, order)


def check_rows(y: Floats, scores: Floats) -> None:
    """Refuse rows that nothing can be measured on.

    Raises:
        DataError: If there are none, lengths differ, or a label or score is not finite.
    """
    if len(y) != len(scores):
        raise DataError(
            f"{len(y)} labels and {len(scores)} scores are not of the same rows; pass one a row"
        )
    if not len(y):
        raise DataError("there are no rows to measure on; hold some out")
    for name, values in (("labels", y), ("scores", scores)):
        bad = int(np.count_nonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1)))
        if bad:
            raise DataError(
                f"{bad} of {len(values)} {name} are missing or infinite; nothing is measured on "
                "part of the rows. Find the rows and drop or repair them"
            )


def _above(greatest: float) -> float:
    middle = greatest + (1 - greatest) / 2
    return float(middle if greatest < middle < 1 else greatest + max(1.0, abs(greatest)))


def _below(least: float) -> float:
    middle = least / 2
    return float(middle if 0 < middle < least else least - max(1.0, abs(least)))
