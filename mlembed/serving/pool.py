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

    The next one is prepared meanwhile, on a thread of the pool. Where that is late, as its core has
    more to do, or where none is free, the caller prepares by itself: it never waits for others.

    Args:
        prepare: May be called twice for an item, at the same time, and does the same both times.
        items: What is prepared, in order.
    """
    following: Future[object] | None = None
    late: Future[object] | None = None
    try:
        for place, item in enumerate(items):
            if following is not None and following.done():
                following.result()
            else:
                if following is not None and not following.cancel():
                    late = following  # no more for this helper
                prepare(item)
            is_last = place + 1 == len(items)
            following = None if late or is_last else _begin(prepare, items[place + 1])
            yield item
    finally:
        for begun in (late, following):
            if begun is not None and not begun.cancel():
                begun.exception()


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
