"""Judge one version of a model from its log.

    log -> rows of the bundle's digest -> traffic, drift, realised metric -> alerts -> state

The window is what that very bundle answered, so a report never mixes versions; what is too little
to judge is said to be, and is not an alert.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.errors import MonitoringError
from mlembed.monitoring import wording
from mlembed.monitoring.counting import read_reference
from mlembed.monitoring.drift import Drift, drifts
from mlembed.monitoring.metrics import DEFAULT_METRIC, METRICS
from mlembed.monitoring.multiclass import CLASS_METRICS, DEFAULT_CLASS_METRIC
from mlembed.monitoring.outcomes import join
from mlembed.monitoring.performance import Performance, realised
from mlembed.monitoring.policy import Policy
from mlembed.monitoring.shares import wilson
from mlembed.monitoring.traffic import Traffic, calls_of, traffic
from mlembed.telemetry.classes import label_column

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle
    from mlembed.monitoring.counting import Reference
    from mlembed.monitoring.log import PredictionLog
    from mlembed.monitoring.performance import State

__all__ = ["Alert", "Policy", "Report", "monitor"]


@dataclasses.dataclass(frozen=True, slots=True)
class Alert:
    """One thing that a person should look at.

    Attributes:
        subject: A column's name, `(score)`, the metric's name, or `calls`.
        text: What was found.
        remedy: What to do about it.
    """

    subject: str
    text: str
    remedy: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What the log says about one version.

    Attributes:
        model: Name of the model.
        version: The version that was judged.
        digest: Its bundle's id.
        created: Time of the report, ISO 8601 in UTC.
        n_rows: Rows this version answered.
        n_reference: Rows of the reference.
        traffic: How it was called.
        drifts: The score first, then each profiled column.
        performance: The realised metric.
        matched: Predictions of this version with an outcome.
        unmatched: Outcomes about predictions that are not in the log.
        superseded: Outcomes that a later report replaced.
        torn: Last lines of log files that were not written to their end.
        unreadable: Lines or events of the log that could not be read.
        alerts: What a person should look at.
        policy: The limits that were applied.
    """

    model: str
    version: str
    digest: str
    created: str
    n_rows: int
    n_reference: int
    traffic: Traffic
    drifts: tuple[Drift, ...]
    performance: Performance
    matched: int
    unmatched: int
    superseded: int
    torn: int
    unreadable: int
    alerts: tuple[Alert, ...]
    policy: Policy

    @property
    def state(self) -> State:
        """Alert if there is one; insufficient where there are too few rows to tell; else ok."""
        if self.alerts:
            return "alert"
        return "ok" if self.n_rows >= self.policy.min_rows else "insufficient"

    @property
    def exit_code(self) -> int:
        """Status for the shell: 1 for an alert, 0 for ok and for too few rows."""
        return 1 if self.state == "alert" else 0

    @property
    def title(self) -> str:
        """The bundle as people name it."""
        return f"{self.model}@{self.version}"

    def to_json(self) -> dict[str, Any]:
        """Describe the report in plain JSON types."""
        plain = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("drifts", "traffic", "performance", "alerts", "policy")
        }
        return {
            "state": self.state,
            **plain,
            "summary": self.summary(),
            "alerts": [dataclasses.asdict(alert) for alert in self.alerts],
            "traffic": {
                **self.traffic.to_json(),
                "buckets": [dataclasses.asdict(bucket) for bucket in self.traffic.buckets],
            },
            "drifts": [drift.to_json() for drift in self.drifts],
            "performance": self.performance.to_json(),
            "policy": dataclasses.asdict(self.policy),
        }

    def rows(self) -> list[tuple[str, ...]]:
        """Return a table: its head, then a line a column, alerts and large effects first."""
        return [wording.HEAD, *(wording.row(drift) for drift in wording.ranked(self.drifts))]

    def summary(self) -> list[str]:
        """Say in sentences what was found and what to do."""
        return wording.summary(self)


def monitor(bundle: Bundle, log: PredictionLog, *, policy: Policy = Policy()) -> Report:  # noqa: B008  frozen
    """Judge *bundle* by what it did in *log*.

    Args:
        bundle: The version to judge, with its reference.
        log: The log of its model; rows of other versions are left out.
        policy: Limits.

    Raises:
        MonitoringError: If the log is of another model or the bundle's metric is unknown.
        BundleError: If the bundle has no readable reference.
    """
    manifest = bundle.manifest
    if log.model != manifest.name:
        raise MonitoringError(
            f"the log of '{log.model}' cannot judge {manifest.title}; read the log of "
            f"'{manifest.name}'"
        )
    reference = read_reference(bundle)
    own = log.select(
        (log.digest == bundle.id) & np.isfinite(log.score) & (log.reason != "fallback")
    )
    calls = traffic(log, bundle)
    joined = join(log).only(calls_of(log, bundle))
    beside = [label_column(manifest.task.classes)] if manifest.task.classes else []
    found = drifts(reference, (*manifest.columns, *beside), own, policy)
    metric, promised, remark = _promise(bundle, reference)
    performance = realised(
        log, joined, manifest.task, metric, promised, policy, n_reference=reference.n
    )
    if remark:
        performance = dataclasses.replace(performance, note=f"{performance.note}; {remark}")
    return Report(
        model=manifest.name,
        version=manifest.version,
        digest=bundle.id,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        n_rows=len(own),
        n_reference=reference.n,
        traffic=calls,
        drifts=found,
        performance=performance,
        matched=joined.matched,
        unmatched=joined.unmatched,
        superseded=joined.superseded,
        torn=log.torn,
        unreadable=log.unreadable,
        alerts=_alerts(manifest.name, calls, found, performance, policy),
        policy=policy,
    )


def _promise(bundle: Bundle, reference: Reference) -> tuple[str, float | None, str]:
    """Return the metric to measure, what the bundle promises of it, and a remark, or empty."""
    task, title = bundle.manifest.task, bundle.manifest.title
    if task.classes:
        known = list(CLASS_METRICS)
        default = DEFAULT_CLASS_METRIC
    else:
        known = [name for name, metric in METRICS.items() if metric.kind == task.kind]
        default = DEFAULT_METRIC[task.kind]
    name = reference.metric or default
    if not (name in CLASS_METRICS if task.classes else _is_of(task.kind, name)):
        raise MonitoringError(
            f"{title}: the metric of its reference is unknown here; expected one of "
            f"{', '.join(known)}. A newer bundle needs a newer mlembed"
        )
    if task.classes and CLASS_METRICS[name].needs_probabilities:
        remark = f"{name} needs the probability of every class, of which the log holds the top one"
        return default, bundle.manifest.metrics.get(default), remark
    return name, reference.promised, ""


def _is_of(kind: str, name: str) -> bool:
    return name in METRICS and METRICS[name].kind == kind


def _alerts(
    model: str,
    calls: Traffic,
    found: tuple[Drift, ...],
    performance: Performance,
    policy: Policy,
) -> tuple[Alert, ...]:
    alerts = []
    low, _ = wilson(calls.failed, calls.calls)
    if calls.calls >= policy.min_calls and low > policy.failed:
        alerts.append(Alert("calls", *wording.failures(calls)))
    if performance.state == "alert":
        alerts.append(Alert(performance.metric, *wording.loss(model, performance)))
    alerts += [
        Alert(drift.name, *wording.shift(model, drift))
        for drift in wording.ranked(found)
        if drift.state == "alert"
    ]
    return tuple(alerts)
