"""Search the settings of the candidates, one study for all of them.

The study lies in a journal file: an interrupted search goes on where it stopped, and several
processes may add trials to one study.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna

from mlembed.errors import DataError, DeclarationError
from mlembed.training.search import FOLDS, REASON, Search, finished
from mlembed.training.spaces import Space, check_space, space_of
from mlembed.training.study import using

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from mlembed.training.competitors import Competitor
    from mlembed.training.fitting import Prepared
    from mlembed.training.folds import Fold
    from mlembed.training.progress import Steps
    from mlembed.training.trainer import Trainer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuning:
    """How long the settings of the candidates are searched, and where.

    Attributes:
        trials: Settings to try in all, those of an interrupted run and of other processes
            included.
        seconds: Longest search of this process, or None; the fit under way is ended.
        spaces: Spaces that replace the built-in ones, by the estimator's class:
            `{"Ridge": {"alpha": (0.01, 10.0, "log")}}`; `(low, high)` of whole numbers or doubles,
            or a list of choices. An empty space leaves the estimator as it is declared.
    """

    trials: int = 40
    seconds: float | None = None
    spaces: Mapping[str, Space] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.trials, bool) or not (isinstance(self.trials, int) and self.trials >= 1):
            raise DeclarationError("Tuning(trials=...): expected a whole number of at least 1")
        if self.seconds is not None and not _is_long(self.seconds):
            raise DeclarationError("Tuning(seconds=...): expected a number above 0, or None")
        if not isinstance(self.spaces, Mapping):
            raise DeclarationError(
                "Tuning(spaces=...): expected a mapping from the names of classes to their spaces"
            )
        for name, space in self.spaces.items():
            check_space(name, space)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuned:
    """What a search found.

    Attributes:
        competitor: The best candidate with its best settings.
        fold_values: Its metric on each fold, `(n_folds,)`.
        parameters: The settings that were found.
        best_so_far: Best mean after each trial; None before the first that met every fold.
        n_pruned: Trials that were stopped early, or could not be fitted.
        best_trial: Place of the best trial among all, from 0.
    """

    competitor: Competitor
    fold_values: tuple[float, ...]
    parameters: Mapping[str, Any]
    best_so_far: tuple[float | None, ...]
    n_pruned: int
    best_trial: int

    def to_json(self) -> dict[str, Any]:
        """Describe it in plain JSON types."""
        return {
            "trials": len(self.best_so_far),
            "pruned": self.n_pruned,
            "best_trial": self.best_trial,
            "values": list(self.best_so_far),
            "parameters": {name: repr(value) for name, value in self.parameters.items()},
        }


def tune(
    trainer: Trainer,
    rivals: Sequence[Competitor],
    prepared: Prepared,
    folds: Sequence[Fold],
    known: Mapping[str, tuple[float, ...]],
    steps: Steps,
    *,
    study: Path | None,
) -> Tuned | None:
    """Search until there are as many trials as declared, or the time is over.

    Args:
        trainer: The declaration, with its `Tuning`.
        rivals: The competitors as they were declared.
        prepared: The training rows.
        folds: Folds of the contest.
        known: The metric of each competitor as declared, on each fold; one that has none, as it
            could not be fitted, is not tuned.
        steps: Hears of every trial.
        study: Journal file, or None to keep the study in memory.

    Returns:
        The best settings; None where no candidate has anything to search, or no trial was measured
        on every fold in time.

    Raises:
        DataError: If the study's file is damaged or cannot be written, or none of the settings can
            be fitted.
    """
    tuning = trainer.tuning
    if tuning is None:
        raise DeclarationError("no tuning was declared; expected Trainer(tuning=Tuning(...))")
    spaces = {
        rival.name: space
        for rival in rivals
        if rival.name in known and (space := space_of(rival.estimator, tuning.spaces))
    }
    if not spaces:
        return None
    tunable = {rival.name: rival for rival in rivals if rival.name in spaces}
    search = Search(trainer=trainer, prepared=prepared, folds=folds, rivals=tunable, spaces=spaces)
    sign = trainer.yardstick.sign
    before = max(map(trainer.yardstick.goodness, known.values()))

    def hear(done: int, values: Sequence[float]) -> None:
        best = sign * max([before, *(sign * value for value in values)])
        steps.advance(done, max(done, tuning.trials), f"best {trainer.metric} {best:.4f}")

    with _quiet(), using(study):
        found = search.open(study)
        search.run(found, tuning.trials, tuning.seconds, hear)
        return _best(search, found)


def _best(search: Search, study: Study) -> Tuned | None:
    """Return the best finished trial; of equals the first."""
    trials, sign = finished(study), search.trainer.yardstick.sign
    places = [place for place, item in enumerate(trials) if FOLDS in item.user_attrs]
    if not places:
        _require_fitted(search, trials)
        return None
    goodness = {
        place: search.trainer.yardstick.goodness(trials[place].user_attrs[FOLDS])
        for place in places
    }
    best = max(places, key=lambda place: (goodness[place], -place))
    competitor, parameters = search.draw(optuna.trial.FixedTrial(trials[best].params))
    so_far = np.maximum.accumulate([goodness.get(place, -np.inf) for place in range(len(trials))])
    return Tuned(
        competitor=competitor,
        fold_values=tuple(trials[best].user_attrs[FOLDS]),
        parameters=parameters,
        best_so_far=tuple(None if np.isinf(value) else sign * value for value in so_far.tolist()),
        n_pruned=len(trials) - len(places),
        best_trial=best,
    )


def _require_fitted(search: Search, trials: Sequence[FrozenTrial]) -> None:
    """Refuse a search in which nothing of what was declared could be fitted."""
    reasons = [item.user_attrs[REASON] for item in trials if REASON in item.user_attrs]
    if reasons and any(rival.role == "declared" for rival in search.rivals.values()):
        raise DataError(
            f"none of {len(reasons)} settings could be fitted, the first because {reasons[0]}; "
            "declare other spaces: Tuning(spaces=...)"
        )


def _is_long(seconds: Any) -> bool:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return False
    return seconds > 0 and not math.isnan(seconds)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's own lines, and what the fits warn of, out of the run; restore them after.

    One warning a trial helps nobody: a setting that does badly is not chosen.
    """
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)
