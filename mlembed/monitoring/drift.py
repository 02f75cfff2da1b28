"""Tell which columns, and whether the scores, no longer look as they did when the model was made.

A column alerts only where the change is large and chance does not explain it, after correction
for the number of columns; a window that is too small says so instead of guessing.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.monitoring import statistics
from mlembed.monitoring.counting import count
from mlembed.telemetry.source import LABEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.monitoring.counting import Counts, Profile, Reference
    from mlembed.monitoring.log import PredictionLog
    from mlembed.monitoring.performance import State
    from mlembed.monitoring.policy import Policy

SCORE = "(score)"  # no identifier, so no column can have this name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drift:
    """One column, or the score, in the window and in the reference.

    Attributes:
        name: Name of the column; `(score)` for the score.
        kind: number or category.
        state: ok, alert or insufficient.
        note: What is to be seen, in words; may be empty.
        n: Rows counted, scaled to their effective number.
        psi: Population stability index; None where it is not judged.
        noise: PSI that chance alone shows on average in windows of these sizes.
        js: Jensen-Shannon distance; None where it is not judged.
        p: p-value that both windows have one source.
        q: The same, corrected for all tests of the report.
        missing: Share of missing values in the window.
        missing_reference: Share of missing values in the reference.
        missing_p: p-value that both shares are one.
        missing_q: The same, corrected.
        unseen: Share of given categories that the model never saw.
        labels: Name of each bin.
        reference: Share of each bin in the reference, missing values left out.
        observed: Share of each bin in the window.
    """

    name: str
    kind: str
    state: State
    note: str
    n: float
    psi: float | None
    noise: float | None
    js: float | None
    p: float | None
    q: float | None
    missing: float
    missing_reference: float
    missing_p: float | None
    missing_q: float | None
    unseen: float
    labels: tuple[str, ...]
    reference: tuple[float, ...]
    observed: tuple[float, ...]

    @property
    def effect(self) -> float:
        """PSI above what chance shows on average; 0 where it is not judged."""
        return 0.0 if self.psi is None or self.noise is None else self.psi - self.noise

    def to_json(self) -> dict[str, Any]:
        """Describe it in plain JSON types."""
        return dataclasses.asdict(self)


def drifts(
    reference: Reference, columns: Sequence[Column], log: PredictionLog, policy: Policy
) -> tuple[Drift, ...]:
    """Measure every profiled column and the score.

    Args:
        reference: The bundle's reference.
        columns: The bundle's columns; that of the label among them where there are classes.
        log: The predictions of that bundle.
        policy: Limits.

    Returns:
        The score first, then the columns in the order of the row.
    """
    scored = log.select(np.isfinite(log.score) & np.isin(log.reason.astype(str), ("ok", "abstain")))
    told = log.select(log.has_features)
    scores = count(reference.score, None, scored.score, scored.weights)
    found = [_measure(SCORE, reference.score, scores, policy)]
    for column in columns:
        profile = reference.columns.get(column.name)
        if profile is None:
            continue
        rows, values = _values(column.name, scored, told)
        counts = count(profile, column, values, rows.weights)
        found.append(_measure(column.name, profile, counts, policy))
    return _judged(found, policy)


def _values(
    name: str, scored: PredictionLog, told: PredictionLog
) -> tuple[PredictionLog, NDArray[Any]]:
    """Return the rows that hold the column *name*, and its values."""
    if name in told.features:
        return told, told.features[name]
    if (
        name != LABEL
    ):  # logged by hash or bucket, or not at all: that says nothing of what was given
        return told.select(np.zeros(len(told), dtype=np.bool_)), np.empty(0)
    if scored.label is None:
        return scored.select(np.zeros(len(scored), dtype=np.bool_)), np.empty(0)
    return scored, scored.label  # where no feature is logged, too


def _measure(name: str, profile: Profile, counts: Counts, policy: Policy) -> Drift:
    """Compare the counts; state and q-values come when all tests are known."""
    r, c = profile.counts, counts.bins
    enough = counts.n >= policy.min_rows
    judged = c.sum() >= policy.min_rows and r.sum() > 0
    return Drift(
        name=name,
        kind=profile.kind,
        state="ok",
        note="",
        n=counts.n,
        psi=statistics.psi(r, c) if judged else None,
        noise=statistics.psi_noise(r, c) if judged else None,
        js=statistics.js_distance(r, c) if judged else None,
        p=statistics.homogeneity_p(r, c) if judged else None,
        q=None,
        missing=_share(counts.missing, counts.n),
        missing_reference=_share(profile.missing, profile.n),
        missing_p=statistics.proportions_p(profile.missing, profile.n, counts.missing, counts.n)
        if enough
        else None,
        missing_q=None,
        unseen=counts.unseen,
        labels=profile.labels,
        reference=tuple((r / max(1.0, r.sum())).tolist()),
        observed=tuple((c / c.sum()).tolist() if c.sum() > 0 else [0.0] * len(c)),
    )


def _judged(found: Sequence[Drift], policy: Policy) -> tuple[Drift, ...]:
    tests = [(i, name) for i, d in enumerate(found) for name in ("p", "missing_p") if _has(d, name)]
    p_values = [getattr(found[i], name) for i, name in tests]
    corrected = dict(zip(tests, statistics.benjamini_hochberg(p_values).tolist(), strict=True))
    judged = []
    for i, drift in enumerate(found):
        full = dataclasses.replace(
            drift, q=corrected.get((i, "p")), missing_q=corrected.get((i, "missing_p"))
        )
        state, note = _judge(full, policy)
        judged.append(dataclasses.replace(full, state=state, note=note))
    return tuple(judged)


def _judge(drift: Drift, policy: Policy) -> tuple[State, str]:
    if drift.n == 0:
        return "insufficient", "the log does not hold it"
    if drift.n < policy.min_rows:
        return "insufficient", f"{drift.n:.0f} rows, {policy.min_rows} are needed"
    notes = []
    moved = drift.q is not None and drift.q < policy.q
    alert = moved and drift.effect >= policy.psi
    if moved and drift.effect >= policy.psi / 2:
        notes.append(f"{'large' if alert else 'moderate'} shift{_where(drift)}")
    rise = drift.missing - drift.missing_reference
    if rise >= policy.missing and drift.missing_q is not None and drift.missing_q < policy.q:
        alert = True
        notes.append(f"{drift.missing:.1%} missing, was {drift.missing_reference:.1%}")
    if drift.unseen > 0:
        notes.append(f"{drift.unseen:.1%} of values unknown to the model")
    if drift.psi is None and not alert:
        return "insufficient", "; ".join(["too few values that are not missing", *notes])
    return ("alert" if alert else "ok"), "; ".join(notes)


def _where(drift: Drift) -> str:
    """Name the bin whose share changed most."""
    changes = [now - was for now, was in zip(drift.observed, drift.reference, strict=True)]
    place = max(range(len(changes)), key=lambda i: abs(changes[i]))
    was, now = drift.reference[place], drift.observed[place]
    return f", most in '{drift.labels[place]}': {was:.1%} before, {now:.1%} now"


def _has(drift: Drift, name: str) -> bool:
    value = getattr(drift, name)
    return value is not None and not math.isnan(value)


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
