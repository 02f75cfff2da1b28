"""Lower KBinsDiscretizer: the number of edges at or below a value, as a number or one-hot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.preprocessing import KBinsDiscretizer

from mlembed.errors import LoweringError
from mlembed.training.lowering.preprocessing.scalers import numbers
from mlembed.training.lowering.preprocessing.steps import Steps, look_up, one_hot
from mlembed.training.lowering.registry import FeatureSpec, class_name, register_transformer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.graph import Builder


def _check(transformer: Any) -> None:
    if transformer.dtype is not None and np.dtype(transformer.dtype) != np.float64:
        raise LoweringError(
            f"{class_name(transformer)}: dtype is {np.dtype(transformer.dtype)}, to which values "
            "would be rounded before they are binned; use dtype=None"
        )


@register_transformer(KBinsDiscretizer, check=_check)
def lower_bins(
    transformer: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> tuple[str, tuple[FeatureSpec, ...]]:
    """Lower a fitted KBinsDiscretizer; missing stays missing, which scikit-learn refuses."""
    functions = []
    for position, edges in enumerate(transformer.bin_edges_):
        inner = tuple(float(edge) for edge in edges[1:-1])
        functions.append(Steps(position, inner, tuple(map(float, range(len(inner) + 1)))))
    bins = look_up(builder, x, functions)
    if transformer.encode == "ordinal":
        return bins, numbers(specs)
    widths = [int(width) for width in transformer.n_bins_]
    columns = [(i, k) for i, width in enumerate(widths) for k in range(width)]
    hot = one_hot(
        builder, bins, [i for i, _ in columns], [float(k) for _, k in columns], strict=True
    )
    return hot, tuple(FeatureSpec(f"{specs[i].name}={k}") for i, k in columns)
