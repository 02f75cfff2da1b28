"""See that what a command has the site keep, and do, is written before the command ends.

The thread that writes has two seconds once its process ends; what a command made may need more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed_django.journal import Journal


class Kept:
    """What the site keeps of the answers, and does about them, while a command runs.

    Args:
        journal: The site's; None where nothing is kept.
    """

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self._before = {} if journal is None else journal.lost
        self._n_left = 0

    def finish(self, hear: Callable[[int], None] | None = None) -> None:
        """Wait until it is written, as long as the database takes any of it; Ctrl-C ends the wait."""
        if self._journal is None:
            return
        try:
            self._n_left = self._journal.finish(hear)
        except KeyboardInterrupt:
            self._n_left = self._journal.waiting

    @property
    def lost(self) -> dict[str, int]:
        """How many rows and actions were lost meanwhile, by reason."""
        after = {} if self._journal is None else self._journal.lost
        lost = {reason: n - self._before.get(reason, 0) for reason, n in after.items()}
        return {reason: n for reason, n in {**lost, "waiting": self._n_left}.items() if n}

    def problems(self) -> list[str]:
        """Say what was lost."""
        if not self.lost:
            return []
        reasons = ", ".join(f"{n} {reason}" for reason, n in self.lost.items())
        return [
            f"{sum(self.lost.values())} predictions, outcomes or actions are lost ({reasons}); the log says why"
        ]
