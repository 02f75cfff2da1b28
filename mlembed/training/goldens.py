"""Choose the golden rows of a bundle: what a host replays before it trusts a model.

They hold what breaks conversions, runtimes and encoders: missing, unknown, rare and extreme
values, rows right at the threshold, and both sides of splits.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.bundle.golden import Golden
from mlembed.errors import DataError
from mlembed.serving.encoder import Encoder
from mlembed.training.probes import IDS, spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.serving.session import Session

    Matrix = NDArray[np.float64]
    Record = dict[str, Any]

MAX_GOLDEN = 100
_N_USUAL, _N_CLOSE, _N_SPLITS, _N_ODD = 36, 12, 27, 25
UNSEEN = "a value never seen in training"


def choose_golden(
    title: str,
    columns: Sequence[Column],
    session: Session,
    x: Matrix,
    scores: Matrix,
    *,
    splits: Mapping[str, Sequence[float]] | None = None,
    threshold: float | None = None,
) -> Golden:
    """Choose at most 100 records and score them as a host would; each has a finite score.

    Args:
        title: The bundle as people name it.
        columns: The columns of the row, in order.
        session: The loaded graph.
        x: Rows held out of the fit, `(n_records, n_columns)`.
        scores: What the graph makes of them, `(n_records,)` or `(n_records, n_classes)`.
        splits: Thresholds by feature; those of raw columns are used.
        threshold: Score from which a label is positive; None or NaN where there is none.

    Raises:
        DataError: If no record has a finite score.
    """
    usual = [decode(columns, row) for row in spread(x, _N_USUAL).tolist()]
    close = [decode(columns, row) for row in _closest(x, scores, threshold).tolist()]
    odd = itertools.islice(_odd(columns, usual[0]), _N_ODD)
    at_splits = itertools.islice(_at_splits(columns, usual, splits or {}), _N_SPLITS)
    records = [*usual, *close, *odd, *at_splits]
    scored = zip(records, _scores(title, columns, session, records), strict=True)
    # The exponential of a link ends where doubles do: a host answers such a row with its fallback.
    finite = [(record, score) for record, score in scored if np.isfinite(score).all()]
    if not finite:
        raise DataError(f"{title}: no held-out row has a finite score; scale the label")
    return Golden(*zip(*finite, strict=True))


def decode(columns: Sequence[Column], row: Sequence[float]) -> Record:
    """Return a record that encodes to *row*, as JSON types; times are seconds since 1970.

    A code outside the vocabulary becomes a value nobody has seen, and so does a missing code of a
    category that must be there.
    """
    return {column.name: _value(column, cell) for column, cell in zip(columns, row, strict=True)}


def _value(column: Column, cell: float) -> Any:
    if cell != cell:  # noqa: PLR0124  NaN
        return None if column.nullable or column.kind != "category" else UNSEEN
    if column.kind == "boolean":
        return bool(cell)
    if column.kind == "category":
        return column.vocabulary[int(cell)] if cell < len(column.vocabulary) else UNSEEN
    return cell


def _scores(
    title: str, columns: Sequence[Column], session: Session, records: Sequence[Record]
) -> tuple[float | tuple[float, ...], ...]:
    encoder, row = Encoder(title, columns), session.row()
    scores: list[float | tuple[float, ...]] = []
    for record in records:
        encoder.encode(record, row.cells)
        row.run()
        found = row.scores.tolist()
        scores.append(found[0] if len(found) == 1 else tuple(found))
    return tuple(scores)


def _closest(x: Matrix, scores: Matrix, threshold: float | None) -> Matrix:
    """Return the rows nearest to a change of label; of a quantity its least and greatest."""
    if scores.ndim > 1:
        two = np.sort(scores, axis=1)[:, -2:]
        order = np.argsort(two[:, 1] - two[:, 0], kind="stable")
    elif threshold is None or math.isnan(threshold):
        by_score = np.argsort(scores, kind="stable")
        half = min(_N_CLOSE, len(x)) // 2
        order = np.concatenate([by_score[:half], by_score[half:][::-1]])
    else:
        order = np.argsort(np.abs(scores - threshold), kind="stable")
    closest: Matrix = x[order[:_N_CLOSE]]
    return closest


def _odd(columns: Sequence[Column], usual: Record) -> Iterator[Record]:
    """Yield what no usual row holds: in all columns at once, then in one after the other."""
    kinds = (_missing, _unseen, _least, _greatest, _ids)
    cells = [(column.name, [*kind(column)]) for kind in kinds for column in columns]
    for kind in kinds:
        together = {column.name: value for column in columns for value in [*kind(column)][:1]}
        if together:
            yield usual | together
    # One column in turn, so that a wide record still has every kind in some of its columns.
    wanted = [[usual | {name: value} for value in values] for name, values in cells]
    for turn in itertools.zip_longest(*wanted):
        yield from (record for record in turn if record is not None)


def _missing(column: Column) -> Iterable[Any]:
    return [None] if column.nullable else []


def _unseen(column: Column) -> Iterable[Any]:
    return [UNSEEN] if column.kind == "category" and column.unknown_code is not None else []


def _least(column: Column) -> Iterable[Any]:
    return _end(column, column.minimum, np.inf, excluded=column.exclusive_minimum)


def _greatest(column: Column) -> Iterable[Any]:
    return _end(column, column.maximum, -np.inf, excluded=column.exclusive_maximum)


def _end(column: Column, end: float | None, towards: float, *, excluded: bool) -> list[float]:
    if end is None:
        return []
    if not excluded:
        return [end]
    if column.kind == "integer":
        return [end + float(np.sign(towards))]
    return [float(np.nextafter(end, towards))]


def _ids(column: Column) -> Iterable[Any]:
    return [value for value in IDS if column.kind == "integer" and column.allows(value)]


def _at_splits(
    columns: Sequence[Column], usual: Sequence[Record], splits: Mapping[str, Sequence[float]]
) -> Iterator[Record]:
    """Yield records right below, at and right above thresholds, of each column in turn."""
    turns = [
        [(column, value) for value in spread(np.unique(splits[column.name]), _N_SPLITS // 3)]
        for column in columns
        if column.kind not in ("category", "boolean") and len(splits.get(column.name, ()))
    ]
    numbers = itertools.cycle(range(len(usual)))
    for turn in itertools.zip_longest(*turns):
        for column, value in filter(None, turn):
            number = next(numbers)
            for cell in _around(column, float(value)):
                if column.allows(cell):
                    yield usual[number] | {column.name: cell}


def _around(column: Column, threshold: float) -> list[float]:
    if column.kind == "integer":
        return [math.floor(threshold) + step for step in (0.0, 1.0)]
    around = [math.nextafter(threshold, end) for end in (-math.inf, math.inf)]
    return [around[0], threshold, around[1]]
