"""Settle on later rows what the fit may not settle on its own: calibration, threshold, interval.

The rows are the newest of the training rows, cut off by the rule of the split itself; neither the
fit nor the measure at the end sees them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from mlembed.errors import DataError, GateError, first_line
from mlembed.training.fitting import fit, scores_of
from mlembed.training.labels import DEFAULT_THRESHOLD
from mlembed.training.lowering import threshold_of
from mlembed.training.several import require_all
from mlembed.training.splits import Fold, split_again
from mlembed.training.threshold import Chosen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.training.competitors import Competitor
    from mlembed.training.conformal import Band
    from mlembed.training.dataset import Dataset
    from mlembed.training.fitting import Prepared
    from mlembed.training.trainer import Trainer

Method = Literal["sigmoid", "isotonic", "temperature"]
METHODS: tuple[Method, ...] = ("sigmoid", "isotonic", "temperature")
_FEWEST = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settled:
    """A fitted estimator and what later rows settled.

    Attributes:
        estimator: The estimator, calibrated where that was declared.
        threshold: Where the label begins, and how that was found; None where it was declared.
        interval: Where the truth lies about the score of a regression, or None.
        sides: Row numbers of the fit and of the later rows, in the training table.
    """

    estimator: Any
    threshold: Chosen | None
    interval: Band | None
    sides: Fold


def fit_and_settle(trainer: Trainer, competitor: Competitor, prepared: Prepared) -> Settled:
    """Fit *competitor*; where the declaration asks, calibrate it and choose threshold and interval.

    Raises:
        DataError: If the table is too small, or scikit-learn refuses it.
        GateError: If no threshold keeps the rule.
    """
    sides = settling_sides(trainer, prepared.table)
    estimator = fit(trainer, competitor, prepared, sides.train)
    later = sides.test
    if trainer.calibration is not None:
        estimator = _calibrated(trainer.calibration, estimator, prepared, later)
    threshold = interval = None
    if len(later):
        y, scores = prepared.y[later], scores_of(estimator, prepared.features[later])
        if trainer.threshold is not None:
            amounts = {
                name: column_of(prepared.table, name)[later] for name in trainer.threshold.columns
            }
            threshold = _useful(trainer.threshold.choose(y, scores, amounts), scores)
        if trainer.interval is not None:
            interval = trainer.interval.fit(y, scores)
    if threshold is None:
        threshold = _own(trainer, estimator)
    return Settled(estimator=estimator, threshold=threshold, interval=interval, sides=sides)


def _own(trainer: Trainer, estimator: Any) -> Chosen | None:
    """Return the threshold that the estimator carries itself, unless the label declares one.

    Raises:
        GateError: If by it every row has one label.
    """
    value = threshold_of(estimator)
    if value is None or trainer.label.threshold != DEFAULT_THRESHOLD:
        return None
    if not 0 < value < 1:
        raise GateError(
            f"the estimator's own threshold is {value:g}, so every row would get one label: give "
            "it another metric to tune by, or declare Binary(threshold=...)"
        )
    return Chosen("estimator", value)


def _useful(chosen: Chosen, scores: NDArray[np.float64]) -> Chosen:
    """Return what was chosen, unless it labels nobody or everybody.

    Raises:
        GateError: If it does: the best that can be done is then to ask no model at all.
    """
    n_labelled = int((scores >= chosen.value).sum())
    if n_labelled in (0, len(scores)):
        whom = "every one" if n_labelled else "none"
        raise GateError(
            f"the threshold by {chosen.rule} labels {whom} of the {len(scores):,} later rows, so "
            "nothing would be gained from the model's answers. Look at what the rule asks, or find "
            "a better model"
        )
    return chosen


def settling_sides(trainer: Trainer, table: Dataset) -> Fold:
    """Return the rows to fit on and the later ones; none are later where nothing is to settle."""
    wanted = (trainer.calibration, trainer.threshold, trainer.interval)
    if all(item is None for item in wanted):
        return Fold(np.arange(len(table)), np.empty(0, np.intp))
    return split_again(trainer.held_out_by, table, trainer.settling_share)


def column_of(table: Dataset, name: str) -> NDArray[Any]:
    """Return a column of the record, or one that was read beside it."""
    return np.asarray(table.columns[name] if name in table.columns else table.extra[name])


def _calibrated(method: Method, estimator: Any, prepared: Prepared, later: NDArray[np.intp]) -> Any:
    y = prepared.y[later].astype(int)
    where = f"calibration '{method}' on the {len(later):,} later rows"
    require_all(prepared.table, prepared.y[later], f"the side of {where}")
    fewest = int(np.unique(y, return_counts=True)[1].min())
    if fewest < _FEWEST:
        raise DataError(
            f"{where} needs {_FEWEST} of each class, one has {fewest}; more rows are needed, or a "
            "greater settling_share"
        )
    calibrated = CalibratedClassifierCV(FrozenEstimator(estimator), method=method)
    try:
        return calibrated.fit(prepared.features[later], y)
    except ValueError as error:
        raise DataError(
            f"{where} failed: {first_line(error)}. More rows are needed, or another method"
        ) from error
