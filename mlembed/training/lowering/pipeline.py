"""Lower pipelines: the user's own, step by step, and the wrapping of `linear_pipeline`.

The wrapping has a class of its own, so a user's pipeline is never taken for one.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from mlembed.errors import LoweringError
from mlembed.training.lowering import registry
from mlembed.training.lowering.composition import check_step, lower_step, rows_of
from mlembed.training.lowering.encoding import LinearPipeline, lower_encoding, read_encoding
from mlembed.training.lowering.linear import is_encodable, lower_encoded_linear
from mlembed.training.lowering.naming import resolve, resolve_estimator
from mlembed.training.lowering.registry import (
    FeatureSpec,
    class_name,
    decide,
    family_of,
    register,
    register_transformer,
)
from mlembed.training.lowering.snapping import snap
from mlembed.training.lowering.tracing import trace_back

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlembed.training.lowering.graph import Builder

# Settings of steps that make their output dense.
_DENSE = {"sparse_threshold": 0, "sparse_output": False}
_Lowered = tuple[str, tuple[FeatureSpec, ...]]


def _check(pipeline: Pipeline) -> None:
    _check_options(pipeline)
    for _, step in pipeline.steps[:-1]:
        check_step(step)
    last = pipeline.steps[-1][1]
    if not hasattr(last, "predict"):
        raise LoweringError(
            f"{class_name(pipeline)}: its last step is "
            f"{last if last is None or isinstance(last, str) else class_name(last)}, which predicts"
            " nothing; end it with a classifier or a regressor"
        )
    registry.check(last)


def _check_steps(pipeline: Pipeline) -> None:
    _check_options(pipeline)
    for _, step in pipeline.steps:
        check_step(step)


def _check_options(pipeline: Pipeline) -> None:
    if pipeline.memory is not None:
        raise LoweringError(
            f"{class_name(pipeline)}: memory keeps fitted steps as pickles on disk; use memory=None"
        )
    if getattr(pipeline, "transform_input", None):
        raise LoweringError(
            f"{class_name(pipeline)}: transform_input passes on data that no row holds; "
            "use transform_input=None"
        )


def _prepare(pipeline: Pipeline, specs: Sequence[FeatureSpec]) -> Pipeline:
    prepared = resolve_estimator(pipeline, tuple(specs))
    if not get_tags(_flat(prepared)[-1]).input_tags.sparse:
        _make_dense(prepared)
    return prepared


def _make_dense(pipeline: Pipeline) -> None:
    """Make every step's output dense, for an estimator that takes no other.

    Whether a ColumnTransformer's is depends on how many zeros the data have.
    """
    changed: dict[str, Any] = {}
    for name, value in pipeline.get_params().items():
        setting = name.rpartition("__")[2]
        if setting in _DENSE and value != _DENSE[setting]:
            changed[name] = _DENSE[setting]
        elif setting == "encode" and value == "onehot":
            changed[name] = "onehot-dense"
    pipeline.set_params(**changed)


def _prepare_steps(pipeline: Pipeline, specs: Sequence[FeatureSpec]) -> Pipeline:
    return resolve(pipeline, tuple(specs))[0]


def _lower(
    pipeline: Pipeline,
    builder: Builder,
    x: str,
    specs: Sequence[FeatureSpec],
    last: Callable[[Any, Builder, str, Sequence[FeatureSpec]], str],
) -> str:
    *steps, estimator = _flat(pipeline)
    matrix, columns = x, specs
    with contextlib.ExitStack() as behind:
        for step in steps:
            matrix, columns = lower_step(step, builder, matrix, columns)
            behind.enter_context(builder.behind(rows_of(step)))
        matrix = snap(estimator, steps, builder, x, matrix, len(specs))
        return last(estimator, builder, matrix, columns)


def _flat(pipeline: Pipeline) -> list[Any]:
    """Return the steps, those of a pipeline at the end included."""
    *steps, last = (step for _, step in pipeline.steps)
    return [*steps, *(_flat(last) if type(last) is Pipeline else [last])]


def _decide(pipeline: Pipeline, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    return _lower(pipeline, builder, x, specs, decide)


def _splits(pipeline: Pipeline) -> Mapping[int, Sequence[float]]:
    *steps, estimator = _flat(pipeline)
    thresholds = family_of(estimator).splits(estimator)
    if not thresholds or not steps:
        return thresholds
    n_features = next(int(step.n_features_in_) for step in steps if hasattr(step, "n_features_in_"))
    return trace_back(steps, thresholds, n_features)


@register(Pipeline, check=_check, prepare=_prepare, splits=_splits, decision=_decide)
def lower_pipeline(
    pipeline: Pipeline, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> str:
    """Lower a fitted pipeline that ends with an estimator.

    Raises:
        LoweringError: If one of its steps has no exact ONNX form.
    """
    return _lower(
        pipeline, builder, x, specs, lambda last, *rest: family_of(last).lower(last, *rest)
    )


@register_transformer(Pipeline, check=_check_steps, prepare=_prepare_steps)
def lower_transforming_pipeline(
    pipeline: Pipeline, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> _Lowered:
    """Lower a fitted pipeline of transformers alone."""
    with contextlib.ExitStack() as behind:
        for _, step in pipeline.steps:
            x, specs = lower_step(step, builder, x, specs)
            behind.enter_context(builder.behind(rows_of(step)))
    return x, tuple(specs)


def _decide_wrapped(
    pipeline: Pipeline, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> str:
    matrix, columns = lower_encoding(builder, x, read_encoding(pipeline), specs)
    with builder.behind(rows_of(pipeline["encode"])):
        return decide(pipeline["estimator"], builder, matrix, columns)


@register(LinearPipeline, decision=_decide_wrapped)
def lower_wrapped(
    pipeline: Pipeline, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> str:
    """Lower a fitted pipeline that `linear_pipeline` made."""
    encoding, estimator = read_encoding(pipeline), pipeline["estimator"]
    if is_encodable(estimator):
        return lower_encoded_linear(estimator, builder, x, encoding, specs)
    matrix, columns = lower_encoding(builder, x, encoding, specs)
    with builder.behind(rows_of(pipeline["encode"])):
        return family_of(estimator).lower(estimator, builder, matrix, columns)
