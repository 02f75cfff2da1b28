"""Refuse, with the reason and the remedy, what looks as if it could be lowered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)

from mlembed.errors import LoweringError
from mlembed.training.lowering.registry import FeatureSpec, class_name, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.graph import Builder

_NEIGHBOURS = (
    "which of several rows at one distance are neighbours depends on how the training rows are "
    "stored, and they would all travel in the graph; use a forest or gradient boosting"
)
_PROCESSES = (
    "its sums over the training rows cancel, so that no two programs agree to 1e-9; "
    "use SVR, splines in front of Ridge, or gradient boosting"
)
_REASONS: dict[type, str] = {
    GaussianProcessClassifier: _PROCESSES,
    GaussianProcessRegressor: _PROCESSES,
    KNeighborsClassifier: _NEIGHBOURS,
    KNeighborsRegressor: _NEIGHBOURS,
    RadiusNeighborsClassifier: _NEIGHBOURS,
    RadiusNeighborsRegressor: _NEIGHBOURS,
}


def _refuse(estimator: Any) -> NoReturn:
    raise LoweringError(f"{class_name(estimator)}: {_REASONS[type(estimator)]}")


@register(*_REASONS, check=_refuse, refused=True)
def lower_refused(
    estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> NoReturn:
    """Refuse the estimator.

    Raises:
        LoweringError: Always.
    """
    del builder, x, specs
    _refuse(estimator)
