"""One process's part in a study: draw settings, measure them fold by fold, stop the poor ones.

A trial is drawn from the seed and the trials before it alone, so one process finds the same
settings however often it was interrupted.

Tree-structured Parzen estimator: Bergstra, Bardenet, Bengio and Kegl, "Algorithms for
hyper-parameter optimization", NeurIPS 2011. A trial stops early where it is below the median of
those before it on the same folds: Golovin et al., "Google Vizier", KDD 2017.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import sklearn.base
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from mlembed.errors import DataError
from mlembed.training.competitors import final_step
from mlembed.training.spaces import suggest
from mlembed.training.study import abandoned, open_storage, owner
from mlembed.training.validating import value_on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

    from mlembed.training.competitors import Competitor
    from mlembed.training.fitting import Prepared
    from mlembed.training.folds import Fold
    from mlembed.training.spaces import Space
    from mlembed.training.trainer import Trainer

FOLDS, REASON = "folds", "reason"
_CANDIDATE, _OWNER = "candidate", "owner"
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_STARTUP_TRIALS = 10
_ADDRESS = re.compile(" at 0x[0-9a-fA-F]+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched, and on which rows.

    Attributes:
        trainer: The declaration.
        prepared: The training rows.
        folds: Folds of the contest.
        rivals: Competitors that have something to search, by name.
        spaces: What is searched of each.
    """

    trainer: Trainer
    prepared: Prepared
    folds: Sequence[Fold]
    rivals: Mapping[str, Competitor]
    spaces: Mapping[str, Space]

    def open(self, path: Path | None) -> Study:
        """Open the study of this declaration and this table; begin it where there is none."""
        study = optuna.create_study(
            study_name=f"{self.trainer.name}-{self._fingerprint()}",
            storage=open_storage(path),
            load_if_exists=True,
            direction="maximize" if self.trainer.yardstick.sign > 0 else "minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS // 2),
        )
        _fail(study, abandoned)
        return study

    def run(
        self,
        study: Study,
        n_trials: int,
        seconds: float | None,
        hear: Callable[[int, Sequence[float]], None],
    ) -> None:
        """Add trials until there are enough of them, or the time is over.

        Args:
            study: Opened here.
            n_trials: How many finished trials are wanted in all.
            seconds: Longest search, or None; the fit under way is ended.
            hear: Hears before each trial and in the end how many are finished, and their values.
        """
        end = time.monotonic() + (np.inf if seconds is None else seconds)
        while True:
            done = len(finished(study))
            hear(done, [item.value for item in complete(study)])
            if done >= n_trials or time.monotonic() >= end:
                return
            self._try(study, end)

    def draw(self, trial: Any) -> tuple[Competitor, dict[str, Any]]:
        """Return who competes in *trial*, with which settings."""
        name = trial.suggest_categorical(_CANDIDATE, list(self.rivals))
        parameters = suggest(trial, name, self.spaces[name])
        rival = self.rivals[name]
        estimator = sklearn.base.clone(rival.estimator).set_params(**parameters)
        return dataclasses.replace(rival, name=f"{name} (tuned)", estimator=estimator), parameters

    def _ask(self, study: Study) -> Trial:
        """Begin a trial, drawn from those before it.

        It has an owner from its first moment, and its seed is its own place among those that
        count: neither an interruption nor another process can change or repeat the draw.
        """
        storage = study._storage  # noqa: SLF001  Study.ask cannot name an owner at once
        begun = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={_OWNER: owner()})
        key = storage.create_new_trial(storage.get_study_id_from_name(study.study_name), begun)
        number = storage.get_trial(key).number
        place = sum(
            item.number < number and item.state != TrialState.FAIL
            for item in study.get_trials(deepcopy=False)
        )
        (seed,) = np.random.SeedSequence([self.trainer.seed, place]).generate_state(1)
        study.sampler = optuna.samplers.TPESampler(seed=int(seed), n_startup_trials=_STARTUP_TRIALS)
        return optuna.trial.Trial(study, key)

    def _try(self, study: Study, end: float) -> None:
        """Draw once and measure it; what cannot be fitted counts as stopped."""
        try:
            trial = self._ask(study)
            try:
                self._measure(study, trial, end)
            except DataError as error:
                trial.set_user_attr(REASON, str(error))
                study.tell(trial, state=TrialState.PRUNED)
        except UpdateFinishedTrialError:  # another process took this one for dead: it counts not
            pass
        except BaseException:
            with contextlib.suppress(Exception):  # else whoever opens the study next will fail it
                _fail(study, owner().__eq__)
            raise

    def _measure(self, study: Study, trial: Trial, end: float) -> None:
        rival, _ = self.draw(trial)
        values: list[float] = []
        for number, fold in enumerate(self.folds):
            values.append(value_on(self.trainer, rival, self.prepared, fold))
            trial.report(float(np.mean(values)), number)
            if len(values) == len(self.folds):
                break
            if trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
                return
            if time.monotonic() >= end:
                study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
                return
        trial.set_user_attr(FOLDS, values)
        study.tell(trial, float(np.mean(values)), skip_if_finished=True)

    def _fingerprint(self) -> str:
        """Return what differs where trials of another run would not be comparable."""
        trainer = self.trainer
        facts = {
            "data": self.prepared.table.digest,
            "features": hashlib.sha256(self.prepared.features_model).hexdigest(),
            "folds": [_digest(rows) for fold in self.folds for rows in (fold.train, fold.test)],
            "metric": trainer.metric,
            "seed": trainer.seed,
            "threshold": repr(trainer.label.threshold),
            "candidates": {
                name: [*_described(rival.estimator), repr(dict(self.spaces[name]))]
                for name, rival in self.rivals.items()
            },
            "optuna": optuna.__version__,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _fail(study: Study, whose: Callable[[str], bool]) -> None:
    """Give up the trials that are not finished of the owners that *whose* holds for."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if whose(trial.user_attrs.get(_OWNER, "")):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def finished(study: Study) -> list[FrozenTrial]:
    """Return the trials that count, by number."""
    return study.get_trials(deepcopy=False, states=_FINISHED)


def complete(study: Study) -> list[Any]:
    """Return the trials that were measured on every fold, by number."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _digest(rows: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows).data).hexdigest()


def _described(estimator: Any) -> tuple[str, str]:
    """Return the settings of *estimator* and the library it comes from, the same in each process."""
    library = type(final_step(estimator)).__module__.partition(".")[0]
    version = getattr(sys.modules.get(library), "__version__", "")
    return _ADDRESS.sub("", repr(estimator.get_params())), f"{library} {version}"
