"""The library's own threads: for slow models called from coroutines, and for large tables.

They are few, start with the first need, and are the parent's alone: a forked child starts its own.
"""

from __future__ import annotations

import collections
import contextvars
import os
from typing import TYPE_CHECKING, TypeVar

from mlembed import forking

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

MAX_WORKERS = 4
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

T = TypeVar("T")
R = TypeVar("R")

_pool: ThreadPoolExecutor | None = None


async def in_pool(function: Callable[[], T]) -> T:
    """Run *function* on a thread of the pool, in the caller's context variables."""
    import asyncio  # whoever awaits has loaded it; others start without

    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_threads(), context.run, function)


def shared(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Return what *function* makes of each of *items*, in their order.

    The caller works on them one after the other, and a thread of the pool takes some off it where
    one is free. Nothing waits for a thread: where its core has more to do, the caller does more.

    Args:
        function: Called once for each item, on either thread, until one call raises.
        items: What there is to do.
    """
    results: dict[int, R] = {}
    waiting = collections.deque(enumerate(items))

    def work() -> None:
        while True:
            try:
                place, item = waiting.popleft()
            except IndexError:  # the other may have taken the last
                return
            try:
                results[place] = function(item)
            except BaseException:
                waiting.clear()
                raise

    helper = _begin(work) if len(items) > 1 else None
    try:
        work()
    finally:
        waiting.clear()
        if helper is not None and not helper.cancel():
            helper.exception()  # over, whatever it says: nothing writes behind the caller's back
    if helper is not None and not helper.cancelled():
        helper.result()
    return [results[place] for place in range(len(items))]


def _begin(work: Callable[[], object]) -> Future[object] | None:
    try:
        return _threads().submit(work) if _CORES > 1 else None
    except RuntimeError:  # no thread is to be had, or the interpreter ends
        return None


def _threads() -> ThreadPoolExecutor:
    global _pool  # noqa: PLW0603  one pool a process, made at the first need
    if _pool is None:
        from concurrent.futures import ThreadPoolExecutor

        workers = min(MAX_WORKERS, _CORES)
        _pool = ThreadPoolExecutor(workers, thread_name_prefix="mlembed-predict")
    return _pool


def close() -> None:
    """End the threads once what they do is done; the next call starts others."""
    global _pool  # noqa: PLW0603  idem
    if _pool is not None:
        _pool.shutdown()
        _pool = None


def _after_fork() -> None:
    global _pool  # noqa: PLW0603  its threads are the parent's
    _pool = None


forking.in_child(_after_fork)
