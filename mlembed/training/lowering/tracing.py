"""Follow the columns an estimator reads back through a pipeline to the original features.

A column that comes from one feature by steps that never decrease is followed; its thresholds
are then known as values of that feature, to the double.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import sklearn
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

from mlembed.training.lowering.cuts import cuts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Values: TypeAlias = NDArray[np.float64]

_RISING = (
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
_RISING_FUNCTIONS = (np.log1p, np.expm1, np.sqrt)


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Where a column comes from.

    Attributes:
        position: Position of the feature.
        steps: What is done to it, in order; each never decreases.
        is_exact: Whether the graph repeats all of that to the bit.
    """

    position: int
    steps: tuple[Callable[[Values], Values], ...] = ()
    is_exact: bool = True

    def __call__(self, values: Values) -> Values:
        """Return the column for *values* of the feature, as scikit-learn computes it."""
        with sklearn.config_context(assume_finite=True), np.errstate(all="ignore"):
            for step in self.steps:
                values = step(values)
        return values


Sources: TypeAlias = "list[Source | None]"


def trace_back(
    steps: Sequence[Any], thresholds: Mapping[int, Sequence[float]], n_features: int
) -> dict[int, tuple[float, ...]]:
    """Return thresholds by position of the original features, where they are known there.

    Args:
        steps: Fitted transformers, in order.
        thresholds: By position of the matrix that the last of them makes.
        n_features: Number of original features.
    """
    sources = sources_behind(steps, n_features)
    found: dict[int, list[float]] = {}
    for position, values in thresholds.items():
        source = sources[position]
        if source is not None:
            crossings = _crossings(source, values) if source.steps else values
            found.setdefault(source.position, []).extend(crossings)
    return {position: tuple(values) for position, values in found.items()}


def _crossings(source: Source, thresholds: Sequence[float]) -> list[float]:
    """Return the cuts whose both sides scikit-learn takes."""
    found = cuts(source, np.asarray(thresholds))
    taken = np.isfinite(source(found)) & np.isfinite(source(np.nextafter(found, np.inf)))
    crossings: list[float] = found[taken].tolist()
    return crossings


def sources_behind(steps: Sequence[Any], n_features: int) -> Sources:
    """Return where each column that the last of *steps* makes comes from; None where unknown."""
    sources: Sources = [Source(position) for position in range(n_features)]
    for step in steps:
        sources = [_chained(sources, source) for source in _sources(step, len(sources))]
    return sources


def _chained(before: Sources, source: Source | None) -> Source | None:
    first = None if source is None else before[source.position]
    if source is None or first is None:
        return None
    is_exact = first.is_exact and source.is_exact
    return Source(first.position, first.steps + source.steps, is_exact)


def _sources(step: Any, width: int) -> Sources:
    """Return where each output column of a fitted *step* comes from."""
    if step is None or step == "passthrough":
        return [Source(position) for position in range(width)]
    if type(step) in _RISING:
        exact = _is_exact(step)
        return [Source(i, (_column(step, i, width),), exact) for i in range(width)]
    if isinstance(step, SelectorMixin):
        return [Source(int(position)) for position in step.get_support(indices=True)]
    own = _OWN.get(type(step))
    return own(step, width) if own else [None] * int(step.get_feature_names_out().size)


def _is_exact(step: Any) -> bool:
    if type(step) is QuantileTransformer:
        return bool(step.output_distribution == "uniform")
    return type(step) is not PowerTransformer


def _column(step: Any, position: int, width: int) -> Callable[[Values], Values]:
    narrow = _narrowed(step, position, width)

    def compute(values: Values) -> Values:
        # A copy, because a step with copy=False writes into what it is given.
        column: Values = narrow.transform(values[:, np.newaxis].copy())[:, 0]
        return column

    return compute


def _narrowed(step: Any, position: int, width: int) -> Any:
    """Return a copy of a fitted *step* that knows one of its columns alone."""
    narrow = copy.copy(step)
    for name, value in vars(step).items():
        if name in ("n_features_in_", "feature_names_in_", "references_"):
            continue
        if isinstance(value, np.ndarray) and value.shape[-1:] == (width,):
            setattr(narrow, name, value[..., [position]])
        elif isinstance(value, StandardScaler):
            setattr(narrow, name, _narrowed(value, position, width))
    vars(narrow).pop("feature_names_in_", None)
    narrow.n_features_in_ = 1
    return narrow


def _function_sources(step: FunctionTransformer, width: int) -> Sources:
    if step.func is None:
        return [Source(position) for position in range(width)]
    if step.func not in _RISING_FUNCTIONS:
        return [None] * width
    return [Source(i, (step.func,), step.func is np.sqrt) for i in range(width)]


def _imputer_sources(step: SimpleImputer, width: int) -> Sources:
    statistics = np.nan_to_num(np.asarray(step.statistics_, dtype=np.float64))
    empty = np.isnan(np.asarray(step.statistics_, dtype=np.float64))
    kept = np.flatnonzero(~empty | step.keep_empty_features)
    flags = len(step.indicator_.features_) if step.add_indicator else 0
    del width
    if not np.isnan(step.missing_values):  # replacing a number goes up and down
        return [None] * (len(kept) + flags)
    filled: Sources = [Source(int(i), (_filled(statistics[i]),)) for i in kept]
    return [*filled, *[None] * flags]


def _filled(value: float) -> Callable[[Values], Values]:
    return lambda values: np.where(np.isnan(values), value, values)


def _pipeline_sources(step: Pipeline, width: int) -> Sources:
    return sources_behind([inner for _, inner in step.steps], width)


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
        before: Sources = [Source(int(position)) for position in indices[name]]
        sources[place] = [_chained(before, source) for source in inner]
    return sources


_OWN: dict[type, Callable[[Any, int], Sources]] = {
    ColumnTransformer: _column_sources,
    FeatureUnion: _union_sources,
    FunctionTransformer: _function_sources,
    Pipeline: _pipeline_sources,
    SimpleImputer: _imputer_sources,
}
