"""The library's own threads, for slow models and first loads called from coroutines.

They are few, start with the first need, and are the parent's alone: a forked child starts its own.
"""

from __future__ import annotations

import contextvars
import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

MAX_WORKERS = 4

T = TypeVar("T")

_pool: ThreadPoolExecutor | None = None


async def in_pool(function: Callable[[], T]) -> T:
    """Run *function* on a thread of the pool, in the caller's context variables."""
    # Whoever awaits has loaded it; others start without.
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    global _pool  # noqa: PLW0603  one pool a process, made at the first need
    if _pool is None:
        workers = min(MAX_WORKERS, os.cpu_count() or 1)
        _pool = ThreadPoolExecutor(workers, thread_name_prefix="mlembed-predict")
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_pool, context.run, function)


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
