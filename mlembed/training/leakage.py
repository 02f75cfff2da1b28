"""Find the columns that know the answer before the question is asked.

A leak is a suspicion with its numbers, never a verdict on cause: the caller warns or drops. The
words say how many rows and what shares, never a value of the table.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import betainc, betaincinv

from mlembed.errors import DataError
from mlembed.training.distinct import distinct
from mlembed.training.strength import explained, separation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.training.coded import Texts
    from mlembed.training.dataset import Dataset

    Floats = NDArray[np.float64]
    Values = NDArray[Any] | Texts

LeakKind = Literal["auc", "gives_away", "later", "identifier", "absent"]

_MAX_ROWS = 200_000
_FEW_VALUES = 20
_CONFIDENCE = 0.05
_CHANCE = 1e-3
_LATER_SHARE = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leak:
    """A column that the model had better not see.

    Attributes:
        column: Its name.
        kind: `auc` (alone it all but tells the label), `gives_away` (one of its values does),
            `later` (known only after the prediction), `absent` (the host will not have it), or
            `identifier` (as many values as rows: a warning only).
        detail: What was found, in words, without a value of the table.
        strength: What was measured: ROC AUC or R^2, share of the label, or share of the rows.
    """

    column: str
    kind: LeakKind
    detail: str
    strength: float

    @property
    def warns_only(self) -> bool:
        """Whether the column may be a fair feature all the same."""
        return self.kind == "identifier"

    def to_json(self, action: Literal["warned", "dropped"]) -> dict[str, Any]:
        """Describe the leak and what was done about it in plain JSON types."""
        return dataclasses.asdict(self) | {"action": action}


def find_leaks(  # noqa: PLR0913  each a bound of its own
    columns: Sequence[Column],
    dataset: Dataset,
    *,
    label_kind: Literal["binary", "regression"],
    auc: float = 0.98,
    min_rows: int = 10,
    purity: float = 0.98,
    prediction_time: str | None = None,
    known_at: Mapping[str, str] | None = None,
    absent: Iterable[str] = (),
) -> tuple[Leak, ...]:
    """Return the leaks among *columns*, in their order.

    Single features are judged on at most 200,000 rows, drawn with a fixed seed.

    Args:
        columns: The record's columns.
        dataset: Rows to judge by; give the training side alone.
        label_kind: Kind of the label.
        auc: ROC AUC, or R^2 for a quantity, above which one column alone is too good.
        min_rows: Rows of each class, or of a value, below which nothing is concluded.
        purity: Share of one class from which a value settles the label.
        prediction_time: Column of the moment of prediction, of the record or read beside it.
        known_at: The column that says when a feature was known, by feature.
        absent: Columns that the host will not have.

    Raises:
        DataError: If the table was read without a time column.
    """
    gone = set(absent)
    drawn = _draw(dataset)
    held = dataset.held()
    leaks: list[Leak | None] = []
    for column in columns:
        name = column.name
        values = held[name][drawn]
        y = dataset.y[drawn]
        if name in gone:
            leaks.append(_absent(name))
        if label_kind == "binary":
            leaks.append(_separates(name, values, y, auc, min_rows))
            leaks.append(_gives_away(column, values, y, purity, min_rows))
        elif column.kind != "timestamp":  # smooth series are near themselves in time
            leaks.append(_explains(name, values, y, auc, min_rows))
        leaks.append(_later(column, dataset, prediction_time, (known_at or {}).get(name)))
        leaks.append(_identifies(column, values, held[name], min_rows))
    return tuple(leak for leak in leaks if leak is not None)


def _draw(dataset: Dataset) -> NDArray[np.intp]:
    n = len(dataset.y)
    if n <= _MAX_ROWS:
        return np.arange(n)
    random = np.random.default_rng(0)
    return np.sort(random.choice(n, _MAX_ROWS, replace=False, shuffle=False))


def _absent(name: str) -> Leak:
    return Leak(
        column=name,
        kind="absent",
        detail="the host will not have it when it asks for a prediction",
        strength=1.0,
    )


def _separates(name: str, values: Values, y: Floats, bound: float, min_rows: int) -> Leak | None:
    if min(y.sum(), len(y) - y.sum()) < min_rows:
        return None
    found = separation(values, y)
    if found <= bound:
        return None
    detail = f"alone reaches a ROC AUC of {found:.4f}, above {bound:g}"
    return Leak(column=name, kind="auc", detail=detail, strength=found)


def _explains(name: str, values: Values, y: Floats, bound: float, min_rows: int) -> Leak | None:
    if len(y) < 2 * min_rows:
        return None
    found = explained(values, y)
    if found <= bound:
        return None
    detail = f"alone explains {found:.2%} of the label's variance, above {bound:.0%}"
    return Leak(column=name, kind="auc", detail=detail, strength=found)


def _gives_away(
    column: Column, values: Values, y: Floats, purity: float, min_rows: int
) -> Leak | None:
    """Return the leak of the value that settles the rarer class beyond chance."""
    rarer = y if y.mean() <= 0.5 else 1 - y  # noqa: PLR2004  half
    base = float(rarer.mean())
    groups = list(_groups(column, values))
    rows = np.array([group.sum() for group in groups], dtype=np.float64)
    cases = np.array([rarer[group].sum() for group in groups])
    pure = (rows >= min_rows) & (cases >= purity * rows) & (cases > 0)
    if not pure.any() or base >= 0.5:  # noqa: PLR2004  idem
        return None
    k, n = cases[pure], rows[pure]
    # The one-sided bound of Clopper and Pearson, Biometrika 26(4), 1934, and the binomial tail.
    low = betaincinv(k, n - k + 1, _CONFIDENCE)
    chance = betainc(k, n - k + 1, base) * len(groups)
    settled = (low > max(0.5, base)) & (chance < _CHANCE)
    if not settled.any():
        return None
    best = int(np.argmin(np.where(settled, chance, np.inf)))
    share = float(k[best] / n[best])
    detail = (
        f"has a value that settles the label: {share:.1%} of {int(n[best]):,} rows with it are of "
        f"the class that {base:.1%} of all rows have"
    )
    return Leak(column=column.name, kind="gives_away", detail=detail, strength=share)


def _groups(column: Column, values: Values) -> Iterator[NDArray[np.bool_]]:
    """Yield the rows of each value where they are few, and otherwise those present and missing."""
    codes, found, _ = distinct(values)
    missing = codes < 0
    if column.kind != "timestamp" and len(found) <= _FEW_VALUES:
        for code in range(len(found)):
            yield codes == code
    elif missing.any():
        yield ~missing
    if missing.any():
        yield missing


def _later(
    column: Column, dataset: Dataset, prediction_time: str | None, known_at: str | None
) -> Leak | None:
    if prediction_time is None or column.name == prediction_time:
        return None
    if known_at is None and column.kind != "timestamp":
        return None
    moments, asked = _times(dataset, known_at or column.name), _times(dataset, prediction_time)
    share = float(np.mean(moments > asked)) if len(asked) else 0.0
    if share <= _LATER_SHARE:
        return None
    what = "it lies" if known_at is None else f"it is known (by '{known_at}')"
    detail = f"{what} after the prediction ('{prediction_time}') on {share:.1%} of the rows"
    return Leak(column=column.name, kind="later", detail=detail, strength=share)


def _times(dataset: Dataset, name: str) -> Floats:
    values = dataset.columns.get(name, dataset.extra.get(name))
    if values is None:
        raise DataError(
            f"leakage by time: the table was read without '{name}'; read it with extra=['{name}']"
        )
    if values.dtype == object:
        raise DataError(f"leakage by time: '{name}' holds text, expected times or numbers")
    return np.asarray(values, dtype=np.float64)


def _identifies(column: Column, drawn: Values, whole: Values, min_rows: int) -> Leak | None:
    if column.kind not in ("category", "integer") or len(whole) < 2 * min_rows:
        return None
    # Most columns repeat themselves at once, so few are ever counted wholly.
    for values in (drawn[:1000], drawn, whole):
        if len(distinct(values).values) < len(values):
            return None
    detail = "has as many values as there are rows, so it names a row rather than describes it"
    return Leak(column=column.name, kind="identifier", detail=detail, strength=1.0)
