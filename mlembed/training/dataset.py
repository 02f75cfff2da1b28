"""A clean table, ready to be trained on.

Every row read is either in the table or counted with the reason why it is not: no row is lost
without a word.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlembed.errors import DataError
from mlembed.training import rejects as rejected_rows
from mlembed.training import rules
from mlembed.training.judging import judge
from mlembed.training.sources import opened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.training.cleaning import Cleaning
    from mlembed.training.labels import Binary, Regression
    from mlembed.training.sources import Source

_REASONS_SHOWN = 5
_CLASSES_SHOWN, _CLASS_LENGTH = 10, 40


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Clean rows and their labels.

    Attributes:
        kind: Kind of the label.
        columns: The record's columns by name, each `(n_records,)`: text or None for a category,
            for the others doubles with NaN for missing (booleans 0 or 1, times in seconds since
            1970).
        y: Labels, `(n_records,)`; 0 and 1 for a binary label.
        extra: The columns a split needs, by name: doubles (times in seconds since 1970) or text.
        n_read: Rows read, kept or not.
        n_rejected: Rows that broke a rule.
        reasons: Rows that broke each rule; a row may have broken several.
    """

    kind: Literal["binary", "regression"]
    columns: Mapping[str, NDArray[Any]]
    y: NDArray[np.float64]
    extra: Mapping[str, NDArray[Any]] = dataclasses.field(default_factory=dict)
    n_read: int
    n_rejected: int = 0
    reasons: Counter[str] = dataclasses.field(default_factory=Counter)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the rows in their order, the same whatever kind of table they came from."""
        digest = hashlib.sha256()
        for name, values in {**self.columns, "": self.y}.items():
            cells = values.tolist() if values.dtype == object else None
            head = [name, len(values), cells]
            digest.update(json.dumps(head).encode())
            if cells is None:
                doubles = np.where(np.isnan(values), np.nan, values).astype("<f8")
                digest.update(doubles.tobytes())
        return digest.hexdigest()

    def take(self, indices: NDArray[np.intp]) -> Dataset:
        """Return the rows at *indices*, `(n_taken,)`, as a table of their own."""
        return Dataset(
            kind=self.kind,
            columns={name: values[indices] for name, values in self.columns.items()},
            y=self.y[indices],
            extra={name: values[indices] for name, values in self.extra.items()},
            n_read=len(indices),
        )

    def __len__(self) -> int:
        return len(self.y)


def read(
    data: Any,
    columns: Sequence[Column],
    label: Binary | Regression,
    cleaning: Cleaning,
    *,
    rejects: Path | None = None,
    extra: Sequence[str] = (),
) -> Dataset:
    """Read a table and clean it.

    Args:
        data: Path or file:// URL of a CSV or Parquet file, a pandas or polars DataFrame, an Arrow
            Table, or a mapping of columns.
        columns: The record's columns.
        label: What is predicted.
        cleaning: The rules.
        rejects: File for the rows that break a rule, with the reasons of each.
        extra: Further columns to keep, for the split.

    Raises:
        DataError: If the table cannot be read, lacks columns, has no good row, or its label has
            one class.
    """
    with opened(data, cleaning) as source:
        classes = judge(source, columns, label, cleaning, extra)
        if rejects is not None:
            rejected_rows.set_aside(source, rejects)
        n_rejected, reasons = rejected_rows.count_reasons(source)
        if n_rejected == source.n_rows:
            raise DataError(_all_rejected(source, reasons))
        arrays = fetch(source, len(columns), len(extra))
        dataset = Dataset(
            kind=label.kind,
            columns={column.name: arrays[f"v{i}"] for i, column in enumerate(columns)},
            y=arrays["y"],
            extra={name: arrays[f"e{i}"] for i, name in enumerate(extra)},
            n_read=source.n_rows,
            n_rejected=n_rejected,
            reasons=reasons,
        )
        if label.kind == "binary":
            _require_both(source, dataset, label, classes)
    return dataset


def fetch(source: Source, n_columns: int, n_extra: int) -> dict[str, NDArray[Any]]:
    """Return the columns of the rows to keep, in the table's order."""
    names = [f"v{i}" for i in range(n_columns)] + ["y"] + [f"e{i}" for i in range(n_extra)]
    run = source.connection.execute
    kept = rules.query({name: name for name in names}, "judged WHERE reason = '' ORDER BY n")
    run(f"CREATE TABLE kept AS {kept}").fetchall()
    return {
        name: _array(run(rules.query({name: name}, "kept")).fetchnumpy()[name]) for name in names
    }


def _array(values: Any) -> NDArray[Any]:
    mask = np.ma.getmaskarray(values)
    array = np.array(np.ma.getdata(values))
    if array.dtype != object:
        array[mask] = np.nan
        return array.astype(np.float64)
    # One text object a distinct value, not one a row.
    known: dict[str, str] = {}
    array[:] = [known.setdefault(text, text) for text in array.tolist()]
    array[mask] = None
    return array


def _all_rejected(source: Source, reasons: Counter[str]) -> str:
    listed = "; ".join(f"{what} ({n:,} rows)" for what, n in reasons.most_common(_REASONS_SHOWN))
    return (
        f"{source.title}: each of its {source.n_rows:,} rows breaks a rule: {listed}. Correct the "
        "table, or loosen the record or the Cleaning"
    )


def _require_both(
    source: Source, dataset: Dataset, label: Binary, classes: tuple[Sequence[str], Sequence[str]]
) -> None:
    """Refuse rows of one class; class names, unlike other values, may be shown."""
    where = f"{source.title}: label '{label.column}'"
    if not dataset.y.any():
        shown = ", ".join(f"'{_short(name)}'" for name in classes[1][:_CLASSES_SHOWN])
        more = ", ..." if len(classes[1]) > _CLASSES_SHOWN else ""
        raise DataError(
            f"{where} has one class: no good row is positive ({label.words}); its values are "
            f"{shown}{more}. Name one of them in Binary(positive=...)"
            if not classes[0]
            else f"{where} has one class: its positive rows all break a rule. Look at the rejects"
        )
    if dataset.y.all():
        raise DataError(
            f"{where} has one class: every good row is positive ({label.words}); add rows of the "
            "other class, or name another positive value"
        )


def _short(name: str) -> str:
    return name if len(name) <= _CLASS_LENGTH else f"{name[:_CLASS_LENGTH]}..."
