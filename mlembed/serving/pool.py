"""The library's own threads: for slow models called from coroutines, and for large tables.

They are few, start with the first need, and are the parent's alone: a forked child starts its own.
"""

from __future__ import annotations

import contextvars
import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

MAX_WORKERS = 4
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

T = TypeVar("T")

_pool: ThreadPoolExecutor | None = None


async def in_pool(function: Callable[[], T]) -> T:
    """Run *function* on a thread of the pool, in the caller's context variables."""
    import asyncio  # whoever awaits has loaded it; others start without

    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_threads(), context.run, function)


def ahead(prepare: Callable[[T], object], items: Sequence[T]) -> Iterator[T]:
    """Yield each of *items* once *prepare* has returned from it.

    The next one is prepared meanwhile, on a thread of the pool if one is free, else by the caller
    itself, who so never waits for what others do there.
    """
    following: Future[object] | None = None
    try:
        for place, item in enumerate(items):
            if following is None or following.cancel():
                prepare(item)
            else:
                following.result()
            following = _begin(prepare, items[place + 1]) if place + 1 < len(items) else None
            yield item
    finally:
        if following is not None and not following.cancel():
            following.exception()


def _begin(prepare: Callable[[T], object], item: T) -> Future[object] | None:
    try:
        return _threads().submit(prepare, item) if _CORES > 1 else None
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


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
