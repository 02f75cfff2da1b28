"""The rows on which a proof compares graph and estimator.

Rows are chosen by rule and seed alone, so a proof can be repeated to the bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column

    Matrix = NDArray[np.float64]

N_BASES = 4
N_RANDOM = 2_000
MAX_SPLITS = 256
_MISSING_SHARE = 0.1
# Ids that lose digits as a float (2**24), as an int32 (2**31) or as a double (2**53).
IDS = (2.0**24 + 1, 2.0**31, 2.0**31 + 1, 2.0**53)


def probes(
    x_heldout: Matrix,
    columns: Sequence[Column],
    splits: Mapping[str, Sequence[float]],
    *,
    seed: int,
) -> dict[str, Matrix]:
    """Return the rows to compare, by what they probe; each matrix is `(n_rows, n_columns)`.

    Args:
        x_heldout: Rows the fit never saw; at least one.
        columns: The columns of the row, in order.
        splits: Thresholds by feature; only those of raw columns are used, at most 256 a column.
        seed: Seed of the random rows.
    """
    picks = np.linspace(0, len(x_heldout) - 1, N_BASES).round().astype(int)
    bases = x_heldout[np.unique(picks)]
    values: dict[str, Callable[[Column], Iterable[float]]] = {
        "missing": lambda _: [np.nan],
        "bounds": _bounds,
        "splits": lambda column: _both_sides(splits.get(column.name, ())),
        "codes": _codes,
        "ids": _ids,
    }
    groups = {
        name: _vary(bases, [values_of(column) for column in columns])
        for name, values_of in values.items()
    }
    groups["missing"] = np.vstack([groups["missing"], np.full((1, len(columns)), np.nan)])
    groups["random"] = _random(x_heldout, columns, np.random.default_rng(seed))
    return {"heldout": x_heldout} | {name: x for name, x in groups.items() if len(x)}


def _vary(bases: Matrix, values: Sequence[Iterable[float]]) -> Matrix:
    """Return every base once a column and value, with that value in that column."""
    blocks = [np.empty((0, bases.shape[1]))]
    for position, column_values in enumerate(values):
        for value in column_values:
            block = bases.copy()
            block[:, position] = value
            blocks.append(block)
    return np.vstack(blocks)


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


def _both_sides(thresholds: Sequence[float]) -> Matrix:
    unique = np.unique(np.asarray(thresholds, dtype=np.float64))
    if len(unique) > MAX_SPLITS:
        unique = unique[np.linspace(0, len(unique) - 1, MAX_SPLITS).round().astype(int)]
    return np.concatenate([np.nextafter(unique, -np.inf), unique, np.nextafter(unique, np.inf)])


def _codes(column: Column) -> list[float]:
    """Return every value a category or boolean can have, and codes no vocabulary holds."""
    if column.kind == "boolean":
        return [0.0, 1.0]
    if column.kind != "category":
        return []
    return [*map(float, range(column.n_codes + 1)), column.n_codes + 5.0]


def _ids(column: Column) -> list[float]:
    if column.kind in ("category", "boolean"):
        return []
    return [value for value in IDS if column.allows(value)]


def _random(x_heldout: Matrix, columns: Sequence[Column], random: np.random.Generator) -> Matrix:
    """Draw each column on its own, from its observed range, a tenth of it missing."""
    x = np.empty((N_RANDOM, len(columns)))
    for position, column in enumerate(columns):
        seen = x_heldout[~np.isnan(x_heldout[:, position]), position]
        low, high = (seen.min(), seen.max()) if len(seen) else (0.0, 1.0)
        if column.kind == "category":
            x[:, position] = random.integers(0, column.n_codes + 2, N_RANDOM)
        elif column.kind == "number":
            x[:, position] = random.uniform(low, high, N_RANDOM)
        else:
            x[:, position] = random.uniform(low, high, N_RANDOM).round()
    x[random.random(x.shape) < _MISSING_SHARE] = np.nan
    return x
