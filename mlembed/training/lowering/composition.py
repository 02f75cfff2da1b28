"""Lower ColumnTransformer and FeatureUnion, and turn feature names into positions.

An estimator is fitted on a matrix without names, so names are looked up before the fit, on a
clone, as far into a candidate as the features are known by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion

from mlembed.training.lowering.naming import resolve
from mlembed.training.lowering.preprocessing.encoders import transformed
from mlembed.training.lowering.registry import (
    FeatureSpec,
    register_transformer,
    step_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlembed.training.lowering.graph import Builder, Matrix

_Lowered = tuple[str, tuple[FeatureSpec, ...]]
_WORDS = ("drop", "passthrough")


def check_step(transformer: Any) -> None:
    """Tell before any training whether *transformer*, a step of a candidate, can be lowered.

    Raises:
        LoweringError: If its class or one of its settings has no exact ONNX form.
    """
    if transformer is None or (isinstance(transformer, str) and transformer in _WORDS):
        return
    step_of(transformer).check(transformer)


def _check_columns(transformer: Any) -> None:
    for part in transformer.transformers:
        check_step(part[1])
    check_step(transformer.remainder)


def _check_union(union: Any) -> None:
    for _, part in union.transformer_list:
        check_step(part)


def lower_step(
    transformer: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> _Lowered:
    """Lower one fitted step, and note what its output should be."""
    if transformer is None or isinstance(transformer, str):
        return x, tuple(specs)
    matrix, columns = step_of(transformer).lower(transformer, builder, x, specs)
    if matrix != x:
        builder.expect(
            matrix,
            f"{type(transformer).__name__}'s output",
            rows_of(transformer),
        )
    return matrix, columns


def _prepare(transformer: Any, specs: Sequence[FeatureSpec]) -> Any:
    return resolve(transformer, tuple(specs))[0]


@register_transformer(ColumnTransformer, check=_check_columns, prepare=_prepare)
def lower_columns(
    transformer: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> _Lowered:
    """Lower a fitted ColumnTransformer."""
    indices = transformer._transformer_to_input_indices  # noqa: SLF001  no public name
    weights = transformer.transformer_weights or {}
    parts = []
    for name, part, _ in transformer.transformers_:
        positions = [int(position) for position in indices[name]]
        if not positions or (isinstance(part, str) and part == "drop"):
            continue
        chosen = builder.select(x, positions, len(specs))
        with builder.behind(_columns(positions)):
            matrix, columns = lower_step(part, builder, chosen, [specs[p] for p in positions])
        parts.append((_weighted(builder, matrix, weights.get(name)), columns))
    return _joined(builder, x, parts)


@register_transformer(FeatureUnion, check=_check_union, prepare=_prepare)
def lower_union(union: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> _Lowered:
    """Lower a fitted FeatureUnion."""
    weights = union.transformer_weights or {}
    parts = []
    for name, part in union.transformer_list:
        if isinstance(part, str) and part == "drop":
            continue
        matrix, columns = lower_step(part, builder, x, specs)
        parts.append((_weighted(builder, matrix, weights.get(name)), columns))
    return _joined(builder, x, parts)


def rows_of(transformer: Any) -> Callable[[Matrix], Matrix]:
    """Return the function from rows to what the fitted *transformer* makes of them."""
    if transformer is None or isinstance(transformer, str):
        return lambda rows: rows
    return lambda rows: transformed(transformer, rows)


def _columns(positions: Sequence[int]) -> Callable[[Matrix], Matrix]:
    return lambda rows: rows[:, positions]


def _weighted(builder: Builder, matrix: str, weight: float | None) -> str:
    return matrix if weight is None else builder.node("Mul", matrix, builder.constant(weight))


def _joined(builder: Builder, x: str, parts: Sequence[_Lowered]) -> _Lowered:
    columns = tuple(spec for _, specs in parts for spec in specs)
    matrices = [matrix for matrix, _ in parts]
    if not matrices:
        return builder.node("Gather", x, builder.constant([], np.int64), axis=1), ()
    if len(matrices) == 1:
        return matrices[0], columns
    return builder.node("Concat", *matrices, axis=1), columns
