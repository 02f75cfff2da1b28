"""How many threads a run works with: one where sums must come in one order, one where few rows are.

A product of matrices that is shared among threads is summed in another order for each number of
them: on 16,000 rows of 42 numbers a linear model has other bytes with two threads than with one.
Trees do not: scikit-learn grows the same ones whatever the number of threads. But the threads of a
boosted ensemble meet several times a node, and where a table is small they meet for longer than
they work. On two cores, one thread / two that sleep while they wait: 0.44 / 0.78 s for 30,000 rows
of 16 numbers, 1.9 / 1.8 s for 200,000, 3.9 / 2.6 s for a million.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_FEWEST_CELLS = 3_000_000


def one_order() -> AbstractContextManager[object]:
    """Keep linear algebra on one thread within this context; restore it after."""
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits


def for_cells(n_cells: int) -> AbstractContextManager[object]:
    """Keep OpenMP on one thread within this context where fewer cells than pay for more are fitted."""
    if n_cells >= _FEWEST_CELLS:
        return contextlib.nullcontext()
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="openmp")
    return limits
