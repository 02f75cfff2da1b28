"""Read back what hosts predicted and what came of it, from the prediction log."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from mlembed.serving.prediction import Answered, NamedPrediction

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mlembed.monitoring.log import LoggedOutcome, PredictionLog
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


def outcomes_of(
    logs: Iterable[PredictionLog], positive: str = ""
) -> tuple[dict[str, bool | float], dict[str, bool | float]]:
    """Return the outcomes of *logs* by prediction and by key, of each the last report.

    Args:
        logs: Of one or several models.
        positive: The class that counts as true, where outcomes are names of classes.
    """
    last: tuple[dict[str, LoggedOutcome], dict[str, LoggedOutcome]] = ({}, {})
    for log in logs:
        for outcome in log.outcomes:
            place, name = (0, outcome.prediction_id) if outcome.prediction_id else (1, outcome.key)
            before = last[place].get(name)
            if before is None or outcome.rank >= before.rank:
                last[place][name] = outcome
    by_prediction, by_key = (
        {
            name: value
            for name, outcome in some.items()
            if (value := _measured(outcome.value, positive)) is not None
        }
        for some in last
    )
    return by_prediction, by_key


@dataclasses.dataclass(frozen=True, slots=True)
class _Decided:
    """What was decided then."""

    label: bool | str | None
    reason: str

    def __call__(self, _score: float, /) -> tuple[bool | str | None, str]:
        return self.label, self.reason


def _measured(value: object, positive: str) -> bool | float | None:
    if isinstance(value, str):
        return value == positive if positive else None
    return value if isinstance(value, (bool, int, float)) else None
