"""Measure a competitor on rows that it was not fitted on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlembed.errors import DataError
from mlembed.training.fitting import fit, scores_of

if TYPE_CHECKING:
    from mlembed.training.competitors import Competitor
    from mlembed.training.fitting import Prepared
    from mlembed.training.folds import Fold
    from mlembed.training.trainer import Trainer


def value_on(trainer: Trainer, rival: Competitor, prepared: Prepared, fold: Fold) -> float:
    """Return the metric of *rival* on the rows held out by *fold*, fitted on its other side.

    Raises:
        DataError: If it cannot be fitted, or its scores or their metric are no finite numbers.
    """
    estimator = fit(trainer, rival, prepared, fold.train)
    scores = scores_of(estimator, prepared.features[fold.test])
    if not np.isfinite(scores).all():
        raise DataError(
            f"{rival.name} gives scores that are no finite numbers: declare one that takes smaller "
            "steps or is held back more, or take the logarithm of wide columns"
        )
    with np.errstate(all="ignore"):
        value = trainer.yardstick.of(prepared.y[fold.test], scores)
    if not np.isfinite(value):
        raise DataError(
            f"{trainer.metric} of {rival.name} is no finite number on rows held out: declare another "
            "metric, or fewer folds"
        )
    return value
