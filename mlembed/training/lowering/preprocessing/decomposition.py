"""Lower PCA and TruncatedSVD: one product, centred after it as scikit-learn does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.decomposition import PCA, TruncatedSVD

from mlembed.training.lowering.registry import FeatureSpec, register_transformer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.graph import Builder

_Lowered = tuple[str, tuple[FeatureSpec, ...]]


@register_transformer(PCA)
def lower_pca(pca: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> _Lowered:
    """Lower a fitted PCA."""
    del specs
    result = builder.node("MatMul", x, builder.constant(pca.components_.T))
    centre = np.reshape(pca.mean_, (1, -1)) @ pca.components_.T
    result = builder.node("Sub", result, builder.constant(centre))
    if pca.whiten:
        scale = np.maximum(np.sqrt(pca.explained_variance_), np.finfo(np.float64).eps)
        result = builder.node("Div", result, builder.constant(scale))
    return result, _names("pca", len(pca.components_))


@register_transformer(TruncatedSVD)
def lower_svd(svd: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> _Lowered:
    """Lower a fitted TruncatedSVD."""
    del specs
    result = builder.node("MatMul", x, builder.constant(svd.components_.T))
    return result, _names("svd", len(svd.components_))


def _names(stem: str, width: int) -> tuple[FeatureSpec, ...]:
    return tuple(FeatureSpec(f"{stem}{number}") for number in range(width))
