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
from mlembed.training.coded import Columns, Texts
from mlembed.training.fetching import fetch, fetch_column, fetch_doubles, good_rows
from mlembed.training.judging import judge
from mlembed.training.sources import opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.training.cleaning import Cleaning
    from mlembed.training.labels import Binary, Multiclass, Regression
    from mlembed.training.sources import Source
    from mlembed.training.staged import JoinCount

_REASONS_SHOWN = 5
_CLASSES_SHOWN, _CLASS_LENGTH = 10, 40
_DIGESTED = 1 << 18
_LARGEST = 1e140


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Clean rows and their labels.

    Attributes:
        kind: Kind of the label.
        columns: The record's columns by name, each `(n_records,)`: text or None for a category,
            for the others doubles with NaN for missing (booleans 0 or 1, times in seconds since
            1970).
        y: Labels, `(n_records,)`; 0 and 1 for a binary label, the place among `classes`
            for one of several.
        extra: The columns a split needs, by name: doubles (times in seconds since 1970) or text.
        n_read: Rows read, kept or not.
        n_rejected: Rows that broke a rule.
        reasons: Rows that broke each rule; a row may have broken several.
        joins: What came of the joins that made the table, in their order.
        classes: The classes of a label of several, by their codes.
    """

    kind: Literal["binary", "multiclass", "regression"]
    columns: Mapping[str, NDArray[Any]]
    y: NDArray[np.float64]
    extra: Mapping[str, NDArray[Any]] = dataclasses.field(default_factory=dict)
    n_read: int
    n_rejected: int = 0
    reasons: Counter[str] = dataclasses.field(default_factory=Counter)
    joins: tuple[JoinCount, ...] = ()
    classes: tuple[str, ...] = ()

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the rows in their order, the same whatever kind of table they came from.

        Columns read beside the record's are among them: a split, a threshold or an interval is
        another where they are.
        """
        digest = hashlib.sha256()
        for name, values in self.held().items():
            for part in _digested(name, values):
                digest.update(part)
        for part in _digested("", self.y):
            digest.update(part)
        return digest.hexdigest()

    def held(self) -> dict[str, NDArray[Any] | Texts]:
        """Return every column as it is held: the record's, and those beside them, by name."""
        columns, extra = Columns.of(self.columns), Columns.of(self.extra)
        held = {name: columns.held(name) for name in columns}
        return held | {name: extra.held(name) for name in extra if name not in held}

    def take(self, indices: NDArray[np.intp]) -> Dataset:
        """Return the rows at *indices*, `(n_taken,)`, as a table of their own."""
        return Dataset(
            kind=self.kind,
            columns=Columns.of(self.columns).take(indices),
            y=self.y[indices],
            extra=Columns.of(self.extra).take(indices),
            n_read=len(indices),
            classes=self.classes,
        )

    def __len__(self) -> int:
        return len(self.y)


def read(
    data: Any,
    columns: Sequence[Column],
    label: Binary | Multiclass | Regression,
    cleaning: Cleaning,
    *,
    rejects: Path | None = None,
    extra: Sequence[str] = (),
) -> Dataset:
    """Read a table and clean it.

    Args:
        data: Path or URL of a CSV, JSON or Parquet file or a pattern of its parts; a pandas or
            polars DataFrame, an Arrow Table, or a mapping of columns; a Table, a Query, or what
            was joined of them.
        columns: The record's columns.
        label: What is predicted.
        cleaning: The rules.
        rejects: File for the rows that break a rule, with the reasons of each.
        extra: Further columns to keep, for the split.

    Raises:
        DataError: If the table cannot be read, lacks columns, has no good row, or its label has
            one class or is too large to be squared.
    """
    with opened(data, cleaning) as source:
        classes = judge(source, columns, label, cleaning, extra)
        if rejects is not None:
            rejected_rows.set_aside(source, rejects)
        n_rejected, reasons = rejected_rows.count_reasons(source)
        if n_rejected == source.n_rows:
            raise DataError(_all_rejected(source, reasons))
        good = good_rows(source)
        held = {
            column.name: fetch_column(source, column, f"v{i}", good)
            for i, column in enumerate(columns)
        }
        known = {
            name: held[name] if name in held else fetch(source, f"e{i}", good)
            for i, name in enumerate(extra)
        }
        dataset = Dataset(
            kind=label.kind,
            columns=Columns(held),
            y=fetch_doubles(source, "y", good),
            extra=Columns(known),
            n_read=source.n_rows,
            n_rejected=n_rejected,
            reasons=reasons,
            joins=source.joins,
            classes=classes[0] if label.kind == "multiclass" else (),
        )
        if label.kind == "regression":
            _require_moderate(source, dataset, label)
        if label.kind == "binary":
            _require_both(source, dataset, label, classes)
        if label.kind == "multiclass" and (dataset.y == dataset.y[0]).all():
            raise DataError(
                f"{source.title}: label '{label.column}' has one class in the rows to keep: those "
                "of the others all break a rule. Look at the rejects"
            )
    return dataset


def _digested(name: str, held: NDArray[Any] | Texts) -> Iterator[bytes]:
    """Yield, in parts, the JSON of the column's texts, or of its name and then its doubles."""
    if isinstance(held, Texts) or held.dtype == object:
        yield f"[{json.dumps(name)}, {len(held)}, [".encode()
        for start in range(0, len(held), _DIGESTED):
            part = slice(start, start + _DIGESTED)
            some = held[part]
            cells = (some.array() if isinstance(some, Texts) else some).tolist()
            yield (", " * bool(start) + json.dumps(cells)[1:-1]).encode()
        yield b"]]"
        return
    yield json.dumps([name, len(held), None]).encode()
    for start in range(0, len(held), _DIGESTED):
        values = held[start : start + _DIGESTED]
        yield np.where(np.isnan(values), np.nan, values).astype("<f8").tobytes()


def _all_rejected(source: Source, reasons: Counter[str]) -> str:
    listed = "; ".join(f"{what} ({n:,} rows)" for what, n in reasons.most_common(_REASONS_SHOWN))
    return (
        f"{source.title}: each of its {source.n_rows:,} rows breaks a rule: {listed}. Correct the "
        "table, or loosen the record or the Cleaning"
    )


def _require_moderate(source: Source, dataset: Dataset, label: Regression) -> None:
    if np.abs(dataset.y).max() > _LARGEST:
        raise DataError(
            f"{source.title}: label '{label.column}' holds numbers beyond {_LARGEST:.0e}, whose "
            "squares a double cannot sum up: give it in a larger unit"
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
