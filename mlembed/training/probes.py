"""The rows on which a proof compares graph and estimator.

Rows are chosen by rule and seed alone, so a proof can be repeated to the bit. They are made
block by block: a forest has more thresholds than rows fit into memory.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column

    Matrix = NDArray[np.float64]
    Positions = NDArray[np.intp]

N_BASES = 4
N_HELDOUT = 10_000
N_RANDOM = 1_000
N_RECOMBINED = 1_000
# Thresholds of a column that are tried on several rows; all of them are tried on one row each.
N_SAMPLED = 32
# Rows that change one column alone to reach all thresholds; more of them change all columns.
N_APART = 30_000
_N_SPREAD = 97
_MISSING_SHARE = 0.1
_BLOCK_CELLS = 1_000_000
# Ids that lose digits as a float (2**24), as an int32 (2**31) or as a double (2**53).
IDS = (2.0**24 + 1, 2.0**31, 2.0**31 + 1, 2.0**53)
# The second before 1970, half of it, 1938, the years 1 and 9999.
TIMES = (-1.0, -0.5, -(2.0**30), -62_135_596_800.0, 253_402_300_799.0)
EXTREMES = (-0.0, 0.0, 5e-324, -5e-324, 2.0**-1022, -(2.0**-1022), 1e18, -1e18)


@dataclasses.dataclass(frozen=True)
class Probe:
    """Rows of one kind: some rows again and again, with other values in one column or some.

    Attributes:
        name: What the rows probe.
        bases: The rows they start from, `(n_bases, n_columns)`.
        base: Position of the row each one starts from, `(n_rows,)`.
        position: The columns that each one changes; -1 for none, `(n_rows, n_changes)`.
        value: What it puts there, `(n_rows, n_changes)`.
        is_foreign: Whether no host can send them, so that an estimator may refuse them.
    """

    name: str
    bases: Matrix
    base: Positions
    position: Positions
    value: Matrix
    is_foreign: bool = False

    def __len__(self) -> int:
        return len(self.base)

    def rows(self, which: slice | Sequence[int]) -> Matrix:
        """Return some of the rows, `(n_rows, n_columns)`."""
        x: Matrix = self.bases[self.base[which]]
        position = self.position[which]
        row, change = np.nonzero(position >= 0)
        x[row, position[row, change]] = self.value[which][row, change]
        return x

    def blocks(self) -> Iterator[Matrix]:
        """Yield all rows in order, a bounded number of cells at a time."""
        size = max(1, _BLOCK_CELLS // self.bases.shape[1])
        for start in range(0, len(self), size):
            yield self.rows(slice(start, start + size))


def probes(
    x_heldout: Matrix,
    columns: Sequence[Column],
    splits: Mapping[str, Sequence[float]],
    *,
    seed: int,
) -> dict[str, Probe]:
    """Return the rows to compare, by what they probe.

    Args:
        x_heldout: Rows the fit never saw; at least one. Of very many, 10,000 evenly spaced.
        columns: The columns of the row, in order.
        splits: Thresholds by feature; those of raw columns are used, all of them.
        seed: Seed of the random rows.
    """
    bases = spread(x_heldout, N_BASES)
    values: dict[str, Callable[[Column], Iterable[float]]] = {
        "missing": lambda column: [np.nan] if may_be_missing(column) else [],
        "bounds": _bounds,
        "codes": _codes,
        "ids": _ids,
        "times": _times,
        "extremes": _extremes,
    }
    random = np.random.default_rng(seed)
    missing = bases[:1].copy()
    missing[:, [may_be_missing(column) for column in columns]] = np.nan
    found = [
        given("heldout", spread(x_heldout, N_HELDOUT)),
        *(_vary(name, bases, list(map(of, columns))) for name, of in values.items()),
        *_splits(x_heldout, [_thresholds(column, splits) for column in columns], random),
        given("all_missing", missing),
        given("random", _random(x_heldout, columns, random)),
        given("recombined", _recombined(x_heldout, random)),
        *_foreign(x_heldout, bases, columns, random),
    ]
    return {probe.name: probe for probe in found if len(probe)}


def _thresholds(column: Column, splits: Mapping[str, Sequence[float]]) -> Sequence[float]:
    """Return where a column is split; of codes, which are all tried, nothing lies between."""
    return () if column.kind in ("category", "boolean") else splits.get(column.name, ())


def may_be_missing(column: Column) -> bool:
    """Tell whether a host's record can put NaN into the row."""
    unknown = column.unknown_code if column.kind == "category" else None
    return column.nullable or (unknown is not None and math.isnan(unknown))


def _foreign(
    x_heldout: Matrix, bases: Matrix, columns: Sequence[Column], random: np.random.Generator
) -> list[Probe]:
    """Return rows that no host can send, on which a graph is compared where the estimator can."""
    missing = [[] if may_be_missing(column) else [np.nan] for column in columns]
    codes = [[c.n_codes, c.n_codes + 5.0] if c.kind == "category" else [] for c in columns]
    wild = _random(x_heldout, columns, random)
    wild[random.random(wild.shape) < _MISSING_SHARE] = np.nan
    for position, column in enumerate(columns):
        if column.kind == "category":
            rows = random.random(len(wild)) < _MISSING_SHARE
            wild[rows, position] = column.n_codes + random.integers(0, 2, rows.sum())
    found = [
        _vary("foreign_missing", bases, missing),
        given("foreign_all_missing", np.full((1, len(columns)), np.nan)),
        _vary("foreign_codes", bases, codes),
        given("foreign_random", wild),
    ]
    return [dataclasses.replace(probe, is_foreign=True) for probe in found]


def given(name: str, x: Matrix) -> Probe:
    """Return a probe of the rows *x* as they are."""
    n = len(x)
    return Probe(name, x, np.arange(n), np.empty((n, 0), np.intp), np.empty((n, 0)))


def spread(x: Matrix, n: int) -> Matrix:
    """Return *n* evenly spaced rows of *x*, all of them if there are no more."""
    if len(x) <= n:
        return x
    some: Matrix = x[np.unique(np.linspace(0, len(x) - 1, n).round().astype(int))]
    return some


def _vary(name: str, bases: Matrix, values: Sequence[Iterable[float]]) -> Probe:
    """Return every base once a column and value, with that value in that column."""
    pairs = [(position, v) for position, column in enumerate(values) for v in column]
    n = len(bases)
    return Probe(
        name,
        bases,
        np.tile(np.arange(n), len(pairs)),
        np.repeat(np.array([position for position, _ in pairs], np.intp), n)[:, np.newaxis],
        np.repeat(np.array([value for _, value in pairs], np.float64), n)[:, np.newaxis],
    )


def _splits(
    x_heldout: Matrix, thresholds: Sequence[Sequence[float]], random: np.random.Generator
) -> list[Probe]:
    """Return both sides of a sample of thresholds on several rows, and of all on one row each."""
    unique = [np.unique(np.asarray(column, dtype=np.float64)) for column in thresholds]
    sample = [_around(spread(column, N_SAMPLED)) for column in unique]
    bases = spread(x_heldout, _N_SPREAD)
    return [
        _vary("splits", spread(x_heldout, N_BASES), sample),
        _all_splits(bases, [_around(column) for column in unique], random),
    ]


def _all_splits(bases: Matrix, values: Sequence[Matrix], random: np.random.Generator) -> Probe:
    """Return each value once; where there are very many, a row takes one of every column."""
    sizes = [len(column) for column in values]
    if sum(sizes) <= N_APART:
        # The three values around a threshold share a row: the score changes between two of them.
        turn = np.concatenate([np.arange(size) // 3 for size in sizes]).astype(np.intp)
        position = np.repeat(np.arange(len(sizes)), sizes)[:, np.newaxis]
        value = np.concatenate(values)[:, np.newaxis]
    else:
        n = max(sizes)
        turn = np.arange(n)
        position, value = np.full((n, len(sizes)), -1), np.zeros((n, len(sizes)))
        for column, own in enumerate(values):
            rows = random.permutation(n)[: len(own)]
            position[rows, column], value[rows, column] = column, own
    return Probe("all_splits", bases, turn % len(bases), position, value)


def _around(thresholds: Matrix) -> Matrix:
    """Return the double below each threshold, the threshold, the double above."""
    below, above = np.nextafter(thresholds, -np.inf), np.nextafter(thresholds, np.inf)
    return np.column_stack([below, thresholds, above]).ravel()


def _bounds(column: Column) -> list[float]:
    """Return the ends of the declared range; next to them where they are excluded."""
    ends = []
    if column.minimum is not None:
        ends.append(_inside(column.minimum, np.inf, excluded=column.exclusive_minimum))
    if column.maximum is not None:
        ends.append(_inside(column.maximum, -np.inf, excluded=column.exclusive_maximum))
    return ends


def _inside(end: float, towards: float, *, excluded: bool) -> float:
    return float(np.nextafter(end, towards)) if excluded else end


def _codes(column: Column) -> list[float]:
    """Return every value a category or boolean can have."""
    if column.kind == "boolean":
        return [0.0, 1.0]
    if column.kind != "category":
        return []
    return [*map(float, range(column.n_codes))]


def _ids(column: Column) -> list[float]:
    if column.kind in ("category", "boolean"):
        return []
    return [value for value in IDS if column.allows(value)]


def _times(column: Column) -> list[float]:
    if column.kind != "timestamp":
        return []
    return [value for value in TIMES if column.allows(value)]


def _extremes(column: Column) -> list[float]:
    """Return zeros with a sign, subnormal and very large numbers, where the range allows them."""
    if column.kind != "number":
        return []
    return [value for value in EXTREMES if column.allows(value)]


def _random(x_heldout: Matrix, columns: Sequence[Column], random: np.random.Generator) -> Matrix:
    """Draw each column on its own, from its observed range, a tenth missing where it may be."""
    x = np.empty((N_RANDOM, len(columns)))
    for position, column in enumerate(columns):
        seen = x_heldout[~np.isnan(x_heldout[:, position]), position]
        low, high = (seen.min(), seen.max()) if len(seen) else (0.0, 1.0)
        if column.kind == "category":
            x[:, position] = random.integers(0, max(1, column.n_codes), N_RANDOM)
        else:
            along = random.random(N_RANDOM)
            # high - low may be beyond any double; a rounded sum may be just outside of the two.
            drawn = np.clip(low * (1.0 - along) + high * along, low, high)
            x[:, position] = drawn if column.kind == "number" else drawn.round()
        if may_be_missing(column):
            share = _MISSING_SHARE if column.n_codes or column.kind != "category" else 1.0
            x[random.random(N_RANDOM) < share, position] = np.nan
    return x


def _recombined(x_heldout: Matrix, random: np.random.Generator) -> Matrix:
    """Take each cell from a held-out row of its own."""
    rows = random.integers(0, len(x_heldout), (N_RECOMBINED, x_heldout.shape[1]))
    return np.take_along_axis(x_heldout, rows, axis=0)
