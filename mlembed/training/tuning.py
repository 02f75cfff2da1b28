"""Search the settings of the candidates, one study for all of them.

The study lies in a journal file: an interrupted search goes on where it stopped, and several
processes may add trials to one study. A trial is drawn from the trials before it and the seed
alone, so one process finds the same settings however often it was interrupted.

Tree-structured Parzen estimator: Bergstra, Bardenet, Bengio and Kegl, "Algorithms for
hyper-parameter optimization", NeurIPS 2011. A trial stops early where it is below the median of
those before it on the same folds: Golovin et al., "Google Vizier", KDD 2017.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import sklearn.base
from optuna.trial import TrialState

from mlembed.errors import DataError, DeclarationError
from mlembed.training.fitting import fit, scores_of
from mlembed.training.spaces import Space, check_space, space_of, suggest
from mlembed.training.study import abandoned, open_storage, owner, using

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

    from mlembed.training.competitors import Competitor
    from mlembed.training.fitting import Prepared
    from mlembed.training.progress import Steps
    from mlembed.training.splits import Fold
    from mlembed.training.trainer import Trainer

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_STARTUP_TRIALS = 10
_FOLDS, _CANDIDATE, _OWNER = "folds", "candidate", "owner"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuning:
    """How long the settings of the candidates are searched, and where.

    Attributes:
        trials: Settings to try in all, those of an interrupted run and of other processes
            included.
        seconds: Longest search of this process, or None.
        spaces: Spaces that replace the built-in ones, by the estimator's class:
            `{"Ridge": {"alpha": (0.01, 10.0, "log")}}`; `(low, high)` of whole numbers or doubles,
            or a list of choices.
    """

    trials: int = 40
    seconds: float | None = None
    spaces: Mapping[str, Space] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (isinstance(self.trials, int) and self.trials >= 1):
            raise DeclarationError("Tuning(trials=...): expected a whole number of at least 1")
        if self.seconds is not None and not self.seconds > 0:
            raise DeclarationError("Tuning(seconds=...): expected more than 0, or None")
        for name, space in self.spaces.items():
            check_space(name, space)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuned:
    """What a search found.

    Attributes:
        competitor: The best candidate with its best settings.
        fold_values: Its metric on each fold, `(n_folds,)`.
        parameters: The settings that were found.
        best_so_far: Best mean after each finished trial.
        n_pruned: Trials that were stopped early.
        best_trial: Number of the best one.
    """

    competitor: Competitor
    fold_values: tuple[float, ...]
    parameters: Mapping[str, Any]
    best_so_far: tuple[float, ...]
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
        known: The metric of each competitor as declared, on each fold.
        steps: Hears of every trial.
        study: Journal file, or None to keep the study in memory.

    Returns:
        The best settings; None where no candidate has anything to search, or no trial finished.

    Raises:
        DataError: If the study's file is damaged or cannot be written.
    """
    search = _Search(trainer, rivals, prepared, folds)
    if not search.spaces:
        return None
    with _quiet(), using(study):
        found = search.open(study)
        search.run(found, max(known.values(), key=search.better), steps)
        return search.best(found)


class _Search:
    """One process's part in a study."""

    def __init__(
        self,
        trainer: Trainer,
        rivals: Sequence[Competitor],
        prepared: Prepared,
        folds: Sequence[Fold],
    ) -> None:
        if trainer.tuning is None:
            raise DeclarationError("no tuning was declared; expected Trainer(tuning=Tuning(...))")
        self.tuning: Tuning = trainer.tuning
        self.trainer, self.prepared, self.folds = trainer, prepared, folds
        spaces = {r.name: space_of(r.estimator, self.tuning.spaces) for r in rivals}
        self.spaces = {name: space for name, space in spaces.items() if space}
        self.rivals = {rival.name: rival for rival in rivals if rival.name in self.spaces}
        self.metric = trainer.yardstick

    def better(self, values: Sequence[float]) -> float:
        """Return what is greater for better fold values."""
        return self.metric.goodness(values)

    def open(self, path: Path | None) -> Study:
        """Open the study of this declaration and this table; begin it where there is none."""
        study = optuna.create_study(
            study_name=f"{self.trainer.name}-{self._fingerprint()}",
            storage=open_storage(path),
            load_if_exists=True,
            direction="maximize" if self.metric.sign > 0 else "minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS // 2),
        )
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if abandoned(trial.user_attrs.get(_OWNER, "")):
                study.tell(trial.number, state=TrialState.FAIL)
        return study

    def run(self, study: Study, declared: Sequence[float], steps: Steps) -> None:
        """Add trials until there are enough."""
        end = time.monotonic() + (self.tuning.seconds or np.inf)
        best = self.better(declared)
        while (done := len(_finished(study))) < self.tuning.trials and time.monotonic() < end:
            values = [self.metric.sign * item.value for item in _complete(study)]
            best = max([best, *values])
            steps.advance(
                done,
                self.tuning.trials,
                f"best {self.trainer.metric} {self.metric.sign * best:.4f}",
            )
            # Drawn anew from what is finished, so that an interruption changes nothing.
            running = len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
            (seed,) = np.random.SeedSequence([self.trainer.seed, done, running]).generate_state(1)
            study.sampler = optuna.samplers.TPESampler(
                seed=int(seed), n_startup_trials=_STARTUP_TRIALS
            )
            self._try(study, study.ask())

    def _try(self, study: Study, trial: Trial) -> None:
        """Measure one draw fold by fold; one that cannot be fitted counts as stopped."""
        trial.set_user_attr(_OWNER, owner())
        try:
            rival, _ = self._draw(trial)
            values: list[float] = []
            for number, fold in enumerate(self.folds):
                values.append(self._value(rival, fold))
                trial.report(float(np.mean(values)), number)
                if len(values) < len(self.folds) and trial.should_prune():
                    study.tell(trial, state=TrialState.PRUNED)
                    return
            trial.set_user_attr(_FOLDS, values)
            study.tell(trial, float(np.mean(values)))
        except DataError:
            study.tell(trial, state=TrialState.PRUNED)
        except BaseException:
            study.tell(trial, state=TrialState.FAIL)
            raise

    def _draw(self, trial: Trial) -> tuple[Competitor, dict[str, Any]]:
        name = trial.suggest_categorical(_CANDIDATE, list(self.rivals))
        parameters = suggest(trial, name, self.spaces[name])
        return self._with(name, parameters), parameters

    def _with(self, name: str, parameters: Mapping[str, Any]) -> Competitor:
        rival = self.rivals[name]
        estimator = sklearn.base.clone(rival.estimator).set_params(**parameters)
        return dataclasses.replace(rival, name=f"{name} (tuned)", estimator=estimator)

    def _value(self, rival: Competitor, fold: Fold) -> float:
        estimator = fit(self.trainer, rival, self.prepared, fold.train)
        scores = scores_of(estimator, self.prepared.features[fold.test])
        return self.metric.of(self.prepared.y[fold.test], scores)

    def best(self, study: Study) -> Tuned | None:
        """Return the best finished trial; of equals the first."""
        complete = _complete(study)
        if not complete:
            return None
        best = max(complete, key=lambda item: (self.metric.sign * item.value, -item.number))
        with_parameters = optuna.trial.FixedTrial(best.params)
        competitor, parameters = self._draw(with_parameters)  # type: ignore[arg-type]  # as asked
        values = np.array([self.metric.sign * item.value for item in complete])
        return Tuned(
            competitor=competitor,
            fold_values=tuple(best.user_attrs[_FOLDS]),
            parameters=parameters,
            best_so_far=tuple((self.metric.sign * np.maximum.accumulate(values)).tolist()),
            n_pruned=len(_finished(study)) - len(complete),
            best_trial=best.number,
        )

    def _fingerprint(self) -> str:
        """Return what differs where trials of another run would not be comparable."""
        trainer = self.trainer
        facts = {
            "data": self.prepared.table.digest,
            "features": [spec.name for spec in self.prepared.specs],
            "folds": [hashlib.sha256(fold.test.tobytes()).hexdigest() for fold in self.folds],
            "metric": trainer.metric,
            "seed": trainer.seed,
            "threshold": repr(trainer.label.threshold),
            "candidates": {
                name: [repr(rival.estimator.get_params()), repr(dict(self.spaces[name]))]
                for name, rival in self.rivals.items()
            },
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _finished(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=_FINISHED)


def _complete(study: Study) -> list[Any]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's own lines and its notes on experiments out of the run; restore them after."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
