"""Say what was found in words that name the thing, its size and what to do.

Numbers in a sentence are rounded for people; the exact ones are in the report's JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlembed.monitoring.drift import SCORE
from mlembed.telemetry.source import LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlembed.monitoring.drift import Drift
    from mlembed.monitoring.monitor import Report
    from mlembed.monitoring.performance import Performance
    from mlembed.monitoring.traffic import Traffic

NONE = "-"
HEAD = ("column", "state", "PSI", "JS", "p", "q", "missing", "note")

_ORDER = {"alert": 0, "ok": 1, "insufficient": 2}
_NAMED = 3
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def ranked(found: Iterable[Drift]) -> list[Drift]:
    """Sort by state, alerts first, then by effect, the largest first."""
    return sorted(found, key=lambda drift: (_ORDER[drift.state], -drift.effect))


def row(drift: Drift) -> tuple[str, ...]:
    """Return one line of the report's table."""
    return (
        drift.name,
        drift.state,
        number(drift.psi),
        number(drift.js),
        probability(drift.p),
        probability(drift.q),
        f"{drift.missing:.1%}",
        drift.note,
    )


def number(value: float | None, digits: int = 3) -> str:
    """Write a number, or a dash where there is none."""
    return NONE if value is None else f"{value:.{digits}f}"


def probability(value: float | None) -> str:
    """Write a p- or q-value."""
    if value is None:
        return NONE
    return "<0.001" if value < 0.001 else f"{value:.3f}"  # noqa: PLR2004  as shown


def measured(value: float | None) -> str:
    """Write a metric with four significant digits, or a dash."""
    return NONE if value is None else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Write a span of time in its largest fitting unit."""
    size, unit = next(((s, u) for s, u in _UNITS if abs(seconds) >= s), _UNITS[-1])
    return f"{seconds / size:.3g} {unit}{'' if seconds == size else 's'}"


def latency(seconds: float | None) -> str:
    """Write the time of one call, or a dash."""
    if seconds is None:
        return NONE
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"  # noqa: PLR2004  a millisecond


def failures(calls: Traffic) -> tuple[str, str]:
    """Say how many calls failed, and what to do."""
    text = (
        f"{calls.failed_share:.1%} of {calls.calls:,} calls were answered by the fallback or an "
        f"error, most often {_most(calls.errors)}"
    )
    remedy = (
        "look at these errors in the host's log: a SchemaError is a record that does not fit, a "
        "RegistryError a model that cannot be loaded"
    )
    return text, remedy


def loss(model: str, performance: Performance) -> tuple[str, str]:
    """Say how much worse the model became, and what to do."""
    text = (
        f"the realised {performance.metric} is {measured(performance.value)} "
        f"({measured(performance.low)} to {measured(performance.high)}) on {performance.n:,} "
        f"outcomes; {measured(performance.promised)} was promised"
    )
    return text, f"train a challenger on recent outcomes: mlembed retrain {model}"


def shift(model: str, drift: Drift) -> tuple[str, str]:
    """Say what moved and by how much, and what to do."""
    sizes = f"PSI {number(drift.psi)}, JS {number(drift.js)}; " if drift.psi is not None else ""
    real = f"If the change is real, train on it: mlembed retrain {model}"
    if drift.name == SCORE:
        return (
            f"the scores moved: {sizes}{drift.note}",
            f"look at the columns that moved too, and at how many now cross a threshold. {real}",
        )
    if drift.name == LABEL:
        return (
            f"the shares of the classes moved: {sizes}{drift.note}",
            f"look at the columns that moved too, and at the class that gained. {real}",
        )
    return (
        f"column '{drift.name}' moved: {sizes}{drift.note}",
        f"check what fills '{drift.name}' (unit, source, a new default). {real}",
    )


def summary(report: Report) -> list[str]:
    """Return the sentences of *report*."""
    verdict, *others = remarks(report)
    alerts = [f"{_capital(alert.text)}. To do: {alert.remedy}." for alert in report.alerts]
    return [verdict, *alerts, *others]


def remarks(report: Report) -> list[str]:
    """Return the sentences of *report* without those of its alerts."""
    return [
        _verdict(report),
        *_columns(report),
        _performance(report.performance),
        _outcomes(report),
        *_unreadable(report),
    ]


def _verdict(report: Report) -> str:
    seen = f"{report.n_rows:,} predictions"
    if report.state == "insufficient":
        others = {k or "none": v for k, v in report.traffic.versions.items()}
        others.pop(report.version, None)
        more = f" The log holds other versions: {_listed(others)}." if others else ""
        return (
            f"{report.title}: too little to judge, {seen} of {report.policy.min_rows:,} needed."
            f"{more}"
        )
    if report.state == "alert":
        return f"{report.title}: {len(report.alerts)} of its checks need a look, {seen}."
    return f"{report.title}: nothing stands out in {seen}."


def _columns(report: Report) -> list[str]:
    moderate = [d.name for d in ranked(report.drifts) if d.state == "ok" and "moderate" in d.note]
    small = [d.name for d in report.drifts if d.state == "insufficient"]
    sentences = []
    if moderate:
        sentences.append(f"Moved, but below the limit: {_names(moderate)}.")
    if small and report.n_rows >= report.policy.min_rows:
        sentences.append(
            f"Too few values to judge: {_names(small)}. Features are in the log only where "
            "log_features is on."
        )
    return sentences


def _performance(performance: Performance) -> str:
    if performance.value is None:
        return f"Realised {performance.metric}: not known, {performance.note}."
    if performance.low is None:
        interval = ""
    else:
        interval = f" ({measured(performance.low)} to {measured(performance.high)})"
    return (
        f"Realised {performance.metric}: {measured(performance.value)}{interval}, promised "
        f"{measured(performance.promised)}; {performance.note}."
    )


def _outcomes(report: Report) -> str:
    delay = report.performance.delay_median_seconds
    late = "" if delay is None else f", {duration(delay)} late (median)"
    return (
        f"Outcomes: {report.matched:,} joined{late}, {report.unmatched:,} about predictions not in "
        f"this log, {report.superseded:,} replaced by a later report."
    )


def _unreadable(report: Report) -> list[str]:
    if not report.unreadable:
        return []
    sentence = (
        f"{report.unreadable:,} lines or events of the log could not be read and were left out; "
        "something else than mlembed may have written to it."
    )
    return [sentence]


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items())


def _most(errors: Mapping[str, int]) -> str:
    return max(errors, key=lambda name: errors[name]) if errors else "unknown"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
