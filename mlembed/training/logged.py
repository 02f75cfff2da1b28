"""Make a training table of logged predictions whose outcome is known.

The log holds features as the host gave them, before any transform, so the next model is
trained on exactly what the last one saw.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.errors import DataError
from mlembed.training.cleaning import Cleaning
from mlembed.training.dataset import Dataset, read
from mlembed.training.labels import Binary, Multiclass
from mlembed.training.splits import TimeSplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from mlembed.monitoring.log import PredictionLog
    from mlembed.monitoring.outcomes import Joined
    from mlembed.training.labels import Regression
    from mlembed.training.trainer import Trainer

    Label = Binary | Multiclass | Regression

_ROW = "mlembed_row"
_AS_LOGGED = Cleaning(trim=False, missing=())


def table_of(
    trainer: Trainer, log: PredictionLog, joined: Joined
) -> tuple[Dataset, NDArray[np.int64]]:
    """Return the rows to learn from and the time of each, oldest first.

    Rows without features (fallbacks), or whose outcome is no label, are left out. A `TimeSplit` by
    a column the log does not have goes by the time of the prediction; a `GroupSplit`, and the
    entity, by its key.

    Args:
        trainer: The declaration.
        log: The prediction log.
        joined: Its outcomes.

    Returns:
        The table, and the Unix time of each row's prediction in nanoseconds, `(n_records,)`.

    Raises:
        DataError: If no row is left, or the log lacks a column.
    """
    label, y = read_outcomes(trainer.label, joined.values)
    usable = log.has_features[joined.rows] & ~np.isnan(y)
    rows, y = joined.rows[usable], y[usable]
    order = np.argsort(log.time_ns[rows], kind="stable")
    rows, y = rows[order], y[order]
    if not len(rows):
        raise DataError(
            f"the log of '{log.model}' has no prediction with features and a known outcome; "
            "report outcomes with model.outcome(prediction.id, truth)"
        )
    raw = {name: values[rows] for name, values in log.features.items()}
    split = trainer.held_out_by
    by_time = isinstance(split, TimeSplit)
    for name in trainer.extra:
        if name not in raw and name in (*split.columns, trainer.entity):
            by_key = name == trainer.entity or not by_time
            raw[name] = log.keys[rows] if by_key else log.time_ns[rows] / 1e9
    raw |= {label.column: as_given(label, y), _ROW: np.arange(len(rows))}
    table = read(
        raw,
        trainer.columns,
        _plain(label),
        _AS_LOGGED,
        extra=(*trainer.extra, _ROW),
    )
    kept = np.asarray(table.extra[_ROW], dtype=np.float64).astype(np.intp)
    return table, log.time_ns[rows][kept]


def read_outcomes(label: Label, values: Iterable[Any]) -> tuple[Label, NDArray[np.float64]]:
    """Return *label*, its classes learnt where they were not declared, and the label of each value.

    Labels are those of `label.of`, `(n,)`; NaN where an outcome is none.

    Raises:
        DataError: If there are too few classes, or too many.
    """
    values = list(values)
    if isinstance(label, Multiclass):
        label = label.learn(values)

    def read_one(value: Any) -> float:
        try:
            return label.of(value)
        except DataError:
            return math.nan

    return label, np.array([read_one(value) for value in values], dtype=np.float64)


def as_given(label: Label, y: NDArray[np.float64]) -> NDArray[Any]:
    """Return labels `(n,)` as a table holds them: the names of several classes, numbers otherwise."""
    if not isinstance(label, Multiclass):
        return y
    return np.array(label.classes, dtype=object)[y.astype(np.intp)]


def _plain(label: Label) -> Any:
    if not isinstance(label, Binary):
        return label
    return Binary(label.column, positive=1, threshold=label.threshold)
