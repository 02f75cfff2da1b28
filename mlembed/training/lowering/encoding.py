"""Wrap an estimator that takes neither NaN nor codes, and read the fitted wrapping back.

Numbers: median for the missing, then zero mean and unit variance. Categories: one column a
code, one for the missing, none for a code the vocabulary does not hold.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn.base
from onnx import TensorProto
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import get_tags

from mlembed.training.lowering.registry import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlembed.training.lowering.graph import Builder

MISSING_CODE = -1.0
_SPARSE = 0.3  # share of cells that are not 0, below which a matrix is sparse


@dataclasses.dataclass(frozen=True, slots=True)
class Encoding:
    """The fitted constants of the wrapping.

    Attributes:
        numbers: Positions of the numeric features.
        categories: Positions of the categories.
        fill: What replaces a missing number, one a numeric feature.
        mean: What is subtracted, one a numeric feature.
        scale: What it is divided by, one a numeric feature.
        codes: Codes that have a column, one array a category.
    """

    numbers: tuple[int, ...]
    categories: tuple[int, ...]
    fill: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    codes: tuple[NDArray[np.float64], ...]


class LinearPipeline(Pipeline):  # type: ignore[misc]  # scikit-learn has no types
    """A pipeline that `linear_pipeline` made; a user's own never has this class."""


def linear_pipeline(estimator: Any, specs: Sequence[FeatureSpec]) -> LinearPipeline:
    """Wrap a clone of *estimator* so that it can be fitted on NaN and codes.

    Columns that are missing throughout are kept and filled with 0, so the matrix keeps its width.
    One-hot columns stay sparse where the estimator takes them so, which fits several times faster.
    """
    sparse = bool(get_tags(estimator).input_tags.sparse)
    numbers = [i for i, spec in enumerate(specs) if not spec.n_codes]
    categories = [i for i, spec in enumerate(specs) if spec.n_codes]
    codes = [np.arange(MISSING_CODE, specs[i].n_codes) for i in categories]
    scaling = Pipeline(
        [
            ("impute", SimpleImputer(strategy="median", keep_empty_features=True)),
            ("scale", StandardScaler()),
        ]
    )
    one_hot = Pipeline(
        [
            (
                "impute",
                SimpleImputer(
                    strategy="constant", fill_value=MISSING_CODE, keep_empty_features=True
                ),
            ),
            (
                "encode",
                OneHotEncoder(categories=codes, handle_unknown="ignore", sparse_output=sparse),
            ),
        ]
    )
    parts = [("numbers", scaling, numbers), ("categories", one_hot, categories)]
    encode = ColumnTransformer(
        [part for part in parts if part[2]], sparse_threshold=_SPARSE if sparse else 0
    )
    return LinearPipeline([("encode", encode), ("estimator", sklearn.base.clone(estimator))])


def read_encoding(pipeline: Pipeline) -> Encoding:
    """Return the fitted constants of what `linear_pipeline` made."""
    parts = {name: (part, columns) for name, part, columns in pipeline["encode"].transformers_}
    scaling, numbers = parts.get("numbers", (None, ()))
    one_hot, categories = parts.get("categories", (None, ()))
    nothing = np.empty(0)
    return Encoding(
        numbers=tuple(numbers),
        categories=tuple(categories),
        fill=scaling["impute"].statistics_ if scaling else nothing,
        mean=scaling["scale"].mean_ if scaling else nothing,
        scale=scaling["scale"].scale_ if scaling else nothing,
        codes=tuple(one_hot["encode"].categories_) if one_hot else (),
    )


def lower_encoding(
    builder: Builder, x: str, encoding: Encoding, specs: Sequence[FeatureSpec]
) -> tuple[str, tuple[FeatureSpec, ...]]:
    """Add the nodes of the wrapping; return its matrix of doubles and what its columns are."""
    parts = []
    if encoding.numbers:
        numbers = builder.select(x, encoding.numbers, len(specs))
        filled = builder.node(
            "Where", builder.node("IsNaN", numbers), builder.constant(encoding.fill), numbers
        )
        centred = builder.node("Sub", filled, builder.constant(encoding.mean))
        parts.append(builder.node("Div", centred, builder.constant(encoding.scale)))
    if encoding.categories:
        spread = [
            position
            for position, codes in zip(encoding.categories, encoding.codes, strict=True)
            for _ in codes
        ]
        repeated = builder.select(x, spread, len(specs))
        filled = builder.node(
            "Where", builder.node("IsNaN", repeated), builder.constant(MISSING_CODE), repeated
        )
        codes = builder.constant(np.concatenate(encoding.codes))
        parts.append(
            builder.node("Cast", builder.node("Equal", filled, codes), to=TensorProto.DOUBLE)
        )
    matrix = parts[0] if len(parts) == 1 else builder.node("Concat", *parts, axis=1)
    names = [specs[position].name for position in encoding.numbers] + [
        f"{specs[position].name}={code:g}"
        for position, codes in zip(encoding.categories, encoding.codes, strict=True)
        for code in codes
    ]
    return matrix, tuple(FeatureSpec(name) for name in names)
