"""Turn declared transforms and a fitted estimator into one ONNX graph, exactly.

The graph that computes the training matrix and the graph that serves begin with the same
nodes, so a feature cannot differ between the two; what has no exact form is refused by name.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mlembed.errors import LoweringError
from mlembed.training.lowering import (
    calibration,
    committees,
    constant,
    gaussian,
    isotonic,
    linear,
    neural,
    pipeline,
    refused,
    sklearn_onnx,
    trees,
    vectors,
    wrappers,
)
from mlembed.training.lowering.encoding import linear_pipeline
from mlembed.training.lowering.graph import INPUT, Builder, Checkpoint, serialize
from mlembed.training.lowering.registry import (
    FeatureSpec,
    check,
    decide,
    family_of,
    prepare,
    register,
    register_transformer,
    registered,
    split_values,
    step_of,
)
from mlembed.training.lowering.transforms import lower_transforms
from mlembed.training.lowering.trees import native_categories
from mlembed.training.lowering.wrappers import threshold_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import ModelProto

    from mlembed.columns import Column
    from mlembed.features import Transform

__all__ = [
    "Builder",
    "Checkpoint",
    "FeatureSpec",
    "check",
    "decide",
    "family_of",
    "feature_specs",
    "linear_pipeline",
    "lower",
    "lower_estimator",
    "lower_features",
    "native_categories",
    "prepare",
    "register",
    "register_transformer",
    "registered",
    "serialize",
    "split_values",
    "step_of",
    "threshold_of",
    "trace",
]

BUILT_IN = (
    *(calibration, committees, constant, gaussian, isotonic, linear, neural, pipeline),
    *(refused, sklearn_onnx, trees, vectors, wrappers),
)


def lower(
    estimator: Any,
    columns: Sequence[Column],
    transforms: Mapping[str, Transform],
    features: Sequence[str],
) -> ModelProto:
    """Lower a fitted estimator and the features it reads.

    Args:
        estimator: Fitted on the matrix of `lower_features`; made by `prepare`.
        columns: The columns of the row, in order.
        transforms: Declared transforms by name.
        features: Names of the estimator's features, in the order of its matrix.

    Returns:
        A graph from `x`, double[N, n_columns], to `score`, double[N, 1]: the probability of the
        second class, or the predicted value; double[N, n_classes] where there are more than two.

    Raises:
        LoweringError: If the estimator or a feature has no exact ONNX form.
    """
    return trace(estimator, columns, transforms, features)[0]


def trace(
    estimator: Any,
    columns: Sequence[Column],
    transforms: Mapping[str, Transform],
    features: Sequence[str],
) -> tuple[ModelProto, tuple[Checkpoint, ...]]:
    """Lower as `lower` does, and return the graph with the tensors whose right value is known."""
    specs = feature_specs(columns, transforms, features)
    builder, matrix = _start(columns, transforms, features)
    return _finish(estimator, builder, matrix, specs)


def lower_estimator(
    estimator: Any, specs: Sequence[FeatureSpec]
) -> tuple[ModelProto, tuple[Checkpoint, ...]]:
    """Lower a fitted estimator alone, with the nodes that `lower` ends with.

    Returns:
        A graph from `x`, double[N, n_features], to `score`, and the tensors whose right value is
        known.

    Raises:
        LoweringError: If the estimator has no exact ONNX form.
    """
    return _finish(estimator, Builder(len(specs)), INPUT, specs)


def _finish(
    estimator: Any, builder: Builder, matrix: str, specs: Sequence[FeatureSpec]
) -> tuple[ModelProto, tuple[Checkpoint, ...]]:
    score = family_of(estimator).lower(estimator, builder, matrix, specs)
    n_classes = len(getattr(estimator, "classes_", ()))
    width = n_classes if n_classes > 2 else 1  # noqa: PLR2004  two classes have one score
    model = builder.model(score, "score", width)
    return model, tuple(builder.checkpoints)


def lower_features(
    columns: Sequence[Column], transforms: Mapping[str, Transform], features: Sequence[str]
) -> ModelProto:
    """Lower the features alone, with the nodes that `lower` begins with.

    Returns:
        A graph from `x`, double[N, n_columns], to `features`, double[N, n_features].

    Raises:
        LoweringError: If a feature has no exact ONNX form.
    """
    feature_specs(columns, transforms, features)
    builder, matrix = _start(columns, transforms, features)
    return builder.model(matrix, "features", len(features))


def feature_specs(
    columns: Sequence[Column], transforms: Mapping[str, Transform], features: Sequence[str]
) -> tuple[FeatureSpec, ...]:
    """Check the names and return what each feature is, in order.

    Raises:
        LoweringError: If a feature is not declared, or is declared or used twice, or a transform
            reads what is not a column with a quantity; lists all such problems.
    """
    n_codes = {column.name: column.n_codes for column in columns}
    kinds = {column.name: column.kind for column in columns}
    problems = [] if features else ["there are no features"]
    for name, item in transforms.items():
        problems += [
            f"transform '{name}' reads '{source}', which is {kinds.get(source, 'no column')}"
            for source in item.columns()
            if kinds.get(source, "category") == "category"
        ]
        for feature in item.feature_names(name):
            if feature in n_codes:
                problems.append(f"'{feature}' is declared twice")
            n_codes[feature] = 0
    problems += [f"'{name}' is no column or transform" for name in features if name not in n_codes]
    problems += [f"'{name}' is used twice" for name, n in Counter(features).items() if n > 1]
    if problems:
        raise LoweringError(
            f"features cannot be computed: {'; '.join(problems)}. "
            f"Declared are {', '.join(n_codes)}; transforms read numbers, not categories"
        )
    return tuple(FeatureSpec(name, n_codes[name]) for name in features)


def _start(
    columns: Sequence[Column], transforms: Mapping[str, Transform], features: Sequence[str]
) -> tuple[Builder, str]:
    builder = Builder(len(columns))
    return builder, lower_transforms(builder, [c.name for c in columns], transforms, features)
