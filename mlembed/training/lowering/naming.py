"""Turn feature names in a candidate into positions of the matrix it is fitted on.

Names are followed through steps that keep their columns. Behind any other step only the fit
tells which column is which, and a name there is refused rather than guessed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import sklearn.base
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from mlembed.errors import LoweringError
from mlembed.training.lowering.registry import FeatureSpec, class_name, step_of

if TYPE_CHECKING:
    from collections.abc import Sequence

# None where only the fit tells what the columns are.
Known: TypeAlias = "tuple[FeatureSpec, ...] | None"

_KEEP_COLUMNS = (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
_CATEGORIES = ("object", "category", "str", "string", "<class 'object'>", "<class 'str'>")
_NUMBERS = (
    *("number", "float", "float64", "<class 'numpy.number'>"),
    *("<class 'float'>", "<class 'numpy.float64'>"),
)


def resolve(step: Any, known: Known) -> tuple[Any, Known]:
    """Return a clone of *step* with positions for names, and what its output columns are.

    Args:
        step: A transformer, a pipeline of some, or one of scikit-learn's words for none.
        known: The features it reads.

    Raises:
        LoweringError: If a name is no feature, or stands where names are not known.
    """
    if step is None or isinstance(step, str):
        return step, () if step == "drop" else known
    if type(step) is Pipeline:
        return _pipeline(step, known)
    if type(step) is ColumnTransformer:
        return _columns(step, known)
    if type(step) is FeatureUnion:
        parts = [(name, *resolve(part, known)) for name, part in step.transformer_list]
        clone = sklearn.base.clone(step)
        clone.set_params(transformer_list=[(name, part) for name, part, _ in parts])
        return clone, _all([out for *_, out in parts])
    fresh = step_of(step).prepare(step, known) if known is not None else sklearn.base.clone(step)
    return fresh, _output(step, known)


def resolve_estimator(estimator: Any, known: Known) -> Any:
    """Return a clone of *estimator*, which reads *known*, with positions for feature names.

    Nothing else is changed: behind a user's own steps no encoding or category is added.

    Raises:
        LoweringError: If a name is no feature, or stands where names are not known.
    """
    if type(estimator) is Pipeline:
        return _pipeline(estimator, known)[0]
    clone = sklearn.base.clone(estimator)
    changed: dict[str, Any] = {}
    for name, value in clone.get_params(deep=False).items():
        if name == "categorical_features" and _has_names(value):
            changed[name] = positions(value, known, class_name(estimator))
        elif name == "monotonic_cst" and isinstance(value, dict):
            places = positions(list(value), known, class_name(estimator))
            by_position = dict(zip(places, value.values(), strict=True))
            changed[name] = [by_position.get(place, 0) for place in range(len(known or ()))]
        elif hasattr(value, "get_params") and not isinstance(value, type):
            changed[name] = resolve_estimator(value, known)
        elif name == "estimators" and isinstance(value, list):
            changed[name] = [
                (key, part if isinstance(part, str) else resolve_estimator(part, known))
                for key, part in value
            ]
    return clone.set_params(**changed)


def positions(columns: Any, known: Known, owner: str) -> list[int]:
    """Return the positions that a column specification of scikit-learn stands for.

    Args:
        columns: A name or position, a list or slice of either, a mask, or `make_column_selector`.
        known: The features, by position.
        owner: Whose specification it is, for the message.

    Raises:
        LoweringError: If a name is no feature; lists those that are.
    """
    if isinstance(columns, make_column_selector):
        return _selected(columns, _need(known, owner, "make_column_selector"), owner)
    if callable(columns):
        raise LoweringError(
            f"{owner}: columns are chosen by a function of the table, which is a matrix here; "
            "use feature names or make_column_selector"
        )
    if isinstance(columns, slice):
        return _sliced(columns, known, owner)
    items = [columns] if isinstance(columns, (str, int, np.integer)) else list(columns)
    if items and all(isinstance(item, (bool, np.bool_)) for item in items):
        return [position for position, chosen in enumerate(items) if chosen]
    return [_position(item, known, owner) for item in items]


def _position(item: Any, known: Known, owner: str) -> int:
    if isinstance(item, str):
        names = [spec.name for spec in _need(known, owner, f"'{item}'")]
        if item not in names:
            raise LoweringError(
                f"{owner}: '{item}' is no feature; the features are {', '.join(names)}"
            )
        return names.index(item)
    place = int(item)
    if known is None:
        return place
    if not -len(known) <= place < len(known):
        raise LoweringError(
            f"{owner}: there is no column {place}; the {len(known)} features are "
            f"{', '.join(spec.name for spec in known)}"
        )
    return place % len(known)


def _sliced(columns: slice, known: Known, owner: str) -> list[int]:
    features = _need(known, owner, "a slice")
    start = columns.start
    stop = columns.stop
    if isinstance(start, str):
        start = _position(start, known, owner)
    if isinstance(stop, str):
        stop = _position(stop, known, owner) + 1  # a slice of names has its end in it
    return list(range(len(features))[slice(start, stop, columns.step)])


def _selected(
    selector: make_column_selector, features: Sequence[FeatureSpec], owner: str
) -> list[int]:
    include, exclude = (
        None if dtypes is None else _kinds(dtypes, owner)
        for dtypes in (selector.dtype_include, selector.dtype_exclude)
    )
    return [
        position
        for position, spec in enumerate(features)
        if (include is None or bool(spec.n_codes) in include)
        and (exclude is None or bool(spec.n_codes) not in exclude)
        and (selector.pattern is None or re.search(selector.pattern, spec.name))
    ]


def _kinds(dtypes: Any, owner: str) -> set[bool]:
    """Return whether categories, numbers or both are meant by *dtypes*."""
    kinds = set()
    for dtype in dtypes if isinstance(dtypes, (list, tuple)) else [dtypes]:
        word = str(dtype)
        if word not in _CATEGORIES + _NUMBERS:
            raise LoweringError(
                f"{owner}: make_column_selector asks for {word}, but features are categories or "
                "numbers; use dtype_include='category' or 'number', or a pattern"
            )
        kinds.add(word in _CATEGORIES)
    return kinds


def _need(known: Known, owner: str, what: str) -> tuple[FeatureSpec, ...]:
    if known is None:
        raise LoweringError(
            f"{owner}: {what} stands behind a step whose columns only the fit tells; "
            "give positions, or choose columns in the first step"
        )
    return known


def _has_names(value: Any) -> bool:
    if value is None or isinstance(value, str):  # 'from_dtype': a matrix has no categories
        return False
    return any(isinstance(item, str) for item in value)


def _pipeline(pipeline: Pipeline, known: Known) -> tuple[Pipeline, Known]:
    steps = []
    for position, (name, step) in enumerate(pipeline.steps):
        if position == len(pipeline.steps) - 1 and hasattr(step, "predict"):
            steps.append((name, resolve_estimator(step, known)))
        else:
            fresh, known = resolve(step, known)
            steps.append((name, fresh))
    return sklearn.base.clone(pipeline).set_params(steps=steps), known


def _columns(transformer: ColumnTransformer, known: Known) -> tuple[ColumnTransformer, Known]:
    owner = class_name(transformer)
    parts, outputs = [], []
    used: set[int] = set()
    for name, part, columns in transformer.transformers:
        places = positions(columns, known, f"{owner} '{name}'")
        fresh, output = resolve(part, _at(known, places))
        parts.append((name, fresh, places))
        outputs.append(output)
        used.update(places)
    rest = None if known is None else [i for i in range(len(known)) if i not in used]
    remainder, output = resolve(transformer.remainder, None if rest is None else _at(known, rest))
    clone = sklearn.base.clone(transformer).set_params(transformers=parts, remainder=remainder)
    return clone, _all([*outputs, output])


def _at(known: Known, places: Sequence[int]) -> Known:
    return None if known is None else tuple(known[place] for place in places)


def _all(outputs: Sequence[Known]) -> Known:
    if any(output is None for output in outputs):
        return None
    return tuple(spec for output in outputs for spec in output or ())


def _output(step: Any, known: Known) -> Known:
    if known is None:
        return None
    if type(step) is SimpleImputer:
        return known if step.keep_empty_features and not step.add_indicator else None
    in_place = getattr(step, "encode", "ordinal") == "ordinal" and (
        getattr(step, "target_type", "binary") in ("binary", "continuous")
    )
    if type(step) in _KEEP_COLUMNS and in_place:
        return tuple(FeatureSpec(spec.name) for spec in known)
    return None
