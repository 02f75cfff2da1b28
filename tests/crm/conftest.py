"""What the tests of actions ask for: an outbox on a clock that stands still, and a receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crm.receiver import Clock, receiving
from mlembed_crm import Outbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from crm.receiver import Receiver


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def outbox(tmp_path: Path, clock: Clock) -> Outbox:
    """Return an empty outbox on that clock."""
    return Outbox(tmp_path / "actions.db", clock=clock)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a running receiver."""
    with receiving() as running:
        yield running
