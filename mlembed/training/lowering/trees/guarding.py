"""Guard trees from values they refuse, so that a row which is served can also be proved.

Estimators that cast to float32 refuse what is larger than any of its numbers, and some refuse
what is missing. A large value is bounded, which changes no branch, so the graph has no node for
it. A missing number gets its median and a missing category the code -1, which no vocabulary gives
out: trees can tell it from the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn.base
import sklearn.utils
from sklearn.pipeline import Pipeline

from mlembed.training.lowering.encoding import MISSING_CODE
from mlembed.training.lowering.registry import FeatureSpec, check, decide, family_of, register

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.training.lowering.graph import Builder
    from mlembed.training.lowering.registry import Lower

_LARGEST = float(np.finfo(np.float32).max)


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


class Bounds(sklearn.base.TransformerMixin, sklearn.base.BaseEstimator):  # type: ignore[misc]  # no types
    """Keeps values within those of float32."""

    def fit(self, x: NDArray[np.float64], y: Any = None) -> Bounds:
        """Learn nothing."""
        del x, y
        return self

    def transform(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return *x* with the largest float32 for what is larger, on either side of zero."""
        return np.clip(x, -_LARGEST, _LARGEST)

    def __sklearn_is_fitted__(self) -> bool:
        """Say yes: there is nothing to fit."""
        return True


class Guarded(Pipeline):  # type: ignore[misc]  # no types
    """An estimator behind bounds and, where it takes nothing missing, a filler."""

    def fit(self, X: Any, y: Any = None, **params: Any) -> Guarded:  # noqa: N803  scikit-learn's name
        """Fit the steps; scikit-learn looks for NaN in sums, which may overflow without harm."""
        with np.errstate(over="ignore", invalid="ignore"):
            super().fit(X, y, **params)
        return self


def guard(estimator: Any, specs: Sequence[FeatureSpec]) -> Guarded:
    """Put what *estimator* needs before a clone of it."""
    steps: list[tuple[str, Any]] = [("bounds", Bounds())]
    if not sklearn.utils.get_tags(estimator).input_tags.allow_nan:
        categories = [i for i, spec in enumerate(specs) if spec.n_codes]
        steps.insert(0, ("fill", Filler(categories)))
    return Guarded([*steps, ("estimator", sklearn.base.clone(estimator))])


def _check(estimator: Guarded) -> None:
    check(estimator["estimator"])


def _splits(estimator: Guarded) -> Mapping[int, Sequence[float]]:
    return family_of(estimator["estimator"]).splits(estimator["estimator"])


def _decide(estimator: Guarded, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    return _behind(decide, estimator, builder, x, specs)


@register(Guarded, check=_check, splits=_splits, decision=_decide)
def lower_guarded(
    estimator: Guarded, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> str:
    """Lower a fitted estimator and the filler before it."""
    return _behind(family_of(estimator["estimator"]).lower, estimator, builder, x, specs)


def _behind(
    lower: Lower, estimator: Guarded, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> str:
    filler = estimator.named_steps.get("fill")
    if filler is not None:
        x = builder.node("Where", builder.node("IsNaN", x), builder.constant(filler.fill_), x)
        builder.expect(x, "the filled features", filler.transform)
    with builder.behind(estimator[:-1].transform):
        return lower(estimator["estimator"], builder, x, specs)
