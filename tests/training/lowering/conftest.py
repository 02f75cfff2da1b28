"""Small tables are fitted on one thread: several would wait for each other, not for the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Let every library that counts its own threads use one."""
    with threadpool_limits(1):
        yield
