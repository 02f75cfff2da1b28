"""Judge a model that takes tensors by its calls alone.

Its log holds shapes and scores, no columns, and its bundle no reference: there is nothing that drift
could be measured against, and the report says so rather than guess.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.errors import MonitoringError
from mlembed.monitoring import wording
from mlembed.monitoring.outcomes import join
from mlembed.monitoring.shares import wilson
from mlembed.monitoring.traffic import Traffic, calls_of, traffic

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle
    from mlembed.monitoring.log import PredictionLog
    from mlembed.monitoring.performance import State
    from mlembed.monitoring.policy import Policy

_NO_PROFILE = (
    "This model takes tensors, of which the log holds dtype and shape alone: there is no column "
    "profile, so neither drift nor the realised metric is judged."
)
_SHARES = (0.05, 0.5, 0.95)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallsReport:
    """What the log says about one version that takes tensors.

    Attributes:
        title: The bundle, as `name@version`.
        digest: Its bundle's id.
        created: Time of the report, ISO 8601 in UTC.
        traffic: How it was called.
        scores: Its 5th, 50th and 95th percentile; None where it has no score.
        matched: Predictions of this version with an outcome.
        unmatched: Outcomes about predictions that are not in the log.
        unreadable: Lines or events of the log that could not be read.
        policy: The limits that were applied.
    """

    title: str
    digest: str
    created: str
    traffic: Traffic
    scores: tuple[float, ...] | None
    matched: int
    unmatched: int
    unreadable: int
    policy: Policy

    @property
    def state(self) -> State:
        """Alert where too many calls fail; insufficient where there are too few; else ok."""
        calls = self.traffic
        if calls.calls < self.policy.min_calls:
            return "insufficient"
        low, _ = wilson(calls.failed, calls.calls)
        return "alert" if low > self.policy.failed else "ok"

    @property
    def exit_code(self) -> int:
        """Status for the shell: 1 for an alert, 0 otherwise."""
        return 1 if self.state == "alert" else 0

    def to_json(self) -> dict[str, Any]:
        """Describe the report in plain JSON types."""
        return {"state": self.state, **dataclasses.asdict(self), "summary": self.summary()}

    def rows(self) -> list[tuple[str, str]]:
        """Return a table: its head, then a line a figure."""
        calls = self.traffic
        low, middle, high = self.scores or (None, None, None)
        return [
            ("calls", "value"),
            ("asked", f"{calls.calls:,}"),
            ("failed", f"{calls.failed:,}"),
            ("median of a call", wording.latency(calls.latency_median)),
            ("99th percentile", wording.latency(calls.latency_p99)),
            ("score, 5 % below", wording.measured(low)),
            ("score, median", wording.measured(middle)),
            ("score, 5 % above", wording.measured(high)),
        ]

    def summary(self) -> list[str]:
        """Say in sentences what was found and what to do."""
        calls = self.traffic
        few = f"too little to judge, {calls.calls:,} calls of {self.policy.min_calls:,} needed"
        found = {
            "ok": f"nothing stands out in {calls.calls:,} calls",
            "insufficient": few,
            "alert": "; ".join(wording.failures(calls)),
        }
        apart = f"{self.unmatched:,} about predictions not in this log"
        sentences = [
            f"{self.title}: {found[self.state]}.",
            _NO_PROFILE,
            f"Outcomes: {self.matched:,} joined, {apart}.",
        ]
        if self.unreadable:
            sentences.append(f"{self.unreadable:,} lines or events of the log could not be read.")
        return sentences


def judge_calls(bundle: Bundle, log: PredictionLog, *, policy: Policy) -> CallsReport:
    """Judge *bundle*, whose graph takes tensors, by its calls in *log*.

    Raises:
        MonitoringError: If the log is of another model.
    """
    manifest = bundle.manifest
    if log.model != manifest.name:
        raise MonitoringError(
            f"the log of '{log.model}' cannot judge {manifest.title}; read the log of "
            f"'{manifest.name}'"
        )
    joined = join(log).only(calls_of(log, bundle))
    answered = (log.digest == bundle.id) & np.isfinite(log.score) & (log.reason == "ok")
    scores = log.score[answered]
    return CallsReport(
        title=manifest.title,
        digest=bundle.id,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        traffic=traffic(log, bundle),
        scores=tuple(np.quantile(scores, _SHARES).tolist()) if scores.size else None,
        matched=joined.matched,
        unmatched=joined.unmatched,
        unreadable=log.unreadable,
        policy=policy,
    )
