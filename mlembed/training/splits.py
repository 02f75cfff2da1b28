"""Hold rows out so that the measure on them can be believed.

Rows that belong together (the same moment, the same group) never stand on both sides, and no side
is ever too poor to measure on: an impossible split is an error, not a warning.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mlembed.errors import DataError, DeclarationError
from mlembed.training.folds import (
    Fold,
    checked,
    equal_ends,
    n_held_out,
    nearest_end,
    needed_column,
    require_count,
    require_share,
)
from mlembed.training.timesplit import TimeSplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.training.dataset import Dataset

    Rows = NDArray[np.intp]

__all__ = [
    "Fold",
    "GroupSplit",
    "RandomSplit",
    "Split",
    "TimeSplit",
    "default_split",
    "split_again",
]

_FEWER = "in fold {k} of {n}; ask for fewer folds or change the seed"


class Split(Protocol):
    """Says which rows are held out, by rule and seed alone."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table that it needs; they end in `Dataset.extra`."""

    def split(self, dataset: Dataset) -> Fold:
        """Return both sides.

        Raises:
            DataError: If a side would be empty, or of one class for a binary label.
        """

    def folds(self, dataset: Dataset, n: int) -> tuple[Fold, ...]:
        """Return *n* folds by the same rule, to choose among candidates on the training rows.

        Raises:
            DataError: If a side of a fold would be empty, or of one class for a binary label.
        """


@dataclasses.dataclass(frozen=True)
class GroupSplit:
    """Hold out whole groups, such as customers or machines.

    A group's place in the draw depends on its own name and the seed, so most groups stay on their
    side when the table grows.

    Attributes:
        column: Names of the groups.
        test: Share of the rows to hold out, as near as whole groups allow.
        seed: Seed of the draw.
    """

    column: str
    _: dataclasses.KW_ONLY
    test: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        require_share(self, self.test)

    @property
    def columns(self) -> tuple[str, ...]:
        """The group column."""
        return (self.column,)

    def split(self, dataset: Dataset) -> Fold:
        """Return the rows of most groups and of the groups held out.

        Raises:
            DataError: If a side would be too poor.
        """
        place_of_row, sizes = self._drawn(dataset)
        held_out = place_of_row < nearest_end(sizes, self.test)
        return checked(str(self), dataset, ~held_out, held_out)

    def folds(self, dataset: Dataset, n: int) -> tuple[Fold, ...]:
        """Return *n* folds; each group is held out in one of them.

        Raises:
            DataError: If there are fewer groups than folds, or a side would be too poor.
        """
        require_count(self, n, 2)
        place_of_row, sizes = self._drawn(dataset)
        if len(sizes) < n:
            raise DataError(
                f"{self}: {n} folds need at least {n} groups, there are {len(sizes)}; ask for "
                "fewer folds"
            )
        fold_of_row = np.searchsorted(equal_ends(sizes, n), place_of_row, side="right")
        return _each_held_out(str(self), dataset, fold_of_row, n)

    def _drawn(self, dataset: Dataset) -> tuple[Rows, Rows]:
        """Return each row's place in the draw of the groups, and the rows of each place."""
        names = needed_column(str(self), dataset, self.column)
        if (names != names).any() or None in names.tolist():  # noqa: PLR0124  NaN alone differs
            raise DataError(
                f"{self}: some rows have no '{self.column}', so they belong to no group; leave "
                "them out"
            )
        groups, group_of_row, sizes = np.unique(names, return_inverse=True, return_counts=True)
        order = np.argsort([self._place(group) for group in groups.tolist()], kind="stable")
        places = np.empty(len(groups), dtype=np.intp)
        places[order] = np.arange(len(groups))
        return places[group_of_row], sizes[order]

    def _place(self, group: str | float) -> str:
        return hashlib.sha256(f"{self.seed}/{group}".encode()).hexdigest()


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomSplit:
    """Hold out rows at random; a binary label has the same share of positives on both sides.

    Attributes:
        test: Share of the rows to hold out.
        reason: Why neither time nor groups matter for this table.
        seed: Seed of the draw.
    """

    test: float = 0.25
    reason: str
    seed: int = 0

    def __post_init__(self) -> None:
        require_share(self, self.test)
        if not isinstance(self.reason, str) or not self.reason.strip():
            raise DeclarationError(
                "RandomSplit(reason=...): say why neither time nor groups matter; otherwise use "
                "TimeSplit or GroupSplit"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """No column."""
        return ()

    def split(self, dataset: Dataset) -> Fold:
        """Return the rows drawn for each side.

        Raises:
            DataError: If a side would be too poor.
        """
        held_out = np.zeros(len(dataset.y), dtype=bool)
        for rows in self._drawn(dataset):
            held_out[rows[: n_held_out(len(rows), self.test)]] = True
        return checked(str(self), dataset, ~held_out, held_out)

    def folds(self, dataset: Dataset, n: int) -> tuple[Fold, ...]:
        """Return *n* folds; each row is held out in one of them, classes in equal shares.

        Raises:
            DataError: If a side would be too poor.
        """
        require_count(self, n, 2)
        fold_of_row = np.empty(len(dataset.y), dtype=np.intp)
        first = 0
        for rows in self._drawn(dataset):
            fold_of_row[rows] = (first + np.arange(len(rows))) % n
            first = (first + len(rows)) % n
        return _each_held_out(str(self), dataset, fold_of_row, n)

    def _drawn(self, dataset: Dataset) -> list[Rows]:
        """Return the rows of each class in the order of the draw."""
        random = np.random.default_rng(self.seed)
        strata = np.zeros(len(dataset)) if dataset.kind == "regression" else dataset.y
        return [random.permutation(np.flatnonzero(strata == one)) for one in np.unique(strata)]


def default_split(columns: Sequence[Column], *, gap_seconds: float = 0.0) -> TimeSplit:
    """Return the split that a declaration without one gets: by time.

    Args:
        columns: The record's columns.
        gap_seconds: As for `TimeSplit`.

    Raises:
        DeclarationError: If the record has no timestamp, or several; rows are never held out at
            random unless that is asked for by name.
    """
    times = [column.name for column in columns if column.kind == "timestamp"]
    if len(times) == 1:
        return TimeSplit(times[0], gap_seconds=gap_seconds)
    found = f"{len(times)} timestamps ({', '.join(times)})" if times else "no timestamp"
    raise DeclarationError(
        f"say how rows are held out: the record has {found}, so there is no default. "
        "split=TimeSplit(column) by time, GroupSplit(column) by customer or machine, or, where "
        "neither matters, RandomSplit(reason=...)"
    )


def _each_held_out(title: str, dataset: Dataset, fold_of_row: Rows, n: int) -> tuple[Fold, ...]:
    masks = [fold_of_row == k for k in range(n)]
    return tuple(
        checked(title, dataset, ~mask, mask, remedy=_FEWER.format(k=k, n=n))
        for k, mask in enumerate(masks, 1)
    )


def split_again(split: Split, dataset: Dataset, share: float | None) -> Fold:
    """Hold out of rows that were held out of, by the same rule, *share* of them.

    A moment that a TimeSplit names is past by then; a rule without a share is used as it is.

    Raises:
        DataError: If a side would be too poor.
    """
    if isinstance(split, TimeSplit):
        split = dataclasses.replace(split, since=None)
    if share is not None and dataclasses.is_dataclass(split) and hasattr(split, "test"):
        split = dataclasses.replace(split, test=share)
    return split.split(dataset)
