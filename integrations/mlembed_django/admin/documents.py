"""Read the document of a report as far as it can be read.

It was written by some version of `mlembed_monitor`, perhaps long ago: what is not there, or not what
is expected, is left out, and the page shows the rest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mlembed_django.admin.shown import finite

SCORE = "(score)"
_ORDER = {"alert": 0, "ok": 1, "insufficient": 2}
_MOST_COLUMNS = 60
_MOST_BUCKETS = 400
_MISSING = "(missing)"


@dataclasses.dataclass(frozen=True, slots=True)
class Bin:
    """The share of one bin, before and now."""

    label: str
    was: float
    now: float


@dataclasses.dataclass(frozen=True, slots=True)
class Shift:
    """How one column, or the score, differs from its reference."""

    name: str
    state: str
    note: str
    psi: float | None
    q: float | None
    missing: float | None
    bins: tuple[Bin, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Calls:
    """The calls that began within one stretch of time."""

    start: str
    answered: float
    failed: float


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What one report found.

    Attributes:
        sentences: Its summary without the alerts.
        alerts: What was found and what to do, in sentences.
        score: The shift of the score; None where it was not measured.
        columns: Those of the columns, alerts first, then the largest.
        left: Columns beyond those shown.
        calls: Rows asked for.
        reasons: Rows by reason.
        buckets: Calls over time.
        bucket_seconds: Length of a bucket.
        latencies: Name and seconds of each quantile of a single call.
    """

    sentences: tuple[str, ...]
    alerts: tuple[tuple[str, str], ...]
    score: Shift | None
    columns: tuple[Shift, ...]
    left: int
    calls: float | None
    reasons: tuple[tuple[str, float], ...]
    buckets: tuple[Calls, ...]
    bucket_seconds: float
    latencies: tuple[tuple[str, float], ...]


def found(document: Any) -> Found:
    """Return what the *document* of a report says."""
    told = _dict(document)
    traffic = _dict(told.get("traffic"))
    shifts = [_shift(each) for each in _dicts(told.get("drifts"))]
    columns = sorted(
        (each for each in shifts if each.name != SCORE),
        key=lambda each: (_ORDER.get(each.state, 3), -(each.psi or 0.0)),
    )
    reasons = {str(k): finite(v) for k, v in _dict(traffic.get("reasons")).items()}
    alerts = [
        (_sentence(each.get("text")), _sentence(each.get("remedy")))
        for each in _dicts(told.get("alerts"))
    ]
    return Found(
        sentences=_remarks(told.get("summary"), len(alerts)),
        alerts=tuple(alerts),
        score=next((each for each in shifts if each.name == SCORE), None),
        columns=tuple(columns[:_MOST_COLUMNS]),
        left=max(0, len(columns) - _MOST_COLUMNS),
        calls=finite(traffic.get("calls")),
        reasons=tuple((k, v) for k, v in reasons.items() if v is not None),
        buckets=tuple(_buckets(traffic.get("buckets"))),
        bucket_seconds=finite(traffic.get("bucket_seconds")) or 0.0,
        latencies=tuple(_latencies(traffic)),
    )


def _shift(drift: Mapping[str, Any]) -> Shift:
    return Shift(
        name=str(drift.get("name", "")),
        state=str(drift.get("state", "")),
        note=str(drift.get("note", "")),
        psi=finite(drift.get("psi")),
        q=finite(drift.get("q")),
        missing=finite(drift.get("missing")),
        bins=tuple(_bins(drift)),
    )


def _bins(drift: Mapping[str, Any]) -> list[Bin]:
    shares = zip(
        *(_list(drift.get(name)) for name in ("labels", "reference", "observed")), strict=False
    )
    bins = [Bin(str(label), finite(was) or 0.0, finite(now) or 0.0) for label, was, now in shares]
    if drift.get("kind") == "category":
        bins = [each for each in bins if each.was or each.now]
    was, now = finite(drift.get("missing_reference")) or 0.0, finite(drift.get("missing")) or 0.0
    return [*bins, Bin(_MISSING, was, now)] if was or now else bins


def _buckets(value: Any) -> list[Calls]:
    return [
        Calls(
            str(each.get("start", "")),
            max(0.0, finite(each.get("answered")) or 0.0),
            max(0.0, finite(each.get("failed")) or 0.0),
        )
        for each in _dicts(value)[-_MOST_BUCKETS:]
    ]


def _latencies(traffic: Mapping[str, Any]) -> list[tuple[str, float]]:
    named = [(str(k), finite(v)) for k, v in _dict(traffic.get("latency_quantiles")).items()]
    if not named:
        named = [
            ("median", finite(traffic.get("latency_median"))),
            ("99%", finite(traffic.get("latency_p99"))),
        ]
    return [(name, value) for name, value in named if value is not None]


def _remarks(value: Any, n_alerts: int) -> tuple[str, ...]:
    """Return the summary without its alerts, which stand behind the first sentence."""
    sentences = [str(each) for each in _list(value)]
    return (*sentences[:1], *sentences[1 + n_alerts :])


def _sentence(value: Any) -> str:
    text = str(value or "").strip()
    if not text:
        return ""
    return f"{text[:1].upper()}{text[1:]}{'' if text[-1] in '.!?' else '.'}"


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in _list(value) if isinstance(each, Mapping)]
