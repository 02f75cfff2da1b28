"""Lower one-hot, ordinal and target encoders as look-ups of codes.

The tables are read off the fitted encoder's own `transform`, value by value, so buckets for rare
categories, dropped columns and the ways of the unknown are scikit-learn's by construction.
"""

from __future__ import annotations

import itertools
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn.base
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from mlembed.errors import LoweringError
from mlembed.training.lowering.preprocessing.folds import with_seeded_folds
from mlembed.training.lowering.preprocessing.steps import at_values, look_up, one_hot
from mlembed.training.lowering.registry import FeatureSpec, class_name, register_transformer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlembed.training.lowering.graph import Builder

    Matrix = NDArray[np.float64]

_Lowered = tuple[str, tuple[FeatureSpec, ...]]
_NONE = -1.0


def dense(matrix: Any) -> Matrix:
    """Return *matrix*, sparse or not, as an array of doubles."""
    whole = matrix.toarray() if hasattr(matrix, "toarray") else matrix
    return np.asarray(whole, dtype=np.float64)


def _check(encoder: Any) -> None:
    dtype = np.dtype(encoder.dtype)
    if dtype.kind == "f" and dtype != np.float64:
        raise LoweringError(
            f"{class_name(encoder)}: dtype is {dtype}, in which scores would be rounded; "
            "use dtype=numpy.float64"
        )


def _prepare(encoder: Any, specs: Sequence[FeatureSpec]) -> Any:
    names = [spec.name for spec in specs if spec.n_codes]
    if encoder.handle_unknown == "error" and names:
        raise LoweringError(
            f"{class_name(encoder)}: handle_unknown='error' refuses categories the fit never saw, "
            f"and {', '.join(names)} may have some; use "
            + (
                "handle_unknown='ignore' or 'infrequent_if_exist'"
                if isinstance(encoder, OneHotEncoder)
                else "handle_unknown='use_encoded_value' with an unknown_value"
            )
        )
    return sklearn.base.clone(encoder)


class _Outputs:
    """What a fitted encoder makes of each category of each feature.

    Attributes:
        values: Finite categories of each feature, increasing.
        blocks: Output of each feature for those, `(n_values, n_out)`.
        missing: Output of each feature for NaN, `(n_out,)`.
        other: Output of each feature for a number that is no category, `(n_out,)`.
    """

    def __init__(self, encoder: Any, widths: Sequence[int]) -> None:
        categories = [np.asarray(item, dtype=np.float64) for item in encoder.categories_]
        self.values = [item[~np.isnan(item)] for item in categories]
        ends = np.cumsum([0, *widths])
        self._slices = [slice(a, b) for a, b in itertools.pairwise(ends)]
        known = [item[:1] for item in categories]
        self.blocks = self._read(encoder, self.values, known)
        self.missing = self._edge(encoder, [np.array([np.nan])] * len(known), known)
        unknown = [
            np.nextafter(item[-1:], np.inf) if len(item) else np.zeros(1) for item in self.values
        ]
        self.other = self._edge(encoder, unknown, known)

    def _read(self, encoder: Any, values: list[Matrix], known: list[Matrix]) -> list[Matrix]:
        n_rows = max((len(item) for item in values), default=0)
        rows = np.empty((n_rows, len(values)))
        for position, item in enumerate(values):
            rows[:, position] = known[position]
            rows[: len(item), position] = item
        width = self._slices[-1].stop
        out = transformed(encoder, rows) if n_rows else np.empty((0, width))
        return [out[: len(item), part] for item, part in zip(values, self._slices, strict=True)]

    def _edge(self, encoder: Any, values: list[Matrix], known: list[Matrix]) -> list[Matrix]:
        """Read one value a feature at a time; NaN where the encoder refuses it."""
        results = []
        for position, part in enumerate(self._slices):
            row = np.array([[item[0] for item in known]])
            row[0, position] = values[position][0]
            try:
                results.append(transformed(encoder, row)[0, part])
            except ValueError:
                results.append(np.full(part.stop - part.start, np.nan))
        return results


@register_transformer(OneHotEncoder, prepare=_prepare, check=_check)
def lower_one_hot(encoder: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> _Lowered:
    """Lower a fitted OneHotEncoder; where it refuses a category, the graph gives NaN."""
    widths = encoder._n_features_outs  # noqa: SLF001  no public name
    outputs = _Outputs(encoder, widths)
    sources = [i for i, width in enumerate(widths) for _ in range(width)]
    names = tuple(
        FeatureSpec(f"{specs[i].name}={k}") for i, width in enumerate(widths) for k in range(width)
    )
    if _is_plain(outputs):
        values = [float(value) for item in outputs.values for value in item]
        return one_hot(builder, x, sources, values, strict=False), names
    functions = [
        at_values(
            i,
            outputs.values[i].tolist(),
            [_group(row) for row in outputs.blocks[i]],
            other=_group(outputs.other[i]),
            missing=_group(outputs.missing[i]),
        )
        for i in range(len(widths))
    ]
    numbers = [k for width in widths for k in range(width)]
    strict = encoder.handle_unknown == "error"
    groups = look_up(builder, x, functions)
    return one_hot(builder, groups, sources, numbers, strict=strict), names


def _prepare_target(encoder: Any, specs: Sequence[FeatureSpec]) -> Any:
    del specs
    return with_seeded_folds(encoder)


@register_transformer(TargetEncoder, prepare=_prepare_target)
@register_transformer(OrdinalEncoder, prepare=_prepare, check=_check)
def lower_values(encoder: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> _Lowered:
    """Lower a fitted OrdinalEncoder or TargetEncoder: a value, or one a class, for a category."""
    width = 1
    if getattr(encoder, "target_type_", "") == "multiclass":
        width = len(encoder.classes_)
    outputs = _Outputs(encoder, [width] * len(specs))
    functions = [
        at_values(
            i,
            outputs.values[i].tolist(),
            outputs.blocks[i][:, k].tolist(),
            other=float(outputs.other[i][k]),
            missing=float(outputs.missing[i][k]),
        )
        for i in range(len(specs))
        for k in range(width)
    ]
    names = tuple(
        FeatureSpec(spec.name if width == 1 else f"{spec.name}={k}")
        for spec in specs
        for k in range(width)
    )
    return look_up(builder, x, functions), names


def transformed(transformer: Any, rows: Matrix) -> Matrix:
    """Return what the fitted *transformer* makes of *rows*, which stay as they are, densely."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return dense(transformer.transform(rows.copy()))


def _is_plain(outputs: _Outputs) -> bool:
    """Tell whether each category has its own column and all else has none."""
    return all(
        np.array_equal(block, np.eye(len(block))) and not np.any(missing) and not np.any(other)
        for block, missing, other in zip(
            outputs.blocks, outputs.missing, outputs.other, strict=True
        )
    )


def _group(row: Matrix) -> float:
    if np.isnan(row).any():
        return math.nan
    return float(np.argmax(row)) if row.any() else _NONE
