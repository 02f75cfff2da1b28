"""From where on a change is worth a person's time.

Every alert asks for two things: an effect that matters (the limits below) and odds that chance did
it of less than `q`, corrected for how many columns were looked at. Either alone floods.
"""

from __future__ import annotations

import dataclasses

from mlembed.errors import SettingsError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The limits of a report.

    Attributes:
        min_rows: Predictions below which drift is not judged; fewer rows show PSI by chance.
        min_outcomes: Joined outcomes below which the realised metric is not judged.
        min_calls: Calls below which the share of failed ones is not judged.
        psi: Population stability index, above what chance gives, that is an alert.
        missing: Rise of the share of missing values, absolute, that is an alert.
        q: Greatest false-discovery rate of an alert (Benjamini-Hochberg over all tests).
        failed: Share of calls answered by the fallback or an error that is an alert.
        metric_drop: Fall of a metric of which more is better, absolute, that is an alert.
        loss_rise: Rise of a metric of which less is better, relative, that is an alert.
        resamples: Bootstrap resamples behind an interval.
        seed: Seed of the bootstrap, so that a report can be made again.
    """

    min_rows: int = 300
    min_outcomes: int = 100
    min_calls: int = 30
    psi: float = 0.2
    missing: float = 0.1
    q: float = 0.05
    failed: float = 0.05
    metric_drop: float = 0.05
    loss_rise: float = 0.1
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        counts = ("min_rows", "min_outcomes", "min_calls", "resamples")
        limits = ("psi", "missing", "q", "failed", "metric_drop", "loss_rise")
        bad = [f"{name} must be 1 or more" for name in counts if getattr(self, name) < 1]
        bad += [f"{name} must be more than 0" for name in limits if not getattr(self, name) > 0]
        if bad:
            raise SettingsError(f"monitoring policy: {'; '.join(bad)}")
