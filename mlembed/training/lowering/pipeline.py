"""Lower the pipeline that wraps an estimator which takes neither NaN nor codes.

Only the wrapping that `linear_pipeline` makes is accepted, so nothing a user put into a
pipeline of their own can be dropped in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sklearn.pipeline import Pipeline

from mlembed.errors import LoweringError
from mlembed.training.lowering.encoding import lower_encoding, read_encoding
from mlembed.training.lowering.linear import is_linear, lower_encoded_linear
from mlembed.training.lowering.registry import FeatureSpec, check, family_of, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.graph import Builder


def _refuse(estimator: Pipeline) -> None:
    check(estimator.steps[-1][1])
    raise LoweringError(
        "sklearn.pipeline.Pipeline: give the estimator alone; features that need a computation "
        "are declared as transforms, and the trainer adds imputation, scaling and one-hot columns"
    )


@register(Pipeline, check=_refuse)
def lower_pipeline(
    pipeline: Pipeline, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> str:
    """Lower a fitted pipeline that `linear_pipeline` made.

    Raises:
        LoweringError: If it is another pipeline.
    """
    if [name for name, _ in pipeline.steps] != ["encode", "estimator"]:
        _refuse(pipeline)
    encoding, estimator = read_encoding(pipeline), pipeline["estimator"]
    if is_linear(estimator):
        return lower_encoded_linear(estimator, builder, x, encoding, specs)
    matrix, columns = lower_encoding(builder, x, encoding, specs)
    return family_of(estimator).lower(estimator, builder, matrix, columns)
