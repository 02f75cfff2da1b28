"""What the model is worth in service, against what it promised when it was published.

A metric that cannot be computed, or rests on too few outcomes, is `insufficient`: neither good
news nor an error.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlembed.errors import MonitoringError
from mlembed.monitoring import bootstrap, multiclass
from mlembed.monitoring.judged import measure_of, sign_of, undefined
from mlembed.monitoring.metrics import METRICS, is_defined
from mlembed.monitoring.multiclass import CLASS_METRICS
from mlembed.monitoring.outcomes import Joined, codes_of, labels_of
from mlembed.monitoring.shares import Z_95

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.bundle.manifest import Task
    from mlembed.monitoring.log import PredictionLog
    from mlembed.monitoring.policy import Policy
    from mlembed.monitoring.weighted import Measure

    Floats = NDArray[np.float64]

State = Literal["ok", "alert", "insufficient"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Performance:
    """The realised metric of the rows whose truth is known.

    Attributes:
        metric: Name of the metric.
        state: ok, alert or insufficient.
        promised: Its value on held-out rows when the model was published, or None.
        value: Its value in service, or None where it is undefined.
        low: Lower end of the 95 % interval of `value`, or None.
        high: Upper end.
        n: Rows it was measured on.
        unusable: Outcomes that are no label of this task.
        delay_median_seconds: Median label delay, or None.
        note: Why it is in this state, for people.
    """

    metric: str
    state: State
    promised: float | None
    value: float | None
    low: float | None
    high: float | None
    n: int
    unusable: int
    delay_median_seconds: float | None
    note: str

    def to_json(self) -> dict[str, Any]:
        """Describe it in plain JSON types."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Challenger against champion on the same rows.

    Attributes:
        state: ok, or insufficient where the metric is undefined for these rows.
        metric: Name of the metric.
        n: Rows compared.
        champion: The champion's metric, or None.
        challenger: The challenger's, or None.
        difference: How much better the challenger is; positive is better, whatever the metric.
        low: Lower end of the 95 % interval of `difference`, or None.
        high: Upper end.
        clusters: Number of entities that were drawn whole, or None where rows were drawn.
    """

    state: Literal["ok", "insufficient"]
    metric: str
    n: int
    champion: float | None = None
    challenger: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    clusters: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Describe it in plain JSON types."""
        return dataclasses.asdict(self)


def compare(  # noqa: PLR0913  what a comparison may depend on
    y: Floats,
    champion_scores: Floats,
    challenger_scores: Floats,
    metric: str,
    threshold: float = 0.5,
    *,
    challenger_threshold: float | None = None,
    clusters: NDArray[np.integer] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare two models by a paired bootstrap.

    Args:
        y: Labels, `(n,)`; 0 and 1 for a binary label.
        champion_scores: `(n,)`; probabilities `(n, n_classes)` of several classes.
        challenger_scores: The same of the other model, its classes in the same order.
        metric: A name in `METRICS`, or in `CLASS_METRICS` for several classes.
        threshold: Score from which the label is positive.
        challenger_threshold: The challenger's own, where it differs.
        clusters: Number of each row's entity, `(n,)`, where rows of one entity are alike.
        resamples: How often rows or entities are drawn.
        seed: Seed of the draws.

    Returns:
        The comparison; rows with a NaN in any of the three are left out. Insufficient, too, with
        fewer entities than `bootstrap.MIN_CLUSTERS`.

    Raises:
        MonitoringError: If the arrays differ in length, or the models in their classes.
    """
    _check_lengths(y, champion_scores, challenger_scores, clusters)
    given = [np.asarray(values, np.float64) for values in (y, champion_scores, challenger_scores)]
    whole = np.logical_and.reduce([_finite(values) for values in given])
    y, old, new = (values[whole] for values in given)
    entities = None if clusters is None else np.asarray(clusters)[whole]
    n, sign = len(y), sign_of(metric, old)
    if undefined(metric, y, old):
        return Comparison(state="insufficient", metric=metric, n=n)
    own = threshold if challenger_threshold is None else challenger_threshold
    measures = [measure_of(metric, y, old, threshold), measure_of(metric, y, new, own)]
    champion, challenger = (of(np.ones(n)) for of in measures)
    drawn = bootstrap.resample(measures, n, resamples, seed, entities)
    ends = bootstrap.interval(sign * (drawn[:, 1] - drawn[:, 0]))
    return Comparison(
        state="insufficient" if ends is None else "ok",
        metric=metric,
        n=n,
        champion=champion,
        challenger=challenger,
        difference=sign * (challenger - champion),
        low=None if ends is None else ends[0],
        high=None if ends is None else ends[1],
        clusters=None if entities is None else len(np.unique(entities)),
    )


def realised(
    log: PredictionLog,
    joined: Joined,
    task: Task,
    metric: str,
    promised: float | None,
    policy: Policy,
    *,
    n_reference: int = 0,
) -> Performance:
    """Measure the predictions whose truth is known.

    Args:
        log: The predictions of one version.
        joined: Their outcomes, as `join(log)` found them.
        task: What the score means.
        metric: A name in `METRICS`; in `CLASS_METRICS`, and of those which need no probabilities, for
            several classes.
        promised: The metric on held-out rows when the model was published, or None.
        policy: Limits and resamples.
        n_reference: Number of those rows, whose own chance is allowed for; 0 for unknown.
    """
    y = labels_of(task, joined.values)
    scores, weights = _answers(log, joined, task), log.weights[joined.rows]
    answered = np.isin(log.reason[joined.rows].astype(str), ("ok", "abstain")) & np.isfinite(scores)
    usable = answered & np.isfinite(y)
    y, scores, weights = y[usable], scores[usable], weights[usable]
    n = len(y)
    value = ends = None
    state: State = "insufficient"
    note = f"{n} joined outcomes, {policy.min_outcomes} are needed"
    if n and not task.classes and not is_defined(METRICS[metric], y):
        alike = "of one class" if METRICS[metric].needs_both else "0"
        note = f"{metric} is undefined: all {n} outcomes are {alike}"
    elif n:
        of = _measure(metric, y, scores, task)
        drawn = bootstrap.resample([of.times(weights)], n, policy.resamples, policy.seed)[:, 0]
        value, ends = of(weights), bootstrap.interval(drawn)
        if n >= policy.min_outcomes and ends is not None:
            spread = float(np.nanstd(drawn)) * (1 + n / n_reference if n_reference else 1) ** 0.5
            sign = (CLASS_METRICS if task.classes else METRICS)[metric].sign
            state, note = _judge(sign, value, promised, spread, policy)
    return Performance(
        metric=metric,
        state=state,
        promised=promised,
        value=value,
        low=None if ends is None else ends[0],
        high=None if ends is None else ends[1],
        n=n,
        unusable=int(np.count_nonzero(answered & ~usable)),
        delay_median_seconds=joined.delay_median_seconds,
        note=note,
    )


def _finite(values: Floats) -> NDArray[np.bool_]:
    """Tell of each row whether all it holds is finite, `(n,)`."""
    finite = np.isfinite(values)
    return finite if finite.ndim == 1 else np.asarray(finite.all(axis=1))


def _check_lengths(*arrays: NDArray[Any] | None) -> None:
    sizes = {len(array) for array in arrays if array is not None}
    if len(sizes) > 1:
        raise MonitoringError(
            "compare: labels, scores and clusters must be of the same rows, but their lengths are "
            f"{', '.join(map(str, sorted(sizes)))}; pass one value a row"
        )
    old, new = (np.shape(array)[1:] for array in arrays[1:3] if array is not None)
    if old != new:
        raise MonitoringError(
            "compare: the models answer with different classes, so there is no common measure; "
            "compare models of the same label"
        )


def _answers(log: PredictionLog, joined: Joined, task: Task) -> Floats:
    """Return what was answered, `(matched,)`: scores, or places of the most probable classes."""
    if not task.classes:
        return log.score[joined.rows]
    if log.label is None:
        return np.full(joined.matched, np.nan)
    return codes_of(task, log.label[joined.rows])


def _measure(metric: str, y: Floats, scores: Floats, task: Task) -> Measure:
    if task.classes:
        return multiclass.measure(metric, y, scores, len(task.classes))
    return bootstrap.measure(metric, y, scores, task.threshold)


def _judge(
    sign: int, value: float, promised: float | None, spread: float, policy: Policy
) -> tuple[State, str]:
    if promised is None:
        return "ok", "the bundle promises nothing to compare with"
    worse = sign * (promised - value)
    allowed = policy.metric_drop if sign > 0 else policy.loss_rise * abs(promised)
    if worse >= allowed and worse > Z_95 * spread:
        return "alert", f"worse than promised by {worse:.3g}, more than chance explains"
    if worse >= allowed:
        return "ok", f"worse than promised by {worse:.3g}, but chance could explain it"
    return "ok", "as promised, within the allowed change"
