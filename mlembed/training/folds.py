"""Two sides of a table, and the arithmetic of cutting one.

Blocks of rows that belong together stay whole, and a side too poor to measure on is an error,
not a warning.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.columns import is_finite_number
from mlembed.errors import DataError, DeclarationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.training.dataset import Dataset

    Rows = NDArray[np.intp]
    Mask = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Fold:
    """Row numbers of both sides, increasing; a row may stand on neither.

    Attributes:
        train: Rows to train on, `(n_train,)`.
        test: Rows held out, `(n_test,)`.
    """

    train: Rows
    test: Rows


def checked(title: str, dataset: Dataset, train: Mask, test: Mask, *, remedy: str = "") -> Fold:
    """Return the fold of both masks, `(n_records,)`.

    Args:
        title: What cuts the table, for the messages.
        dataset: The table.
        train: Rows to train on.
        test: Rows held out.
        remedy: What to change where a side is too poor.

    Raises:
        DataError: If a side is empty, or of one class for a binary label.
    """
    sides = {"training": np.flatnonzero(train), "held-out": np.flatnonzero(test)}
    for side, rows in sides.items():
        if not len(rows):
            raise DataError(
                f"{title}: of {len(train):,} rows none would be on the {side} side; "
                f"{remedy or 'more rows, moments or groups are needed'}"
            )
        if dataset.kind == "binary" and len(np.unique(dataset.y[rows])) == 1:
            change = remedy or "change the share or the seed, or hold out by another column"
            raise DataError(
                f"{title}: the {len(rows):,} rows of the {side} side have one class; {change}"
            )
    return Fold(sides["training"], sides["held-out"])


def needed_column(title: str, dataset: Dataset, name: str) -> NDArray[Any]:
    """Return a column that was read for the split.

    Raises:
        DataError: If the table was read without it.
    """
    if name not in dataset.extra:
        raise DataError(
            f"{title}: the table was read without '{name}'; read it with extra=['{name}']"
        )
    return np.asarray(dataset.extra[name])


def require_share(split: object, share: float) -> None:
    """Refuse a *share* that is not between 0 and 1.

    Raises:
        DeclarationError: If it is not.
    """
    if not (is_finite_number(share) and 0 < share < 1):
        raise DeclarationError(
            f"{type(split).__name__}(test=...): expected a share between 0 and 1"
        )


def require_count(split: object, n: int, least: int) -> None:
    """Refuse a number of folds below *least*.

    Raises:
        DeclarationError: If it is no whole number, or too small.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < least:
        raise DeclarationError(
            f"{type(split).__name__}.folds(n): expected a whole number of at least {least}"
        )


def n_held_out(n: int, share: float) -> int:
    """Return how many of *n* rows to hold out, leaving each side at least one where there are two."""
    return min(max(round(n * share), 1), n - 1)


def nearest_end(sizes: Rows, share: float) -> int:
    """Return how many of the blocks, in order, come nearest to *share* of all rows."""
    totals = np.cumsum(sizes)[:-1]
    if not len(totals):
        return 0
    return int(np.argmin(np.abs(totals - share * sizes.sum()))) + 1


def equal_ends(sizes: Rows, n: int) -> Rows:
    """Cut blocks, in order, into *n* runs of about as many rows each.

    Args:
        sizes: Rows of each block, `(n_blocks,)`, at least *n* of them.
        n: Number of runs.

    Returns:
        The number of blocks up to the end of each run, `(n,)`, strictly increasing.
    """
    totals = np.cumsum(sizes)
    ends = [0]
    for k in range(1, n):
        first, last = ends[-1] + 1, len(sizes) - (n - k)
        gaps = np.abs(totals[first - 1 : last] - k * totals[-1] / n)
        ends.append(first + int(np.argmin(gaps)))
    return np.array([*ends[1:], len(sizes)], dtype=np.intp)
