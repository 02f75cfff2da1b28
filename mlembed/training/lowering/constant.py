"""Lower the trivial baselines: one score for every row, whatever the row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor

from mlembed.errors import LoweringError
from mlembed.training.lowering.registry import FeatureSpec, class_name, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.graph import Builder

_BINARY = 2


def _check(estimator: Any) -> None:
    if estimator.strategy == "stratified":
        raise LoweringError(
            f"{class_name(estimator)}: strategy='stratified' draws scores at random; "
            "use strategy='prior'"
        )


@register(DummyClassifier, check=_check)
def lower_dummy_classifier(
    estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> str:
    """Lower a fitted DummyClassifier."""
    _check(estimator)
    row = estimator.predict_proba(np.zeros((1, len(specs))))
    return _everywhere(builder, x, row[:, 1:] if row.shape[1] == _BINARY else row)


@register(DummyRegressor)
def lower_dummy_regressor(
    estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> str:
    """Lower a fitted DummyRegressor."""
    return _everywhere(builder, x, estimator.predict(np.zeros((1, len(specs))))[:, np.newaxis])


def _everywhere(builder: Builder, x: str, row: Any) -> str:
    length = builder.node("Shape", x, start=0, end=1)
    shape = builder.node("Concat", length, builder.constant([1], np.int64), axis=0)
    return builder.node("Expand", builder.constant(row), shape)
