"""From which score the label is positive: by cost, by capacity, by precision or by recall.

A rule is chosen on rows that the estimator was not fitted on; what it brings is then measured on
others. A target that no threshold reaches is an error, never a silent next best.
"""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mlembed.columns import is_finite_number
from mlembed.errors import DataError, DeclarationError, GateError
from mlembed.training.costs import Costs, amount, column, is_amount, is_column
from mlembed.training.evaluation.cuts import Cuts, cuts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Amounts = Mapping[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A threshold and how it came about.

    Attributes:
        rule: cost, capacity, precision, recall or declared.
        value: Score from which the label is positive.
        detail: What was asked and what the threshold brings on the rows it was chosen on.
    """

    rule: str
    value: float
    detail: dict[str, Any] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Describe it in plain JSON types."""
        return dataclasses.asdict(self)


class Rule(Protocol):
    """Picks the threshold of a binary label."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table that it needs besides the record's."""

    def choose(self, y: Floats, scores: Floats, amounts: Amounts) -> Chosen:
        """Return the threshold for labels `(n,)` and scores `(n,)`.

        Raises:
            DataError: If the rows cannot be judged by this rule.
            GateError: If no threshold does what is asked.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class ByCost:
    """The threshold of least expected cost; among equals the one that labels fewest.

    Elkan, "The foundations of cost-sensitive learning", IJCAI 2001; the threshold is found on
    rows, so scores need not be calibrated.

    Attributes:
        false_positive: Cost of labelling a negative row: a number or a column of amounts.
        false_negative: Cost of missing a positive row: a number or a column of amounts.
        review: Cost of every row that is labelled, right or wrong: a number or a column.
    """

    false_positive: float | str
    false_negative: float | str
    review: float | str = 0.0

    def __post_init__(self) -> None:
        parts = (self.false_positive, self.false_negative, self.review)
        if not all(is_column(part) or is_amount(part) for part in parts):
            raise DeclarationError(
                "ByCost: each cost is a number of 0 or more, or the name of a column of amounts"
            )
        if self.false_negative == 0 or (self.false_positive == 0 and self.review == 0):
            raise DeclarationError(
                "ByCost: a mistake that costs nothing makes the threshold trivial; give both "
                "false_negative and false_positive (or review) a cost"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that hold amounts."""
        parts = (self.false_positive, self.false_negative, self.review)
        return tuple(dict.fromkeys(part for part in parts if isinstance(part, str)))

    def costs(self, n: int, amounts: Amounts) -> Costs:
        """Return the costs of *n* rows.

        Raises:
            DataError: If amounts are absent, missing, negative or infinite.
        """
        return Costs(*(amount(part, n, amounts) for part in dataclasses.astuple(self)))

    def choose(self, y: Floats, scores: Floats, amounts: Amounts) -> Chosen:
        """Return the threshold of least cost; see `Rule`."""
        cuts = _cuts_of_both(y, scores, "cost")
        mean = self.costs(len(y), amounts).mean(cuts, y)
        if not np.any(mean > 0):
            raise DataError("all costs of these rows are 0; check the columns of amounts")
        best = int(np.argmin(mean))
        found = {
            "mean_cost": float(mean[best]),
            "mean_cost_of_none": float(mean[0]),
            "mean_cost_of_all": float(mean[-1]),
        }
        return _chosen("cost", cuts, best, dataclasses.asdict(self), found)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ByCapacity:
    """The lowest threshold that labels no more rows than can be dealt with: the top k.

    Attributes:
        share: Share of all rows, or None.
        rows: Number of rows, or None; of all rows given, unless `per` says otherwise.
        per: Of how many scored rows `rows` are dealt with, or a column, such as a day, with as
            many rows dealt with on average for each of its values.
    """

    share: float | None = None
    rows: int | None = None
    per: int | str | None = None

    def __post_init__(self) -> None:
        share = self.share if is_finite_number(self.share) else None
        shared = share is not None and 0 < share <= 1
        counted = isinstance(self.rows, int) and not isinstance(self.rows, bool) and self.rows >= 1
        if (
            (self.share is None) == (self.rows is None)
            or not (shared or counted)
            or (self.per is not None and not counted)
            or (isinstance(self.per, int) and self.per < (self.rows or 0))
        ):
            raise DeclarationError(
                "ByCapacity: give share, above 0 and at most 1, or rows, 1 or more; with rows, per "
                "may be a number of rows, no fewer, or a column"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of periods, if there is one."""
        return (self.per,) if isinstance(self.per, str) else ()

    def choose(self, y: Floats, scores: Floats, amounts: Amounts) -> Chosen:
        """Return the threshold that uses the capacity; see `Rule`."""
        cuts = cuts_of(y, scores)
        periods = self._periods(len(y), amounts)
        most = self._most(len(y), periods)
        if most < 1:
            raise DataError(
                f"{len(y)} rows are too few: the capacity is less than one row of them. Hold out "
                "more rows"
            )
        fits = int(np.searchsorted(cuts.labelled, most, "right")) - 1
        if fits == 0:
            raise GateError(
                f"{int(cuts.labelled[1]):,} rows share the highest score, the capacity is "
                f"{most:,}: no threshold can choose among them. Use a model that ranks them, or a "
                "greater capacity"
            )
        found: dict[str, Any] = {"capacity": most}
        if periods is not None:
            busy = np.bincount(periods, weights=scores >= cuts.thresholds[fits])
            found |= {"periods": len(busy), "busiest": int(busy.max())}
        return _chosen("capacity", cuts, fits, dataclasses.asdict(self), found)

    def _periods(self, n: int, amounts: Amounts) -> NDArray[np.intp] | None:
        if not isinstance(self.per, str):
            return None
        return np.unique(column(self.per, n, amounts), return_inverse=True)[1]

    def _most(self, n: int, periods: NDArray[np.intp] | None) -> int:
        if self.share is not None:
            return math.floor(_exact(self.share) * n)
        rows = self.rows or 0
        if periods is not None:
            return rows * int(periods.max() + 1)
        return rows * n // self.per if isinstance(self.per, int) else min(rows, n)


@dataclasses.dataclass(frozen=True)
class ByPrecision:
    """The threshold that labels most rows while at least *target* of them are positive.

    Attributes:
        target: Precision, above 0 and at most 1.
    """

    target: float
    columns: tuple[str, ...] = dataclasses.field(default=(), init=False)

    def __post_init__(self) -> None:
        _check_target("ByPrecision", self.target)

    def choose(self, y: Floats, scores: Floats, amounts: Amounts) -> Chosen:  # noqa: ARG002
        """Return the threshold; see `Rule`."""
        cuts = _cuts_of_both(y, scores, "precision")
        precision = cuts.precision[1:]
        reached = np.flatnonzero(precision >= self.target)
        if not reached.size:
            best = int(np.argmax(precision)) + 1
            raise GateError(
                f"no threshold has a precision of {self.target:g} on {cuts.n:,} rows; the best is "
                f"{cuts.precision[best]:.4f}, with a recall of {cuts.recall[best]:.4f}. Ask for "
                "less, or find a better model"
            )
        return _chosen("precision", cuts, int(reached[-1]) + 1, {"precision": self.target})


@dataclasses.dataclass(frozen=True)
class ByRecall:
    """The threshold that labels fewest rows while at least *target* of the positives are among them.

    Attributes:
        target: Recall, above 0 and at most 1.
    """

    target: float
    columns: tuple[str, ...] = dataclasses.field(default=(), init=False)

    def __post_init__(self) -> None:
        _check_target("ByRecall", self.target)

    def choose(self, y: Floats, scores: Floats, amounts: Amounts) -> Chosen:  # noqa: ARG002
        """Return the threshold; see `Rule`."""
        cuts = _cuts_of_both(y, scores, "recall")
        first = int(np.argmax(cuts.recall >= self.target))
        return _chosen("recall", cuts, first, {"recall": self.target})


def _chosen(
    rule: str, cuts: Cuts, at: int, asked: dict[str, Any], found: dict[str, Any] | None = None
) -> Chosen:
    detail = {
        "asked": {name: value for name, value in asked.items() if value is not None},
        "n": cuts.n,
        "positives": cuts.positives,
        "labelled": int(cuts.labelled[at]),
        "precision": float(cuts.precision[at]),
        "recall": float(cuts.recall[at]),
    }
    return Chosen(rule, float(cuts.thresholds[at]), detail | (found or {}))


def _cuts_of_both(y: Floats, scores: Floats, rule: str) -> Cuts:
    cuts = cuts_of(y, scores)
    if not 0 < cuts.positives < cuts.n:
        raise DataError(
            f"a threshold by {rule} needs rows of both classes; all {cuts.n} are of one. Hold out "
            "rows of the other, too"
        )
    return cuts


def _check_target(name: str, target: float) -> None:
    if not (is_finite_number(target) and 0 < target <= 1):
        raise DeclarationError(f"{name}: the target must be above 0 and at most 1")


def _exact(number: float) -> Fraction:
    """Return what a decimal such as 0.29 means, which the double next to it is not."""
    return Fraction(repr(float(number)))
