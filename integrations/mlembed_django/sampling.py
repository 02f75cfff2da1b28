"""Choose the share of predictions that the database keeps, by their ids and by nothing else.

So whoever sees an id can tell whether its row is there, and a retry never keeps what was left out.
"""

from __future__ import annotations

import uuid

import numpy as np

_SCATTER = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio, and odd
_MASK = (1 << 64) - 1
_ALL = 2.0**64


def is_kept(prediction_id: str, share: float) -> bool:
    """Tell whether the single prediction *prediction_id* is in the *share* that is kept."""
    if share >= 1.0:
        return True
    return (uuid.UUID(prediction_id).int * _SCATTER & _MASK) < share * _ALL


def kept_rows(event: str, n_rows: int, share: float) -> list[int]:
    """Return which of the *n_rows* rows of the *event* of a batch are in the *share*."""
    if share >= 1.0:
        return list(range(n_rows))
    first = np.uint64(uuid.UUID(event).int & _MASK)
    with np.errstate(over="ignore"):
        scattered = (np.arange(n_rows, dtype=np.uint64) + first) * np.uint64(_SCATTER)
    kept: list[int] = np.flatnonzero(scattered < share * _ALL).tolist()
    return kept
