"""What holds for an estimator with all that is inside of it.

A mean of forests is as exact as its least exact member, so tolerance and libraries are asked
of the whole nest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator

from mlembed.errors import LoweringError
from mlembed.training.lowering.registry import TOLERANCE, class_name, family_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def nested(estimator: Any) -> Iterator[Any]:
    """Yield *estimator* and every estimator among its parameters, however deep."""
    yield estimator
    parameters = estimator.get_params(deep=False) if hasattr(estimator, "get_params") else {}
    for value in parameters.values():
        for part in _parts(value):
            yield from nested(part)


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, BaseEstimator):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _parts(item)


def tolerance_of(estimator: Any) -> tuple[float, str]:
    """Return the largest difference a proof of *estimator* allows, and why it is above 1e-9.

    Returns:
        The tolerance, relative to max(1, |score|), and the reason; empty for 1e-9.
    """
    worst, why = TOLERANCE, ""
    for part in nested(estimator):
        try:
            tolerance = family_of(part).tolerance
        except LoweringError:  # a transformer, or what is inside of what has its own lowering
            continue
        if tolerance > worst:
            worst, why = tolerance, f"{class_name(part)} computes in float32"
    return worst, why


def modules_of(estimator: Any) -> tuple[str, ...]:
    """Return the modules of the classes in *estimator* and of their lowerings."""
    modules = set()
    for part in nested(estimator):
        modules.add(type(part).__module__)
        try:
            modules.add(_library(family_of(part).lower.__module__))
        except LoweringError:
            continue
    return tuple(sorted(modules))


def _library(module: str) -> str:
    return "skl2onnx" if module.endswith("sklearn_onnx") else module
