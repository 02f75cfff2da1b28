"""Choose among the competitors on rows held out from the training rows.

Every competitor meets the same folds, and its features are those that will serve; the rows that
the model is measured on in the end take no part.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.errors import DataError, GateError
from mlembed.training.competitors import competitors
from mlembed.training.study import require_usable
from mlembed.training.tuning import tune
from mlembed.training.validating import value_on

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlembed.training.competitors import Competitor
    from mlembed.training.fitting import Prepared
    from mlembed.training.progress import Steps
    from mlembed.training.trainer import Trainer
    from mlembed.training.tuning import Tuned


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contest:
    """What came of it.

    Attributes:
        metric: What was compared.
        values: The metric of each competitor on each fold, `(n_folds,)`, by its name.
        left_out: Why a model that was added to compare with could not be fitted, by its name.
        chosen: The competitor to fit, with the settings that tuning found.
        baseline: Name of the trivial baseline.
        linear: Name of the linear model.
        tuned: What tuning found, or None.
    """

    metric: str
    values: Mapping[str, tuple[float, ...]]
    left_out: Mapping[str, str]
    chosen: Competitor
    baseline: str
    linear: str
    tuned: Tuned | None = None

    @property
    def means(self) -> dict[str, float]:
        """The mean over the folds, by name."""
        return {name: float(np.mean(values)) for name, values in self.values.items()}

    def to_json(self) -> dict[str, Any]:
        """Describe it in plain JSON types."""
        return {
            "metric": self.metric,
            "folds": max(map(len, self.values.values())),
            "candidates": self.means,
            "spread": {name: list(values) for name, values in self.values.items()},
            "left_out": dict(self.left_out),
            "baseline": self.baseline,
            "linear": self.linear,
            "chosen": self.chosen.name,
        }


def choose(
    trainer: Trainer, prepared: Prepared, steps: Steps, study: Path | None = None
) -> Contest:
    """Let the candidates, a linear model and a baseline compete; tune where that was declared.

    Args:
        trainer: The declaration.
        prepared: The training rows.
        steps: Hears of each fit.
        study: File of the study, so that tuning can be resumed and shared.

    Raises:
        DataError: If a candidate cannot be fitted, or the study cannot be used.
        GateError: If none beats the baseline.
    """
    if trainer.tuning is not None and study is not None:
        require_usable(study)
    folds = trainer.validation(prepared.table)
    rivals = competitors(trainer.candidates, trainer.label.kind, trainer.metric)
    values: dict[str, tuple[float, ...]] = {}
    left_out: dict[str, str] = {}
    for number, rival in enumerate(rivals):
        steps.advance(number, len(rivals), rival.name)
        try:
            values[rival.name] = tuple(value_on(trainer, rival, prepared, fold) for fold in folds)
        except DataError as error:
            if rival.role == "declared":
                raise
            left_out[rival.name] = str(error)
    tuned = None
    if trainer.tuning is not None:
        tuned = tune(trainer, rivals, prepared, folds, values, steps, study=study)
        if tuned is not None:
            values[tuned.competitor.name] = tuned.fold_values
            rivals = (*rivals, tuned.competitor)
    by_name = {rival.name: rival for rival in rivals}
    return Contest(
        metric=trainer.metric,
        values=values,
        left_out=left_out,
        chosen=by_name[_best(trainer, values, by_name)],
        baseline=next(rival.name for rival in rivals if rival.role == "baseline"),
        linear=next((rival.name for rival in rivals if rival.is_linear), ""),
        tuned=tuned,
    )


def _best(
    trainer: Trainer,
    values: Mapping[str, tuple[float, ...]],
    rivals: Mapping[str, Competitor],
) -> str:
    """Return the name of the best; of equals the one that was declared first."""
    sign = trainer.yardstick.sign
    means = {name: sign * float(np.mean(found)) for name, found in values.items()}
    serving = {name: mean for name, mean in means.items() if rivals[name].role != "baseline"}
    best = max(serving, key=lambda name: serving[name])
    trivial = next(name for name in means if rivals[name].role == "baseline")
    if not means[best] > means[trivial]:
        raise GateError(
            f"no candidate for '{trainer.name}' is better than {trivial} on rows held out: "
            f"{best} has {trainer.metric} {sign * means[best]:.4f}, the baseline "
            f"{sign * means[trivial]:.4f}. Nothing was published: look for columns that tell more, "
            "or for more rows"
        )
    return best
