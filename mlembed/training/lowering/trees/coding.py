"""Tell an estimator which columns are categories where its `fit` asks for them.

LightGBM takes them there and nowhere else, and a trainer calls `fit(x, y)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sklearn.base
from sklearn.pipeline import Pipeline

from mlembed.training.lowering.registry import FeatureSpec, check, decide, family_of, register

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.training.lowering.graph import Builder


class Codes(sklearn.base.TransformerMixin, sklearn.base.BaseEstimator):  # type: ignore[misc]  # no types
    """Remembers which columns hold codes, and changes nothing.

    Args:
        categories: Their positions.
    """

    def __init__(self, categories: Sequence[int] = ()) -> None:
        self.categories = categories

    def fit(self, x: NDArray[Any], y: Any = None) -> Codes:
        """Learn nothing."""
        del x, y
        return self

    def transform(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return *x*."""
        return x

    def __sklearn_is_fitted__(self) -> bool:
        """Say yes: there is nothing to fit."""
        return True


class Coded(Pipeline):  # type: ignore[misc]  # no types
    """An estimator that is told its categories by the step before it."""

    def fit(self, X: Any, y: Any = None, **params: Any) -> Coded:  # noqa: N803  scikit-learn's name
        """Fit the estimator, codes as categories."""
        categories = list(self["codes"].categories)
        super().fit(X, y, estimator__categorical_feature=categories, **params)
        return self


def tell_categories(estimator: Any, specs: Sequence[FeatureSpec]) -> Any:
    """Return a clone of *estimator*, behind a step that tells it the categories if there are any."""
    clone = sklearn.base.clone(estimator)
    categories = [i for i, spec in enumerate(specs) if spec.n_codes]
    return Coded([("codes", Codes(categories)), ("estimator", clone)]) if categories else clone


def _check(estimator: Coded) -> None:
    check(estimator["estimator"])


def _splits(estimator: Coded) -> Mapping[int, Sequence[float]]:
    return family_of(estimator["estimator"]).splits(estimator["estimator"])


def _decide(estimator: Coded, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    return decide(estimator["estimator"], builder, x, specs)


@register(Coded, check=_check, splits=_splits, decision=_decide)
def lower_coded(estimator: Coded, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower the fitted estimator alone."""
    inner = estimator["estimator"]
    return family_of(inner).lower(inner, builder, x, specs)
