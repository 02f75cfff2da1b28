"""What a challenger must show, and what came of it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from mlembed.errors import SettingsError

if TYPE_CHECKING:
    from mlembed.monitoring.performance import Comparison

CHALLENGER = "challenger"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a challenger must show to replace the champion.

    Attributes:
        margin: Loss of the metric that is tolerated; 0 asks for a proven gain.
        min_rows: Fewest held-out rows to compare on.
        share: Share of the logged rows, the newest, that is held out.
        resamples: Bootstrap resamples of the comparison.
    """

    margin: float = 0.0
    min_rows: int = 300
    share: float = 0.3
    resamples: int = 1000

    def __post_init__(self) -> None:
        if not (0 < self.share < 1 and self.margin >= 0 and self.min_rows >= 1):
            raise SettingsError("gate: share lies within (0, 1), margin and min_rows are positive")

    def passes(self, comparison: Comparison | None) -> bool:
        """Tell whether the gain is more than `-margin` with 97.5 % confidence."""
        low = None if comparison is None else comparison.low
        return low is not None and low > -self.margin


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a retraining.

    Attributes:
        promoted: Whether the challenger serves now.
        reason: Why, in one sentence.
        champion: The champion it faced, as `name@version`.
        challenger: The challenger, as `name@version`; empty where none was made.
        metric: Name of the metric compared.
        comparison: The comparison on rows neither has seen, or None.
        n_train: Logged rows the challenger was trained on.
        n_test: Held-out rows.
        published: Whether the challenger is in the registry.
    """

    promoted: bool
    reason: str
    champion: str
    metric: str
    challenger: str = ""
    comparison: Comparison | None = None
    n_train: int = 0
    n_test: int = 0
    published: bool = False

    def to_json(self) -> dict[str, Any]:
        """Describe the verdict in plain JSON types."""
        return dataclasses.asdict(self)

    def summary(self) -> str:
        """Return the verdict in a few sentences."""
        lines = [f"{'promoted' if self.promoted else 'not promoted'}: {self.reason}"]
        found = self.comparison
        if found is not None and found.low is not None:
            lines.append(
                f"{self.metric} on {found.n:,} rows neither has seen: champion {self.champion} "
                f"{found.champion:.4f}, challenger {self.challenger} {found.challenger:.4f}; "
                f"gain {found.difference:+.4f}, 95 % interval {found.low:+.4f} to {found.high:+.4f}"
            )
        if self.published and not self.promoted:
            lines.append(f"{self.challenger} is published as '{CHALLENGER}', for a closer look")
        return "\n".join(lines)
