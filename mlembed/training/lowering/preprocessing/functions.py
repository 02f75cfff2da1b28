"""Lower FunctionTransformer for a closed list of functions; any other is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.preprocessing import FunctionTransformer

from mlembed.errors import LoweringError
from mlembed.training.lowering.preprocessing.accurate import expm1, log1p
from mlembed.training.lowering.registry import FeatureSpec, class_name, register_transformer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlembed.training.lowering.graph import Builder

_FUNCTIONS: dict[Any, Callable[[Builder, str], str]] = {
    None: lambda _, x: x,
    np.log1p: log1p,
    np.expm1: expm1,
    np.sqrt: lambda builder, x: builder.node("Sqrt", x),
    np.abs: lambda builder, x: builder.node("Abs", x),
}


def _check(transformer: Any) -> None:
    try:
        known = transformer.func in _FUNCTIONS
    except TypeError:  # a callable object without a hash
        known = False
    if not known or transformer.kw_args:
        name = getattr(transformer.func, "__name__", type(transformer.func).__name__)
        raise LoweringError(
            f"{class_name(transformer)}: {name}{' with kw_args' if transformer.kw_args else ''} "
            "has no exact ONNX form here; use numpy.log1p, expm1, sqrt, abs or None, "
            "or declare the feature as a transform"
        )


@register_transformer(FunctionTransformer, check=_check)
def lower_function(
    transformer: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> tuple[str, tuple[FeatureSpec, ...]]:
    """Lower a FunctionTransformer of a known function.

    Raises:
        LoweringError: If the function is another one.
    """
    _check(transformer)
    result = _FUNCTIONS[transformer.func](builder, x)
    if transformer.func is None:
        return result, tuple(specs)
    return result, tuple(FeatureSpec(spec.name) for spec in specs)
