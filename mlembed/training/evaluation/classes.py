"""How a model of several classes does, class by class, and which it takes for which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.monitoring.metrics import METRICS
from mlembed.training.evaluation.calibration import calibration

if TYPE_CHECKING:
    from mlembed.training.evaluation.rows import Rows

MAX_CLASSES = 20


def of_classes(rows: Rows) -> dict[str, Any]:
    """Return what is told of several classes, in plain JSON types.

    `calibration_error` is that of the most probable class: Guo et al., "On calibration of modern
    neural networks", ICML 2017.

    Args:
        rows: Rows with a probability for each class.

    Returns:
        `classes`, each with its rows `n`, precision, recall and F1; `confusion_matrix` of the 20
        most frequent classes and all `others`, true ones down, answered ones across; `confidence`,
        bins of the greatest probability with the share that is right as `positive_share`.
    """
    answered = rows.scores.argmax(axis=1)
    right = (answered == rows.y).astype(np.float64)
    greatest = rows.scores.max(axis=1)
    counts = _counts(rows.y.astype(np.intp), answered, len(rows.classes))
    return {
        "classes": [_one(name, i, counts) for i, name in enumerate(rows.classes)],
        "confusion_matrix": _matrix(rows.classes, counts),
        "confidence": calibration(right, greatest, rows.clusters),
        "calibration_error": METRICS["ece"].of(right, greatest, 0.5),
    }


def _counts(true: Any, answered: Any, n_classes: int) -> Any:
    flat = np.bincount(true * n_classes + answered, minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def _one(name: str, place: int, counts: Any) -> dict[str, Any]:
    hits = int(counts[place, place])
    there, called = int(counts[place].sum()), int(counts[:, place].sum())
    return {
        "class": name,
        "n": there,
        "precision": hits / max(called, 1),
        "recall": hits / max(there, 1),
        "f1": 2 * hits / max(there + called, 1),
    }


def _matrix(classes: tuple[str, ...], counts: Any) -> dict[str, Any]:
    order = np.argsort(-counts.sum(axis=1), kind="stable")
    kept, left = order[:MAX_CLASSES], order[MAX_CLASSES:]
    names = [classes[place] for place in kept]
    if not left.size:
        return {"classes": names, "counts": counts[np.ix_(kept, kept)].tolist()}
    rows = np.vstack([counts[kept], counts[left].sum(axis=0)])
    table = np.hstack([rows[:, kept], rows[:, left].sum(axis=1, keepdims=True)])
    return {"classes": [*names, "others"], "counts": table.tolist()}
