"""How many threads a run works with: one where sums must come in one order, else as many as have a core.

A product of matrices that is shared among threads is summed in another order for each number of
them: on 16,000 rows of 42 numbers a linear model has other bytes with two threads than with one.
Trees do not: scikit-learn grows the same ones whatever the number of threads. But the threads of a
boosted ensemble meet several times a node, and spin until all are there: where one has to share its
core, the others burn theirs. On two cores, beside one other process that is busy, 30,000 rows of 16
numbers take 2.0 s with two threads and 0.7 with one; with both cores free 0.5 and 0.7.

`OMP_WAIT_POLICY=PASSIVE` lets them sleep instead, which costs small tables more than a second
thread saves. On two cores, one thread / two that sleep: 0.44 / 0.78 s for 30,000 rows of 16 numbers,
1.9 / 1.8 s for 200,000, 3.9 / 2.6 s for a million.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_FEWEST_CELLS = 100_000  # fewer are fitted sooner than it takes to see whether cores are free
_FEWEST_FOR_SLEEPERS = 3_000_000
_LOOK_SECONDS = 0.02
_BLOCK = bytes(1 << 20)
_SPARE = 0.2  # of a core, which even an idle machine keeps to itself


def one_order() -> AbstractContextManager[object]:
    """Keep linear algebra on one thread within this context; restore it after."""
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits


def for_cells(n_cells: int) -> AbstractContextManager[object]:
    """Keep OpenMP within this context on the threads that pay to fit *n_cells*; restore it after.

    It never has more than it had: `OMP_NUM_THREADS` and other limits hold.
    """
    limits: AbstractContextManager[object] = threadpool_limits(
        limits=_paying(n_cells), user_api="openmp"
    )
    return limits


def _paying(n_cells: int) -> int:
    most = max((pool["num_threads"] for pool in _pools()), default=1)
    if os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE":
        return most if n_cells >= _FEWEST_FOR_SLEEPERS else 1
    return min(most, free_cores(most)) if most > 1 and n_cells >= _FEWEST_CELLS else 1


def _pools() -> list[dict[str, int]]:
    return [pool for pool in threadpool_info() if pool["user_api"] == "openmp"]


def free_cores(most: int) -> int:
    """Return how many threads, of at most *most*, now have a core to themselves; at least 1.

    So many are kept busy for 20 ms, outside the interpreter's lock, and their time on a core is
    compared with the clock.
    """

    def work() -> None:
        end = time.perf_counter() + _LOOK_SECONDS
        while time.perf_counter() < end:
            hashlib.sha256(_BLOCK)

    others = [threading.Thread(target=work, daemon=True) for _ in range(most - 1)]
    clock, cores = time.perf_counter(), time.process_time()
    for thread in others:
        thread.start()
    work()
    for thread in others:
        thread.join()
    worked = (time.process_time() - cores) / (time.perf_counter() - clock)
    return max(1, min(most, int(worked + _SPARE)))
