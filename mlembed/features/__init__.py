"""Declared feature transforms: a closed vocabulary that every host can run.

A declaration is data, never code: the trainer lowers it to ONNX and runs that same graph
to compute its own matrix, so a feature cannot differ between training and serving.

Missing in, missing out: NaN passes through every transform.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mlembed.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "Transform",
    "bucket",
    "clip",
    "cyclic",
    "day_of_week",
    "difference",
    "hour_of_day",
    "log1p",
    "product",
    "ratio",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Transform:
    """One declared computation on columns of the record.

    Attributes:
        op: Name of the operation, one of this module's functions.
        inputs: Columns, or transforms of them.
        params: Constants of the operation.
    """

    op: str
    inputs: tuple[str | Transform, ...]
    params: tuple[tuple[str, float | tuple[float, ...]], ...] = ()

    @property
    def width(self) -> int:
        """Number of features it yields: 2 (sine, cosine) for `cyclic`, else 1."""
        return 2 if self.op == "cyclic" else 1

    def param(self, name: str) -> Any:
        """Return the constant called *name*."""
        return dict(self.params)[name]

    def columns(self) -> Iterator[str]:
        """Yield the record's columns it reads, in order, with repeats."""
        for item in self.inputs:
            if isinstance(item, Transform):
                yield from item.columns()
            else:
                yield item

    def feature_names(self, name: str) -> tuple[str, ...]:
        """Return the names of its features, when declared as *name*."""
        return (f"{name}_sin", f"{name}_cos") if self.op == "cyclic" else (name,)

    def to_json(self) -> dict[str, Any]:
        """Describe the transform in plain JSON types."""
        return {
            "op": self.op,
            "inputs": [i.to_json() if isinstance(i, Transform) else i for i in self.inputs],
            "params": {k: list(v) if isinstance(v, tuple) else v for k, v in self.params},
        }


def log1p(column: str | Transform) -> Transform:
    """Return ln(1 + x); missing where x <= -1."""
    return _declare("log1p", (column,))


def clip(column: str | Transform, lower: float, upper: float) -> Transform:
    """Return x held within [lower, upper], in the unit of x."""
    transform = _declare("clip", (column,), lower=lower, upper=upper)
    if lower > upper:
        raise DeclarationError(f"clip: lower ({lower:g}) must not exceed upper ({upper:g})")
    return transform


def ratio(numerator: str | Transform, denominator: str | Transform) -> Transform:
    """Return numerator / denominator; missing where the denominator is 0."""
    return _declare("ratio", (numerator, denominator))


def difference(left: str | Transform, right: str | Transform) -> Transform:
    """Return left - right."""
    return _declare("difference", (left, right))


def product(left: str | Transform, right: str | Transform) -> Transform:
    """Return left * right; missing where that is beyond what a double holds."""
    return _declare("product", (left, right))


def bucket(column: str | Transform, edges: Sequence[float]) -> Transform:
    """Return how many of the increasing *edges* are at most x: 0 to `len(edges)`."""
    given = tuple(edges) if isinstance(edges, Iterable) else ()
    transform = _declare("bucket", (column,), edges=given)
    values = transform.param("edges")
    if not values or any(a >= b for a, b in itertools.pairwise(values)):
        raise DeclarationError("bucket: edges must be strictly increasing, and at least one")
    return transform


def hour_of_day(column: str | Transform, utc_offset_hours: float = 0.0) -> Transform:
    """Return the hour, 0 to 23, of a timestamp at a fixed offset from UTC."""
    return _declare("hour_of_day", (column,), utc_offset_hours=utc_offset_hours)


def day_of_week(column: str | Transform, utc_offset_hours: float = 0.0) -> Transform:
    """Return the day, Monday 0 to Sunday 6, of a timestamp at a fixed offset from UTC."""
    return _declare("day_of_week", (column,), utc_offset_hours=utc_offset_hours)


def cyclic(column: str | Transform, period: float) -> Transform:
    """Return two features, the sine and cosine of 2*pi*x/period, for values that wrap around."""
    transform = _declare("cyclic", (column,), period=period)
    if period <= 0:
        raise DeclarationError("cyclic: period must be more than 0")
    return transform


def _declare(
    op: str, inputs: tuple[str | Transform, ...], **params: float | tuple[float, ...]
) -> Transform:
    for item in inputs:
        if not isinstance(item, (str, Transform)):
            raise DeclarationError(f"{op}: inputs are column names or transforms")
        if isinstance(item, Transform) and item.width != 1:
            raise DeclarationError(f"{op}: '{item.op}' yields two features and cannot be nested")
    constants = {
        name: tuple(_constant(op, name, number) for number in value)
        if isinstance(value, tuple)
        else _constant(op, name, value)
        for name, value in params.items()
    }
    return Transform(op, inputs, tuple(constants.items()))


def _constant(op: str, name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, str) or not math.isfinite(number):
        raise DeclarationError(f"{op}: {name} must be a finite number")
    return number
