"""Predictions as clients read them: what `Prediction.to_json` says, but of failures only the type."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mlembed.endpoints.problems import told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.serving.batch import Batch
    from mlembed.serving.prediction import Prediction


def prediction_row(prediction: Prediction) -> dict[str, Any]:
    """Return *prediction* in plain JSON types."""
    row = prediction.to_json()
    if row["error"]:
        row["error"] = told(row["error"])
    return row


def rows_of(batch: Batch, keys: Sequence[str | None] | None) -> list[dict[str, Any]]:
    """Return each row of *batch* as `prediction_row` would."""
    intervals = None if batch.intervals is None else batch.intervals.tolist()
    odds = None if batch.probabilities is None else batch.probabilities.tolist()
    classes: tuple[str, ...] = getattr(batch, "classes", ())
    error = told(batch.error)
    told_of = zip(batch.ids, batch.scores.tolist(), batch.labels, batch.reasons, strict=True)
    rows: list[dict[str, Any]] = []
    for place, (identifier, score, label, reason) in enumerate(told_of):
        row: dict[str, Any] = {"id": identifier, "model": batch.model, "version": batch.version}
        row["score"] = plain(score)
        if intervals is not None:
            row["interval"] = intervals[place]
        row |= {"label": label, "reason": reason, "error": error}
        row["key"] = None if keys is None else keys[place]
        if odds is not None:
            row["probabilities"] = dict(zip(classes, odds[place], strict=True))
        if batch.outputs:
            cells = {name: array[place : place + 1] for name, array in batch.outputs.items()}
            row["outputs"] = {name: plain(cell.tolist()) for name, cell in cells.items()}
        rows.append(row)
    return rows


def plain(value: Any) -> Any:
    """Return *value*, nested lists as well, with None for what is no finite number."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
