"""Fill what is missing in front of trees that take no missing value.

A number gets its median and a category the code -1, which no vocabulary gives out: so the trees
can tell a missing category from the others. Nothing is scaled, as trees have no use for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn.base
import sklearn.utils
from sklearn.pipeline import Pipeline

from mlembed.training.lowering.encoding import MISSING_CODE
from mlembed.training.lowering.registry import (
    FeatureSpec,
    check,
    decide,
    family_of,
    register,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlembed.training.lowering.graph import Builder


class Filler(sklearn.base.TransformerMixin, sklearn.base.BaseEstimator):  # type: ignore[misc]  # no types
    """Replaces what is missing.

    Args:
        categories: Positions of the columns that hold codes.
    """

    def __init__(self, categories: Sequence[int] = ()) -> None:
        self.categories = categories

    def fit(self, x: NDArray[np.float64], y: Any = None) -> Filler:
        """Learn the medians; a column without any value gets 0."""
        del y
        self.fill_ = np.zeros(x.shape[1])
        for position in np.flatnonzero(~np.isnan(x).all(axis=0)):
            self.fill_[position] = np.nanmedian(x[:, position])
        self.fill_[list(self.categories)] = MISSING_CODE
        return self

    def transform(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return *x* with nothing missing."""
        return np.where(np.isnan(x), self.fill_, x)


class Filled(Pipeline):  # type: ignore[misc]  # no types
    """A filler and the estimator behind it."""


def fill(estimator: Any, specs: Sequence[FeatureSpec]) -> Filled:
    """Put a filler before a clone of *estimator*."""
    categories = [i for i, spec in enumerate(specs) if spec.n_codes]
    return Filled([("fill", Filler(categories)), ("estimator", sklearn.base.clone(estimator))])


def fill_unless_taken(estimator: Any, specs: Sequence[FeatureSpec]) -> Any:
    """Return a clone of *estimator*, behind a filler where it takes no missing value."""
    if sklearn.utils.get_tags(estimator).input_tags.allow_nan:
        return sklearn.base.clone(estimator)
    return fill(estimator, specs)


def _check(estimator: Filled) -> None:
    check(estimator["estimator"])


def _splits(estimator: Filled) -> Any:
    return family_of(estimator["estimator"]).splits(estimator["estimator"])


def _filled(estimator: Filled, builder: Builder, x: str) -> str:
    filler = estimator["fill"]
    filled = builder.node("Where", builder.node("IsNaN", x), builder.constant(filler.fill_), x)
    builder.expect(filled, "what stands for the missing", filler.transform)
    return filled


def _decide(estimator: Filled, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    filled = _filled(estimator, builder, x)
    with builder.behind(estimator["fill"].transform):
        return decide(estimator["estimator"], builder, filled, specs)


@register(Filled, check=_check, splits=_splits, decision=_decide)
def lower_filled(estimator: Filled, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower a fitted filler and the estimator behind it."""
    filled = _filled(estimator, builder, x)
    inner = estimator["estimator"]
    with builder.behind(estimator["fill"].transform):
        return family_of(inner).lower(inner, builder, filled, specs)
