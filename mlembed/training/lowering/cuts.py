"""Find, to the double, where a monotone function crosses thresholds.

A tree behind a logarithm may split at the very value of a training row, so its graph must not
depend on the last digit of that logarithm: the split is moved to the feature itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Values = NDArray[np.float64]

_LARGEST = np.finfo(np.float64).max
_SMALLEST = 5e-324
_MAGNITUDE = np.int64(0x7FFF_FFFF_FFFF_FFFF)


def cuts(function: Callable[[Values], Values], thresholds: Values) -> Values:
    """Return the doubles up to which a comparison of *function* with a threshold holds.

    Args:
        function: Not decreasing; NaN, where it is not defined, comes before all numbers.
        thresholds: What its values are compared with, by `<=` and `<`, as double and as float32.

    Returns:
        Increasing; between one cut and the next no comparison changes.

    Raises:
        ValueError: If *function* refuses numbers, whatever their sign.
    """
    try:
        return _between(function, thresholds, -_LARGEST)
    except ValueError:  # Box-Cox takes positive numbers only
        return _between(function, thresholds, _SMALLEST)


def _between(function: Callable[[Values], Values], thresholds: Values, lowest: float) -> Values:
    levels = np.unique(thresholds)
    # The last comparison holds for NaN alone, so it finds where the function begins.
    kinds = np.append(np.repeat(np.arange(4), len(levels)), 2)
    wanted = np.append(np.tile(levels, 4), -np.inf)

    def holds(values: Values) -> NDArray[np.bool_]:
        with np.errstate(all="ignore"):
            got = function(values)
            short = got.astype(np.float32).astype(np.float64)
        got = np.where(kinds % 2 == 1, short, got)
        compared = np.where(kinds < 2, got <= wanted, got < wanted)  # noqa: PLR2004  the last two
        return np.asarray(compared | np.isnan(got))

    low, high = np.full(len(wanted), lowest), np.full(len(wanted), _LARGEST)
    crossed = holds(low) & ~holds(high)
    below, above = _keys(low), _keys(high)
    while (above - 1 > below).any():
        middle = (below >> 1) + (above >> 1) + (below & above & 1)
        is_below = holds(_doubles(middle))
        below, above = np.where(is_below, middle, below), np.where(is_below, above, middle)
    return np.unique(_doubles(below[crossed]))


def _keys(values: Values) -> NDArray[np.int64]:
    """Return integers in the order of *values*, one apart for neighbouring doubles."""
    bits = values.view(np.int64)
    return np.where(bits < 0, -(bits & _MAGNITUDE), bits)


def _doubles(keys: NDArray[np.int64]) -> Values:
    sizes = np.abs(keys).view(np.float64)
    return np.where(keys < 0, -sizes, sizes)
