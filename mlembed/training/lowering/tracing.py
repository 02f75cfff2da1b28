"""Follow the thresholds of an estimator back through a pipeline to the original features.

The proof probes both sides of each; a step that cannot be undone exactly is undone nearly, so
some doubles on either side of each threshold are returned with it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Values: TypeAlias = NDArray[np.float64]

MAX_THRESHOLDS = 36
_NEIGHBOURS = 3
_INVERTIBLE = (
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)


@dataclasses.dataclass(frozen=True, slots=True)
class _Source:
    """Where a column comes from: an input column, and what undoes the way from there."""

    position: int
    undo: tuple[Callable[[Values], Values], ...] = ()


Sources: TypeAlias = "list[_Source | None]"


def trace_back(
    steps: Sequence[Any], thresholds: Mapping[int, Sequence[float]]
) -> dict[int, tuple[float, ...]]:
    """Return thresholds by position of the original features, each with its neighbours.

    Args:
        steps: Fitted transformers, in order.
        thresholds: By position of the matrix that the last of them makes.
    """
    if not steps:
        return {position: tuple(values) for position, values in thresholds.items()}
    sources = _behind(steps, _width(steps))
    found: dict[int, list[Values]] = {}
    for position, values in thresholds.items():
        source = sources[position] if position < len(sources) else None
        if source is not None:
            found.setdefault(source.position, []).append(_undone(source, np.asarray(values)))
    return {position: _with_neighbours(np.concatenate(found[position])) for position in found}


def _width(steps: Sequence[Any]) -> int:
    return next(int(step.n_features_in_) for step in steps if hasattr(step, "n_features_in_"))


def _undone(source: _Source, values: Values) -> Values:
    for undo in reversed(source.undo):
        values = undo(values)
    return values


def _with_neighbours(values: Values) -> tuple[float, ...]:
    values = np.unique(values[np.isfinite(values)])
    if len(values) > MAX_THRESHOLDS:
        values = values[np.linspace(0, len(values) - 1, MAX_THRESHOLDS).round().astype(int)]
    below = above = values
    near = [values]
    for _ in range(_NEIGHBOURS):
        below, above = np.nextafter(below, -np.inf), np.nextafter(above, np.inf)
        near += [below, above]
    return tuple(np.unique(np.concatenate(near)).tolist())


def _behind(steps: Sequence[Any], width: int) -> Sources:
    sources: Sources = [_Source(position) for position in range(width)]
    for step in steps:
        sources = [_chained(sources, source) for source in _sources(step, len(sources))]
    return sources


def _chained(before: Sources, source: _Source | None) -> _Source | None:
    first = None if source is None else before[source.position]
    if source is None or first is None:
        return None
    return _Source(first.position, first.undo + source.undo)


def _sources(step: Any, width: int) -> Sources:
    """Return where each output column of a fitted *step* comes from; None where not from one."""
    if step is None or step == "passthrough" or _is_identity(step):
        return [_Source(position) for position in range(width)]
    if type(step) in _INVERTIBLE:
        return [_Source(i, (_inverse(step, i, width),)) for i in range(width)]
    if isinstance(step, SelectorMixin):
        return [_Source(int(position)) for position in step.get_support(indices=True)]
    if type(step) is FunctionTransformer:
        return [None] * width
    own = _OWN.get(type(step))
    return own(step, width) if own else [None] * int(step.get_feature_names_out().size)


def _imputer_sources(step: SimpleImputer, width: int) -> Sources:
    del width
    empty = np.isnan(np.asarray(step.statistics_, dtype=np.float64))
    kept = np.flatnonzero(~empty | step.keep_empty_features)
    flags = len(step.indicator_.features_) if step.add_indicator else 0
    return [*(_Source(int(position)) for position in kept), *[None] * flags]


def _pipeline_sources(step: Pipeline, width: int) -> Sources:
    return _behind([inner for _, inner in step.steps], width)


def _union_sources(step: FeatureUnion, width: int) -> Sources:
    sources: Sources = []
    for name, part in step.transformer_list:
        inner = [] if part == "drop" else _sources(part, width)
        weighted = name in (step.transformer_weights or {})
        sources += [None] * len(inner) if weighted else inner
    return sources


def _column_sources(step: ColumnTransformer, width: int) -> Sources:
    del width
    indices = step._transformer_to_input_indices  # noqa: SLF001  no public name
    n_out = max((part.stop for part in step.output_indices_.values()), default=0)
    sources: Sources = [None] * n_out
    for name, part, _ in step.transformers_:
        place = step.output_indices_[name]
        if place.stop == place.start or name in (step.transformer_weights or {}):
            continue
        inner = _sources(part, len(indices[name]))
        before: Sources = [_Source(int(position)) for position in indices[name]]
        sources[place] = [_chained(before, source) for source in inner]
    return sources


def _is_identity(step: Any) -> bool:
    return type(step) is FunctionTransformer and step.func is None


def _inverse(step: Any, position: int, width: int) -> Callable[[Values], Values]:
    def undo(values: Values) -> Values:
        rows = np.zeros((len(values), width))
        rows[:, position] = values
        with np.errstate(all="ignore"):
            inverted: Values = step.inverse_transform(rows)[:, position]
        return inverted

    return undo


_OWN: dict[type, Callable[[Any, int], Sources]] = {
    ColumnTransformer: _column_sources,
    FeatureUnion: _union_sources,
    Pipeline: _pipeline_sources,
    SimpleImputer: _imputer_sources,
}
