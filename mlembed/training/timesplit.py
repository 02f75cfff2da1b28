"""Hold out what came last, as the model will meet it.

No row to train on is as new as a row held out; with a gap, none comes near it either: labels
that arrive late and windows that look back would tell the past what the future holds.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from mlembed.columns import is_finite_number
from mlembed.errors import DataError, DeclarationError
from mlembed.training.folds import (
    Fold,
    checked,
    equal_ends,
    nearest_end,
    needed_column,
    require_count,
    require_share,
)
from mlembed.training.rules import DATES, TOO_MANY_SECONDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.training.dataset import Dataset

    Moment = str | dt.date | float


@dataclasses.dataclass(frozen=True)
class TimeSplit:
    """Hold out the newest rows; rows of the same moment stay together.

    Attributes:
        column: Times or numbers that grow with time.
        test: Share of the rows to hold out; where moments are shared, as near as can be.
        gap_seconds: Rows this close before the first one held out are on neither side: at least
            the delay of the label and the span of any window that looks back.
        since: First moment to hold out, instead of a share: an ISO 8601 date or time (UTC where it
            names no zone), a date, a datetime, or a number in the column's unit.
    """

    column: str
    _: dataclasses.KW_ONLY
    test: float = 0.25
    gap_seconds: float = 0.0
    since: Moment | None = None

    def __post_init__(self) -> None:
        require_share(self, self.test)
        if not is_finite_number(self.gap_seconds) or self.gap_seconds < 0:
            raise DeclarationError("TimeSplit(gap_seconds=...): expected seconds, 0 or more")
        if self.since is not None:
            _seconds(self.since)

    @property
    def columns(self) -> tuple[str, ...]:
        """The time column."""
        return (self.column,)

    def split(self, dataset: Dataset) -> Fold:
        """Return the older and the newest rows.

        Raises:
            DataError: If the column holds no times, or a side would be too poor.
        """
        times = self._times(dataset)
        if self.since is not None:
            start, remedy = _seconds(self.since), "name another moment in TimeSplit(since=...)"
        else:
            moments, rows_of_moment = np.unique(times, return_counts=True)
            n = nearest_end(rows_of_moment[::-1], self.test)
            start, remedy = (float(moments[len(moments) - n]) if n else math.inf), ""
        return self._fold(dataset, times, (start, math.inf), remedy)

    def folds(self, dataset: Dataset, n: int) -> tuple[Fold, ...]:
        """Return *n* folds by forward chaining.

        The rows, in time, make n + 1 blocks of about as many rows; each block but the first is
        held out once, and all that is older by more than the gap is trained on. Neither `test`
        nor `since` plays a part.

        Raises:
            DataError: If the column holds no times, or a side would be too poor.
        """
        require_count(self, n, 1)
        times = self._times(dataset)
        moments, rows_of_moment = np.unique(times, return_counts=True)
        if len(moments) <= n:
            raise DataError(
                f"{self}: {n} folds need at least {n + 1} moments, there are {len(moments)}; ask "
                "for fewer folds"
            )
        ends = equal_ends(rows_of_moment, n + 1)
        starts = [*moments[ends[:-1]].tolist(), math.inf]
        return tuple(
            self._fold(
                dataset,
                times,
                (start, stop),
                f"in fold {k + 1} of {n}; ask for fewer folds, or shorten the gap",
            )
            for k, (start, stop) in enumerate(itertools.pairwise(starts))
        )

    def _times(self, dataset: Dataset) -> NDArray[np.float64]:
        times = needed_column(str(self), dataset, self.column)
        if times.dtype == object or times.dtype.kind in "US":
            raise DataError(
                f"{self}: some values of '{self.column}' are neither numbers nor ISO 8601 times; "
                "correct them, or make it a timestamp of the record so that such rows are set aside"
            )
        times = times.astype(np.float64, copy=False)
        if not np.isfinite(times).all():
            raise DataError(
                f"{self}: some values of '{self.column}' are missing or infinite, so these rows "
                "have no place in time; leave them out"
            )
        if self.gap_seconds and not _are_seconds(times):
            raise DataError(
                f"{self}: '{self.column}' holds milliseconds, or dates written as numbers such as "
                "20240101, from which a gap of seconds cannot be taken; give seconds since 1970, or "
                "ISO 8601 times"
            )
        return times

    def _fold(
        self,
        dataset: Dataset,
        times: NDArray[np.float64],
        held_out: tuple[float, float],
        remedy: str,
    ) -> Fold:
        start, stop = held_out
        older = times < start
        train = times < start - self.gap_seconds
        if older.any() and not train.any():
            remedy = f"the gap takes all {int(older.sum()):,} older rows: shorten gap_seconds"
        return checked(str(self), dataset, train, (times >= start) & (times < stop), remedy=remedy)


def _are_seconds(times: NDArray[np.float64]) -> bool:
    """Tell whether *times* may be seconds, and are not milliseconds, or dates as 20240101."""
    month, day = np.floor(times / 100) % 100, times % 100
    dates = (times == np.floor(times)) & (times >= DATES[0]) & (times <= DATES[1])
    dates &= (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)  # noqa: PLR2004  a calendar's
    # By most of them: the end of time may be written as the year 9999.
    return bool(dates.mean() <= 0.5 and np.median(np.abs(times)) < TOO_MANY_SECONDS)  # noqa: PLR2004


def _seconds(moment: Moment) -> float:
    """Return a declared moment as seconds since 1970, a number as it is."""
    if is_finite_number(moment):
        return float(moment)  # type: ignore[arg-type]  # neither text nor a date
    try:
        if isinstance(moment, str):
            moment = dt.datetime.fromisoformat(moment.strip())
        if not isinstance(moment, dt.date):
            raise TypeError
    except (TypeError, ValueError) as error:
        raise DeclarationError(
            "TimeSplit(since=...): expected an ISO 8601 date or time such as '2012-11-01', or a "
            "number in the column's unit"
        ) from error
    if not isinstance(moment, dt.datetime):
        moment = dt.datetime(moment.year, moment.month, moment.day, tzinfo=dt.UTC)
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
