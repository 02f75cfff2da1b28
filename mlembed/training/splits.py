"""Hold rows out so that the measure on them can be believed.

Rows that belong together (the same moment, the same group) never stand on both sides, and no side
is ever too poor to measure on: an impossible split is an error, not a warning.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mlembed.errors import DataError, DeclarationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.training.dataset import Dataset

    Rows = NDArray[np.intp]


@dataclasses.dataclass(frozen=True)
class Fold:
    """Row numbers of both sides, increasing.

    Attributes:
        train: Rows to train on, `(n_train,)`.
        test: Rows held out, `(n_test,)`.
    """

    train: Rows
    test: Rows


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


@dataclasses.dataclass(frozen=True)
class TimeSplit:
    """Hold out the newest rows; rows of the same moment stay together.

    Attributes:
        column: Times or numbers that grow with time.
        test: Share of the rows to hold out; where moments are shared, as near as can be.
    """

    column: str
    _: dataclasses.KW_ONLY
    test: float = 0.25

    def __post_init__(self) -> None:
        _require_share(self, self.test)

    @property
    def columns(self) -> tuple[str, ...]:
        """The time column."""
        return (self.column,)

    def split(self, dataset: Dataset) -> Fold:
        """Return the older and the newest rows.

        Raises:
            DataError: If the column holds no times, or a side would be too poor.
        """
        times = _column(self, dataset, self.column)
        if times.dtype == object:
            raise DataError(
                f"{self}: some values of '{self.column}' are neither numbers nor ISO 8601 times; "
                "correct them, or make it a timestamp of the record so that such rows are set aside"
            )
        moments, rows_of_moment = np.unique(times, return_counts=True)
        first = _nearest_end(rows_of_moment[::-1], self.test)
        start = moments[len(moments) - first] if first else np.inf
        return _fold(self, dataset, times >= start)


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
        _require_share(self, self.test)

    @property
    def columns(self) -> tuple[str, ...]:
        """The group column."""
        return (self.column,)

    def split(self, dataset: Dataset) -> Fold:
        """Return the rows of most groups and of the groups held out.

        Raises:
            DataError: If a side would be too poor.
        """
        names = _column(self, dataset, self.column)
        groups, group_of_row, sizes = np.unique(names, return_inverse=True, return_counts=True)
        order = np.argsort([self._place(group) for group in groups.tolist()], kind="stable")
        held_out = np.zeros(len(groups), dtype=bool)
        held_out[order[: _nearest_end(sizes[order], self.test)]] = True
        return _fold(self, dataset, held_out[group_of_row])

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
        _require_share(self, self.test)
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
        random = np.random.default_rng(self.seed)
        strata = dataset.y if dataset.kind == "binary" else np.zeros(len(dataset.y))
        held_out = np.zeros(len(strata), dtype=bool)
        for stratum in np.unique(strata):
            rows = random.permutation(np.flatnonzero(strata == stratum))
            held_out[rows[: _n_held_out(len(rows), self.test)]] = True
        return _fold(self, dataset, held_out)


def _require_share(split: Split, share: float) -> None:
    if not 0 < share < 1:
        raise DeclarationError(
            f"{type(split).__name__}(test=...): expected a share between 0 and 1"
        )


def _column(split: Split, dataset: Dataset, name: str) -> NDArray[Any]:
    if name not in dataset.extra:
        raise DataError(
            f"{split}: the table was read without '{name}'; read it with extra=['{name}']"
        )
    return np.asarray(dataset.extra[name])


def _n_held_out(n: int, share: float) -> int:
    """Return how many of *n* rows to hold out, leaving each side at least one where there are two."""
    return min(max(round(n * share), 1), n - 1)


def _nearest_end(sizes: NDArray[np.intp], share: float) -> int:
    """Return how many of the blocks, in order, come nearest to *share* of all rows."""
    totals = np.cumsum(sizes)[:-1]
    if not len(totals):
        return 0
    return int(np.argmin(np.abs(totals - share * sizes.sum()))) + 1


def _fold(split: Split, dataset: Dataset, held_out: NDArray[np.bool_]) -> Fold:
    sides = {"training": np.flatnonzero(~held_out), "held-out": np.flatnonzero(held_out)}
    for side, rows in sides.items():
        if not len(rows):
            raise DataError(
                f"{split}: of {len(held_out):,} rows none would be on the {side} side; more rows, "
                "moments or groups are needed"
            )
        if dataset.kind == "binary" and len(np.unique(dataset.y[rows])) == 1:
            raise DataError(
                f"{split}: the {len(rows):,} rows of the {side} side have one class; change the "
                "share or the seed, or hold out by another column"
            )
    return Fold(sides["training"], sides["held-out"])
