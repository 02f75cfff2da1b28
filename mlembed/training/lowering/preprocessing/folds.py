"""The folds a TargetEncoder encodes its training rows with, drawn from a seed.

scikit-learn 1.9 draws them from the global generator unless it is given a splitter, so that the
same input would not give the same model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sklearn.base
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils.multiclass import type_of_target

if TYPE_CHECKING:
    from collections.abc import Iterator


class SeededFolds(sklearn.base.BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Shuffled folds, stratified where the target is classes.

    It has `random_state` among its parameters, which a trainer sets with those of estimators.

    Args:
        n_splits: Number of folds.
        stratify: Whether classes are spread evenly.
        random_state: Seed of the shuffle.
    """

    def __init__(
        self, n_splits: int = 5, *, stratify: bool = True, random_state: int | None = None
    ) -> None:
        self.n_splits = n_splits
        self.stratify = stratify
        self.random_state = random_state

    def get_n_splits(self, x: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        del x, y, groups
        return self.n_splits

    def split(self, x: Any, y: Any = None, groups: Any = None) -> Iterator[Any]:
        """Yield positions to learn from and to encode, for each fold."""
        by_class = self.stratify and type_of_target(y) in ("binary", "multiclass")
        folds = (StratifiedKFold if by_class else KFold)(
            self.n_splits, shuffle=True, random_state=self.random_state
        )
        yield from folds.split(x, y, groups)


def with_seeded_folds(encoder: Any) -> Any:
    """Return a clone of a TargetEncoder whose folds come from a seed that can be set."""
    clone = sklearn.base.clone(encoder)
    if "deprecated" in (encoder.random_state, encoder.shuffle) and isinstance(encoder.cv, int):
        stratify = encoder.target_type != "continuous"
        clone.set_params(cv=SeededFolds(encoder.cv, stratify=stratify))
    return clone
