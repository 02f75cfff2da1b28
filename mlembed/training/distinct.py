"""Number the distinct values of a column, whatever its kind."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlembed.training.coded import Texts

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Distinct(NamedTuple):
    """The distinct values of a column.

    Attributes:
        codes: Position of each row's value among `values`, `(n_records,)`; -1 for missing.
        values: The distinct values, `(n_distinct,)`, missing left out.
        counts: Rows of each, `(n_distinct,)`.
    """

    codes: NDArray[np.intp]
    values: NDArray[Any]
    counts: NDArray[np.intp]


def distinct(values: NDArray[Any] | Texts) -> Distinct:
    """Return the distinct values of a column as a `Dataset` holds it, `(n_records,)`.

    Numbers come in increasing order, texts in that of their codes or of their first row.
    """
    if isinstance(values, Texts):
        counts = values.counts()
        there = counts > 0
        # The last place is that of code -1.
        places = np.append(np.where(there, np.cumsum(there) - 1, -1), -1)
        return Distinct(places[values.codes], values.texts[there], counts[there])
    if values.dtype != object:
        return _numbers(values)
    known: dict[Any, int] = {None: -1}
    # None takes the first place, so the texts start at 0.
    listed = [known.setdefault(value, len(known) - 1) for value in values.tolist()]
    codes = np.array(listed, dtype=np.intp)
    del known[None]
    texts = np.empty(len(known), dtype=object)
    texts[:] = list(known)
    return Distinct(codes, texts, np.bincount(codes[codes >= 0], minlength=len(texts)))


def is_text(values: NDArray[Any] | Texts) -> bool:
    """Tell whether a column holds texts."""
    return isinstance(values, Texts) or values.dtype == object


def count_texts(values: NDArray[Any] | Texts) -> dict[str, int]:
    """Return how many rows hold each text of a category, `(n_records,)`, missing left out."""
    if isinstance(values, Texts):
        counted = zip(values.texts.tolist(), values.counts().tolist(), strict=True)
        return {text: count for text, count in counted if count}
    counts = Counter(values.tolist())
    counts.pop(None, None)
    return counts


def _numbers(values: NDArray[Any]) -> Distinct:
    present = ~np.isnan(values)
    codes = np.full(len(values), -1, dtype=np.intp)
    found, codes[present], counts = np.unique(
        values[present], return_inverse=True, return_counts=True
    )
    return Distinct(codes, found, counts)
