"""Add in one order, so that the number of cores does not decide the last bit of a model.

A product of matrices that is shared among threads is summed in another order for each number of
them: on 16,000 rows of 42 numbers a linear model has other bytes with two threads than with one.
Trees do not: scikit-learn grows the same ones whatever the number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def one_order() -> AbstractContextManager[object]:
    """Keep linear algebra on one thread within this context; restore it after."""
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits
