"""Lower PolynomialFeatures: products degree by degree, as scikit-learn multiplies them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto
from sklearn.preprocessing import PolynomialFeatures

from mlembed.training.lowering.registry import FeatureSpec, register_transformer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.graph import Builder

_Term = tuple[int, ...]


@register_transformer(PolynomialFeatures)
def lower_polynomial(
    transformer: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> tuple[str, tuple[FeatureSpec, ...]]:
    """Lower a fitted PolynomialFeatures."""
    terms = [
        tuple(position for position, power in enumerate(row) for _ in range(power))
        for row in transformer.powers_
    ]
    highest = max((len(term) for term in terms), default=0)
    matrices = [ones(builder, x)] if () in terms else []
    matrix, known = x, list[_Term]((position,) for position in range(len(specs)))
    for degree in range(1, highest + 1):
        if degree > 1:
            matrix, known = _times(builder, x, matrix, known, _needed(terms, degree))
        wanted = [known.index(term) for term in terms if len(term) == degree]
        if wanted:
            matrices.append(builder.select(matrix, wanted, len(known)))
    names = tuple(FeatureSpec(" ".join(specs[i].name for i in term) or "1") for term in terms)
    return (matrices[0] if len(matrices) == 1 else builder.node("Concat", *matrices, axis=1)), names


def ones(builder: Builder, x: str) -> str:
    """Add the nodes of a column of ones, as long as *x*."""
    first = builder.node("Gather", x, builder.constant([0], np.int64), axis=1)
    missing = builder.node("IsNaN", first)
    return builder.node("Cast", builder.node("Equal", missing, missing), to=TensorProto.DOUBLE)


def _needed(terms: Sequence[_Term], degree: int) -> list[_Term]:
    """Return the terms of *degree* that are wanted, or end one that is."""
    return sorted({term[-degree:] for term in terms if len(term) >= degree})


def _times(
    builder: Builder, x: str, matrix: str, known: list[_Term], wanted: list[_Term]
) -> tuple[str, list[_Term]]:
    """Multiply terms that are known by one more feature each."""
    rest = builder.node(
        "Gather", matrix, builder.constant([known.index(t[1:]) for t in wanted], np.int64), axis=1
    )
    first = builder.node("Gather", x, builder.constant([t[0] for t in wanted], np.int64), axis=1)
    return builder.node("Mul", rest, first), wanted
