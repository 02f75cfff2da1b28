"""Give trees behind a logarithm the side of each split that scikit-learn gives them.

Its logarithm and the runtime's differ in the last digit, and boosting splits at the very values
of training rows. A tree reads nothing but the side, so each such column becomes a look-up of the
feature it comes from: one of scikit-learn's own values, on the right side of every split.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier

from mlembed.training.lowering.cuts import cuts
from mlembed.training.lowering.preprocessing.steps import Steps, look_up
from mlembed.training.lowering.registry import family_of
from mlembed.training.lowering.tracing import Source, sources_behind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mlembed.training.lowering.graph import Builder

_READERS: dict[type, Callable[[Any], Iterable[Any]]] = {
    BaggingClassifier: lambda item: item.estimators_,
    BaggingRegressor: lambda item: item.estimators_,
    CalibratedClassifierCV: lambda item: (part.estimator for part in item.calibrated_classifiers_),
    FixedThresholdClassifier: lambda item: [item.estimator_],
    FrozenEstimator: lambda item: [item.estimator],
    OneVsRestClassifier: lambda item: item.estimators_,
    TransformedTargetRegressor: lambda item: [item.regressor_],
    TunedThresholdClassifierCV: lambda item: [item.estimator_],
    VotingClassifier: lambda item: item.estimators_,
    VotingRegressor: lambda item: item.estimators_,
}
_TREES = f"{__package__}.trees"
# LightGBM may take what is as near to 0 as this for missing.
_NEAR_ZERO = float(np.float32(1e-35))


def snap(
    estimator: Any,
    steps: Sequence[Any],
    builder: Builder,
    features: str,
    matrix: str,
    n_features: int,
) -> str:
    """Replace the columns of *matrix* that a fitted tree *estimator* splits inexactly.

    Args:
        estimator: What reads the matrix; any but trees reads it as it is.
        steps: The fitted transformers that made it of *features*.
        builder: The graph.
        features: Tensor of the original features, double[N, n_features].
        matrix: Tensor of what the steps made.
        n_features: Number of original features.
    """
    if not _is_of_trees(estimator):
        return matrix
    sources = sources_behind(steps, n_features)
    order = list(range(len(sources)))
    functions: list[Steps] = []
    for position, thresholds in sorted(family_of(estimator).splits(estimator).items()):
        source = sources[position]
        if source is not None and not source.is_exact:
            order[position] = len(sources) + len(functions)
            functions.append(_sides(source, thresholds))
    if not functions:
        return matrix
    whole = builder.node("Concat", matrix, look_up(builder, features, functions), axis=1)
    return builder.select(whole, order, len(sources) + len(functions))


def _is_of_trees(estimator: Any) -> bool:
    """Tell whether nothing but trees reads the matrix that a fitted *estimator* gets."""
    readers = _READERS.get(type(estimator))
    if readers is None:
        return family_of(estimator).lower.__module__.startswith(_TREES)
    return all(_is_of_trees(reader) for reader in readers(estimator))


def _sides(source: Source, thresholds: Sequence[float]) -> Steps:
    levels = np.array([*thresholds, 0.0, _NEAR_ZERO, -_NEAR_ZERO])
    found = cuts(source, levels)
    edges = np.nextafter(found, math.inf)
    inside = np.append(found, edges[-1:] if len(edges) else 1.0)
    missing = source(np.array([math.nan]))[0]
    return Steps(
        source.position, tuple(edges.tolist()), tuple(source(inside).tolist()), float(missing)
    )
