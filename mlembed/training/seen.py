"""Find the rows to measure on that the model has learnt from: what it says of them proves nothing."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.training.coded import Texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.training.dataset import Dataset

    Marks = NDArray[np.uint64]


def share_seen(trained: Dataset, measured: Dataset) -> float:
    """Return the share of the rows of *measured* that are, label and all, rows of *trained*.

    Only of those that stand there once: what is alike by chance repeats in *trained* as well.
    """
    marks, times = np.unique(_marks(trained), return_counts=True)
    seen = np.isin(_marks(measured), marks[times == 1])
    return float(np.mean(seen)) if len(seen) else 0.0


def are_same_rows(one: Dataset, other: Dataset) -> bool:
    """Tell whether two tables hold the same rows, each as often, in any order."""
    return len(one) == len(other) and np.array_equal(np.sort(_marks(one)), np.sort(_marks(other)))


def _marks(dataset: Dataset) -> Marks:
    """Return 64 bits for each row, `(n_records,)`, equal for equal rows alone but for chance."""
    held = dataset.held()
    marks: Marks = np.zeros(len(dataset), dtype=np.uint64)
    for name in sorted(held):
        marks = _mixed(marks + _cells(held[name]))
    return _mixed(marks + _cells(dataset.y))


def _cells(held: NDArray[Any] | Texts) -> Marks:
    if isinstance(held, Texts):
        known = np.array([*map(_text, held.texts), _text(None)], dtype=np.uint64)
        return known[held.codes]  # code -1 is the last place
    if held.dtype == object:
        known_texts = {text: _text(text) for text in set(held.tolist())}
        return np.array([known_texts[text] for text in held.tolist()], dtype=np.uint64)
    numbers = np.where(np.isnan(held), np.nan, held + 0.0)  # one NaN, and no negative zero
    return numbers.astype(np.float64).view(np.uint64)


def _text(text: str | None) -> int:
    """Return 64 bits of a text; of None others than of any text."""
    data = b"" if text is None else b"t" + text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _mixed(bits: Marks) -> Marks:
    """Spread each bit over all 64.

    The last step of SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014.
    """
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
