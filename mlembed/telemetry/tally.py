"""Count what a model is asked and answers in the bins of its bundle's reference.

Counts are int64 and add up across threads, processes and hosts, so drift can be computed wherever
they meet: from the exported counters, without a row leaving the process.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column

    Counts = NDArray[np.int64]

_shared: weakref.WeakValueDictionary[str, Tally] = weakref.WeakValueDictionary()

SCORE = ""  # stands for the score where a column's name is expected


class Bins:
    """The bins of one column: where a cell falls, and what each bin is called.

    Args:
        profile: The column's part of reference.json.
        column: The column, or None for the score.

    Attributes:
        labels: Name of each bin; the last is `missing`.
        reference: Share of each bin but the last in the reference, half a count added to each.
        edges: Inner edges of a number's bins; empty for a category.
    """

    def __init__(self, profile: Mapping[str, Any], column: Column | None) -> None:
        counts = np.array(profile["counts"], dtype=np.float64)
        self.edges = np.array(profile.get("edges", ()), dtype=np.float64)
        self.reference = (counts + 0.5) / (counts.sum() + len(counts) / 2)
        self._places: NDArray[np.intp] | None = None
        if profile["kind"] == "number":
            self.labels = (*_between(self.edges.tolist()), "missing")
        else:
            values = tuple(str(value) for value in profile["values"])
            self.labels = (*values, "(others)", "missing")
            self._places = _places(values, column)

    def count(self, cells: NDArray[np.float64]) -> Counts:
        """Return how many *cells*, `(n,)`, fall into each bin."""
        n_bins = len(self.labels)
        if self._places is not None:
            missing, others = len(self._places) - 1, len(self._places) - 2
            codes = np.where((cells >= 0) & (cells < others), cells, others)
            codes[np.isnan(cells)] = missing
            return np.bincount(self._places[codes.astype(np.intp)], minlength=n_bins)
        found = np.searchsorted(self.edges, cells, side="right")
        counts = np.bincount(found, minlength=n_bins)
        n_missing = np.count_nonzero(np.isnan(cells))
        if n_missing:  # NaN sorts behind the last edge
            counts[len(self.edges)] -= n_missing
            counts[-1] = n_missing
        return counts


class Tally:
    """Running counts of one bundle, in one process.

    Args:
        reference: The bundle's reference.json.
        columns: Columns of its row, in order.

    Attributes:
        n: Rows counted.
    """

    def __init__(self, reference: Mapping[str, Any], columns: Sequence[Column]) -> None:
        profiles = reference["columns"]
        self._columns = [
            (i, column.name, Bins(profiles[column.name], column))
            for i, column in enumerate(columns)
            if column.name in profiles
        ]
        self._score = Bins(reference["score"], None)
        self._adding = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Begin at nothing."""
        self._adding = threading.Lock()
        self.n = 0
        self._counts: dict[str, Counts] = {
            name: np.zeros(len(bins.labels), dtype=np.int64) for name, bins in self.bins()
        }

    def bins(self) -> Iterator[tuple[str, Bins]]:
        """Yield the name and the bins of each column, and of the score under `SCORE`."""
        for _, name, bins in self._columns:
            yield name, bins
        yield SCORE, self._score

    @property
    def edges(self) -> dict[str, list[float]]:
        """The inner edges of each number's bins."""
        return {name: bins.edges.tolist() for name, bins in self.bins() if bins.edges.size}

    def add(
        self, matrix: NDArray[np.float64], scores: NDArray[np.float64], weight: int = 1
    ) -> None:
        """Count rows.

        Args:
            matrix: Encoded rows, `(n_records, n_columns)`.
            scores: `(n_records,)`.
            weight: Rows that each of these stands for.
        """
        columns = np.ascontiguousarray(matrix.T)
        found = {name: bins.count(columns[i]) for i, name, bins in self._columns}
        found[SCORE] = self._score.count(scores)
        with self._adding:
            self.n += weight * len(scores)
            for name, counts in found.items():
                self._counts[name] += weight * counts

    def counts(self) -> dict[str, Counts]:
        """Return a copy of the counts of each column, and of the score under `SCORE`."""
        with self._adding:
            return {name: counts.copy() for name, counts in self._counts.items()}


def _places(values: Sequence[str], column: Column | None) -> NDArray[np.intp]:
    """Return the bin of each code; the last but one is of unknown codes, the last of missing."""
    vocabulary: Sequence[str] = ("false", "true")
    if column is not None and column.kind == "category":
        vocabulary = column.vocabulary
    named = {value: place for place, value in enumerate(values)}
    others = len(values)
    found = [named.get(value, others) for value in vocabulary]
    return np.array([*found, others, others + 1], dtype=np.intp)


def _between(edges: Sequence[float]) -> tuple[str, ...]:
    """Name the bins between *edges*: `[low, high)`, the outer ones open."""
    texts = [repr(float(edge)) for edge in (-math.inf, *edges, math.inf)]
    return tuple(f"[{low}, {high})" for low, high in itertools.pairwise(texts))


def tally_of(digest: str, reference: Mapping[str, Any], columns: Sequence[Column]) -> Tally:
    """Return this process's tally of the bundle *digest*, made where there is none yet."""
    found = _shared.get(digest)
    if found is None:
        found = _shared.setdefault(digest, Tally(reference, columns))
    return found


def _after_fork() -> None:
    for tally in list(_shared.values()):
        tally.clear()  # the parent's counts are not the child's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
