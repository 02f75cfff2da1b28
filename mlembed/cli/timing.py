"""Time several ways of doing the same, side by side in one process.

Kinds take turns in short blocks, so whatever else the machine does meanwhile falls on all of them
alike: their ratios hold where the times themselves do not.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Kinds = Mapping[str, Callable[[], object]]

_BLOCK = 100
_WARM_UP = 500
_US = 1e6
_IDLE_SECONDS = 0.05


@contextlib.contextmanager
def _frozen() -> Iterator[None]:
    """Keep what the program holds so far out of the collections that a measurement triggers."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def single(kinds: Kinds, calls: int) -> dict[str, list[float]]:
    """Return the time of each call of each kind, in microseconds, sorted.

    Args:
        kinds: What is timed, by name.
        calls: Calls of each.
    """
    for call in kinds.values():
        for _ in range(_WARM_UP):
            call()
    clock = time.perf_counter_ns
    times: dict[str, list[int]] = {name: [] for name in kinds}
    with _frozen():
        for _ in range(0, calls, _BLOCK):
            for name, call in kinds.items():
                note = times[name].append
                for _ in range(_BLOCK):
                    start = clock()
                    call()
                    note(clock() - start)
    return {name: sorted(taken / 1000 for taken in values) for name, values in times.items()}


def cpu(
    kinds: Kinds, calls: int, rounds: int = 7, *, settle: Callable[[], object] | None = None
) -> dict[str, float]:
    """Return the CPU time of the whole process for a call of each kind, in microseconds.

    Args:
        kinds: What is timed, by name.
        calls: Calls of each in a round.
        rounds: Rounds, of which the median counts.
        settle: Waits for what a call leaves to other threads; its time counts too.
    """
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    with _frozen():
        for _ in range(rounds):
            for name, call in kinds.items():
                start = time.process_time()
                for _ in range(calls):
                    call()
                if settle is not None:
                    settle()
                taken[name].append((time.process_time() - start) / calls * _US)
    return {name: statistics.median(values) for name, values in taken.items()}


def threaded(
    kinds: Kinds,
    calls: int,
    threads: int,
    rounds: int = 15,
    *,
    settle: Callable[[], object] | None = None,
) -> dict[str, float]:
    """Return the time a call of each kind takes where *threads* call at once, in microseconds.

    It is the time of the whole round over the number of calls in all its threads.

    Args:
        kinds: What is timed, by name.
        calls: Calls of each thread in a round.
        threads: How many there are.
        rounds: Rounds, of which the median counts.
        settle: Waits for what a round leaves to other threads, so that it slows no other kind.
    """
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    with _frozen():
        for _ in range(rounds):
            for name, call in kinds.items():
                taken[name].append(_round(call, calls, threads))
                if settle is not None:
                    settle()
    return {name: statistics.median(values) for name, values in taken.items()}


def _round(call: Callable[[], object], calls: int, threads: int) -> float:
    together = threading.Barrier(threads + 1)

    def work() -> None:
        call()
        together.wait()
        for _ in range(calls):
            call()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    together.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    return (time.perf_counter() - start) / (calls * threads) * _US


def whole(
    kinds: Kinds, rounds: int, *, settle: Callable[[], object] | None = None
) -> dict[str, float]:
    """Return the median time of one long call of each kind, in seconds; the first round is free.

    Args:
        kinds: What is timed, by name.
        rounds: Calls of each.
        settle: Waits for what a call leaves to other threads, so that it slows no other kind.
    """
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds + 1):
        for name, call in kinds.items():
            start = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - start)
            if settle is not None:
                settle()
                idle()
    return {name: statistics.median(values[1:]) for name, values in taken.items()}


def idle(seconds: float = 30.0) -> None:
    """Wait until the process's other threads do nothing, at most *seconds*."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        start = time.process_time()
        time.sleep(_IDLE_SECONDS)
        if time.process_time() - start < _IDLE_SECONDS / 10:
            return


def quantile(times: list[float], share: float) -> float:
    """Return the time that *share* of the sorted *times* do not exceed."""
    return times[min(len(times) - 1, int(share * len(times)))]
