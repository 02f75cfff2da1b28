"""Count what a model is asked and answers in the bins of its bundle's reference.

Counts are int64 and add up across threads, processes and hosts, so drift can be computed wherever
they meet: from the exported counters, without a row leaving the process.
"""

from __future__ import annotations

import itertools
import math
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed import forking

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column

    Counts = NDArray[np.int64]

_shared: weakref.WeakValueDictionary[str, Tally] = weakref.WeakValueDictionary()

_TOGETHER, _ROWS = 32, 512  # columns and rows compared at once: what they make fits into a cache
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
        is_number: Whether its bins lie between edges; they are codes otherwise.
    """

    def __init__(self, profile: Mapping[str, Any], column: Column | None) -> None:
        counts = np.array(profile["counts"], dtype=np.float64)
        self.edges = np.array(profile.get("edges", ()), dtype=np.float64)
        self.reference = (counts + 0.5) / (counts.sum() + len(counts) / 2)
        self.is_number = profile["kind"] == "number"
        self._places = np.empty(0, dtype=np.intp)
        if self.is_number:
            self.labels = (*_between(self.edges.tolist()), "missing")
        else:
            values = tuple(str(value) for value in profile["values"])
            self.labels = (*values, "(others)", "missing")
            self._places = _places(values, column)

    def codes(self, cells: NDArray[np.float64]) -> Counts:
        """Return how many *cells* of a category, `(n_records,)`, fall into each bin."""
        missing, others = len(self._places) - 1, len(self._places) - 2
        codes = np.where((cells >= 0) & (cells < others), cells, others)
        codes[np.isnan(cells)] = missing
        return np.bincount(self._places[codes.astype(np.intp)], minlength=len(self.labels))


class _Numbers:
    """Counts of several columns of numbers, whose cells are compared with all their edges at once.

    Args:
        bins: The bins of each column.
        places: Where each column stands in the row.
    """

    def __init__(self, bins: Sequence[Bins], places: Sequence[int]) -> None:
        self._sizes = [len(some.edges) + 1 for some in bins]
        self._edges = np.full((len(bins), max(self._sizes) - 1), np.nan)  # NaN is never reached
        for edges, some in zip(self._edges, bins, strict=True):
            edges[: len(some.edges)] = some.edges
        self._places = list(places)
        self._counts = np.zeros((len(bins), max(self._sizes)), dtype=np.int64)
        self._missing = np.zeros(len(bins), dtype=np.int64)

    def add(self, columns: NDArray[np.float64], weight: int) -> None:
        """Count all cells, `(n_columns, n_records)`, *weight* times."""
        cells = columns[self._places]
        missing = np.count_nonzero(np.isnan(cells), axis=1)
        borders = np.zeros((len(cells), self._counts.shape[1] + 1), dtype=np.int64)
        borders[:, 0] = cells.shape[1] - missing
        borders[:, 1:-1] = np.count_nonzero(cells[:, None] >= self._edges[:, :, None], axis=2)
        self._counts += weight * (borders[:, :-1] - borders[:, 1:])
        self._missing += weight * missing

    def counts(self) -> list[Counts]:
        """Return the counts of each column's bins."""
        return [
            np.append(counts[:size], missing)
            for size, counts, missing in zip(self._sizes, self._counts, self._missing, strict=True)
        ]


class _Codes:
    """Counts of one category.

    Args:
        bins: Its bins.
        place: Where it stands in the row.
    """

    def __init__(self, bins: Bins, place: int) -> None:
        self._bins, self._place = bins, place
        self._counts = np.zeros(len(bins.labels), dtype=np.int64)

    def add(self, columns: NDArray[np.float64], weight: int) -> None:
        """Count the cells of its column, *weight* times."""
        self._counts += weight * self._bins.codes(columns[self._place])

    def counts(self) -> list[Counts]:
        """Return the counts of its bins."""
        return [self._counts.copy()]


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
        self._n_columns = len(columns)
        self.clear()

    def clear(self) -> None:
        """Begin at nothing."""
        self._adding = threading.Lock()
        self.n = 0
        placed = [*self._columns, (self._n_columns, SCORE, self._score)]
        numbers = [item for item in placed if item[2].is_number]
        self._counters: dict[tuple[str, ...], _Numbers | _Codes] = {
            (name,): _Codes(bins, place) for place, name, bins in placed if not bins.is_number
        }
        for start in range(0, len(numbers), _TOGETHER):
            places, names, bins = zip(*numbers[start : start + _TOGETHER], strict=True)
            self._counters[names] = _Numbers(bins, places)

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
        with self._adding:
            self.n += weight * len(scores)
            for start in range(0, len(scores), _ROWS):
                rows = slice(start, start + _ROWS)
                columns = np.vstack([matrix[rows].T, scores[rows]])
                for counter in self._counters.values():
                    counter.add(columns, weight)

    def counts(self) -> dict[str, Counts]:
        """Return a copy of the counts of each column, and of the score under `SCORE`."""
        with self._adding:
            told = [zip(names, c.counts(), strict=True) for names, c in self._counters.items()]
        found = dict(itertools.chain.from_iterable(told))
        return {name: found[name] for name, _ in self.bins()}


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


forking.in_child(_after_fork)
