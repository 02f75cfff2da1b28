"""Hold a label of several classes to what a table and an estimator make of it.

The probabilities of a graph stand in the order of the classes, so an estimator that has not seen
one of them would put every probability behind it in the wrong place.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from mlembed.errors import DataError
from mlembed.training.labels import Multiclass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.training.dataset import Dataset
    from mlembed.training.trainer import Trainer

_FEWEST = 3


def with_classes(trainer: Trainer, table: Dataset) -> Trainer:
    """Return the declaration with the classes that *table* taught, where its label has several.

    Raises:
        DataError: If there are two classes only.
    """
    if not isinstance(trainer.label, Multiclass):
        return trainer
    if len(table.classes) < _FEWEST:
        raise DataError(
            f"label '{trainer.label.column}' has two classes; expected three or more: declare "
            "Binary(positive=...), which has a threshold and a calibration as well"
        )
    label = dataclasses.replace(trainer.label, classes=table.classes)
    return dataclasses.replace(trainer, label=label)


def require_all(table: Dataset, y: NDArray[np.float64], where: str) -> None:
    """Refuse to fit on labels *y*, `(n,)`, that lack a class of *table*.

    Raises:
        DataError: Naming the classes that are not there.
    """
    if not table.classes:
        return
    lacking = sorted(set(range(len(table.classes))) - set(np.unique(y).astype(int).tolist()))
    if lacking:
        named = ", ".join(f"'{table.classes[place]}'" for place in lacking)
        raise DataError(
            f"{where} has no row of class {named}: join rare classes, hold out fewer rows, or ask "
            "for fewer folds"
        )
