"""Fit histogram gradient boosting where a column holds no value, or hardly any.

scikit-learn 1.9 cannot cut bins without a value to cut at. The trees are those of the estimator
without such columns, so what stands in them when predicting has no say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Columns with fewer values than this, or in fewer of the rows, are nearly empty.
_SCARCE, _SCARCE_SHARE = 20, 0.001


class EmptyColumnsClassifier(HistGradientBoostingClassifier):  # type: ignore[misc]  # no types
    """The same classifier, which can also be fitted where a column is missing throughout."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **validation: Any) -> Any:  # noqa: N803  scikit-learn's name
        """Fit without the columns that hold no value; scikit-learn 1.9 cannot bin them."""
        return _fit_around(super().fit, np.asarray(X), y, sample_weight, **validation)


class EmptyColumnsRegressor(HistGradientBoostingRegressor):  # type: ignore[misc]  # no types
    """The same regressor, which can also be fitted where a column is missing throughout."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **validation: Any) -> Any:  # noqa: N803  scikit-learn's name
        """Fit without the columns that hold no value; scikit-learn 1.9 cannot bin them."""
        return _fit_around(super().fit, np.asarray(X), y, sample_weight, **validation)


# What scikit-learn's own messages call them: the class that was declared.
EmptyColumnsClassifier.__name__ = HistGradientBoostingClassifier.__name__
EmptyColumnsRegressor.__name__ = HistGradientBoostingRegressor.__name__


def _fit_around(fit: Callable[..., Any], x: NDArray[np.float64], *rest: Any, **named: Any) -> Any:
    """Fit on *x* without its empty columns, or without those that are nearly so where that fails.

    Bins are cut on a sample of the rows, and it may hold no value of a column that is nearly empty.
    """
    n_seen = np.count_nonzero(~np.isnan(x), axis=0)
    scarce = n_seen < max(_SCARCE, len(x) * _SCARCE_SHARE)
    try:
        return fit(_without(x, n_seen == 0), *rest, **named)
    except ValueError:
        if not scarce[n_seen > 0].any():
            raise
        return fit(_without(x, scarce), *rest, **named)


def _without(x: NDArray[np.float64], columns: NDArray[np.bool_]) -> NDArray[np.float64]:
    # No tree splits a column of one value, so what stands in it when predicting has no say.
    return np.where(columns, 0.0, x) if columns.any() else x
