"""Tell whoever waits how far a run is; the caller decides how it looks."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Progress(Protocol):
    """Hears of every step of a long run, in order."""

    def begin(self, step: str, number: int, total: int) -> None:
        """Hear that step *number* of *total*, from 1, begins."""

    def advance(self, done: int, total: int, detail: str) -> None:
        """Hear that *done* of *total* parts of the step are done, and what is known so far."""

    def end(self, detail: str) -> None:
        """Hear that the step is over, and what came of it; "stopped" where an error ended it."""


class Silent:
    """Says nothing."""

    def begin(self, step: str, number: int, total: int) -> None:
        """Ignore the beginning."""

    def advance(self, done: int, total: int, detail: str) -> None:
        """Ignore what is done."""

    def end(self, detail: str) -> None:
        """Ignore the end."""


class Steps:
    """Numbers the steps of one run for a `Progress`.

    Args:
        progress: Who hears of them.
        total: How many there will be.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._number = 0

    @classmethod
    def of(cls, progress: Progress | Steps | None, total: int) -> Steps:
        """Return *progress* if it numbers steps already, else one that does."""
        return progress if isinstance(progress, Steps) else cls(progress or Silent(), total)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Run one step; what the block appends to the list is told at its end."""
        self._number += 1
        self._progress.begin(name, self._number, self._total)
        details: list[str] = []
        try:
            yield details
        except BaseException:
            self._progress.end("stopped")
            raise
        self._progress.end(", ".join(details))

    def advance(self, done: int, total: int, detail: str) -> None:
        """Tell that *done* of *total* parts of the present step are done."""
        self._progress.advance(done, total, detail)
