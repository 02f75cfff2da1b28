"""Lower feature selection: whatever chose the columns, the graph takes those."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.feature_selection import (
    RFE,
    RFECV,
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
)

from mlembed.errors import LoweringError
from mlembed.training.lowering.registry import FeatureSpec, class_name, register_transformer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.graph import Builder


def _check(selector: Any) -> None:
    if getattr(selector, "prefit", False):
        raise LoweringError(
            f"{class_name(selector)}: prefit=True asks for an estimator fitted on other rows, "
            "and training fits clones; use prefit=False"
        )


@register_transformer(
    GenericUnivariateSelect,
    RFE,
    RFECV,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
    check=_check,
)
def lower_selection(
    selector: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> tuple[str, tuple[FeatureSpec, ...]]:
    """Lower a fitted selector."""
    kept = [int(position) for position in selector.get_support(indices=True)]
    return builder.select(x, kept, len(specs)), tuple(specs[position] for position in kept)
