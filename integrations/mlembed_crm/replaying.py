"""Read back what hosts predicted and what came of it, from the prediction log."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from mlembed.serving.prediction import Answered, NamedPrediction
from mlembed_crm.effect.outcomes import Observed

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mlembed.monitoring.log import PredictionLog
    from mlembed.serving.prediction import Prediction


def logged(
    log_dir: Path, models: Iterable[str], since: dt.datetime | None
) -> Iterator[PredictionLog]:
    """Yield the log of each of *models*.

    Args:
        log_dir: Directory of the log, as in the hosts' settings.
        models: Their names.
        since: Earliest time, with a time zone.

    Raises:
        MonitoringError: If one has no log.
    """
    from mlembed.monitoring.log import read_log

    for model in sorted(set(models)):
        yield read_log(log_dir, model, since=since)


def predictions_of(log: PredictionLog) -> Iterator[Prediction]:
    """Yield the predictions of *log* in the order in which they were made.

    A label is there for models of several classes alone: of others the log holds the score.
    """
    for row in log.time_ns.argsort(kind="stable").tolist():
        label = None if log.label is None else log.label[row]
        reason, score = str(log.reason[row]), float(log.score[row])
        source = Answered(log.model, str(log.version[row]), _Decided(label, reason))
        call = (source, int(log.time_ns[row]), 0, 0, score, reason, "", log.keys[row])
        yield NamedPrediction(call, str(log.ids[row]))


def outcomes_of(logs: Iterable[PredictionLog], positive: str = "") -> Iterator[Observed]:
    """Yield the outcomes that *logs* hold, in the order of their reports.

    One that names a prediction is its entity's as well: a report without a key has that of the
    prediction, as far as the log holds it.

    Args:
        logs: Of one or several models.
        positive: The class that counts as true, where outcomes are names of classes.
    """
    for log in logs:
        keys = _keys_of(log)
        for outcome in log.outcomes:
            yield Observed(
                model=log.model,
                key=outcome.key or keys.get(outcome.prediction_id) or "",
                prediction_id=outcome.prediction_id,
                value=_measured(outcome.value, positive),
                moment=outcome.moment_ns / 1e9,
                rank=outcome.rank,
            )


@dataclasses.dataclass(frozen=True, slots=True)
class _Decided:
    """What was decided then."""

    label: bool | str | None
    reason: str

    def __call__(self, _score: float, /) -> tuple[bool | str | None, str]:
        return self.label, self.reason


def _keys_of(log: PredictionLog) -> dict[str, str | None]:
    """Return the keys of the predictions that outcomes name by their ids alone."""
    named = {outcome.prediction_id for outcome in log.outcomes if not outcome.key}
    rows = zip(log.ids.tolist(), log.keys.tolist(), strict=True)
    return {name: key for name, key in rows if name in named}


def _measured(value: object, positive: str) -> bool | float | None:
    if isinstance(value, str):
        return value == positive if positive else None
    return value if isinstance(value, (bool, int, float)) else None
