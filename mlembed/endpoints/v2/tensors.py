"""Read an input of a request into an array, checked against what it says of itself."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.endpoints.problems import Problem
from mlembed.endpoints.reading import json_type
from mlembed.endpoints.v2.binary import from_bytes
from mlembed.endpoints.v2.datatypes import DTYPE_OF, FLOATS
from mlembed.serving.feed import as_array
from mlembed.serving.fields import FieldProblem
from mlembed.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MAX_RANK, _MAX_LENGTH = 32, 2**31 - 1
_NONE = type(None)


def shape_of(name: str, shape: Any) -> tuple[int, ...]:
    """Return the shape that a request says.

    Raises:
        Problem: If it is none, or larger than anything that is read.
    """
    if type(shape) is list and len(shape) <= _MAX_RANK:
        lengths = tuple(shape)
        if all(type(length) is int and 0 <= length <= _MAX_LENGTH for length in lengths):
            return lengths
    raise Problem(
        "request", f"The shape of '{name}' must be at most {_MAX_RANK} whole numbers, 0 or more"
    )


def dtype_of(name: str, datatype: Any) -> str:
    """Return the dtype of a data type.

    Raises:
        Problem: If it is none that a model can take.
    """
    if type(datatype) is not str or datatype not in DTYPE_OF:
        raise Problem("request", f"The datatype of '{name}' must be one of {', '.join(DTYPE_OF)}")
    return DTYPE_OF[datatype]


def from_json(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> NDArray[Any]:
    """Return the array that *data* is, flat or nested as its shape; null in floats is NaN.

    Raises:
        Problem: If it does not fill its shape, or is of another type.
    """
    if type(data) is not list:
        raise Problem("request", f"The data of '{name}' is {json_type(data)}, expected a list")
    flat = _flat(name, shape, data)
    wanted = _taken(datatype)
    if strange := {type(item) for item in flat} - wanted:
        held = ", ".join(sorted({json_type(item) for item in flat if type(item) in strange}))
        raise Problem("request", f"The data of '{name}' holds {held}, expected {datatype}")
    if datatype in FLOATS:
        flat = [math.nan if item is None else item for item in flat]
    if None in flat:
        return _reshaped(name, _objects(flat), shape)
    if wanted == {int}:
        return _reshaped(name, _whole(name, datatype, flat), shape)
    try:
        array = as_array(Tensor(name="input", dtype=DTYPE_OF[datatype], shape=None), flat)
    except FieldProblem as problem:
        raise Problem("request", f"'{name}' {problem}") from problem
    return _reshaped(name, array, shape)


def from_binary(name: str, datatype: str, shape: tuple[int, ...], data: bytes) -> NDArray[Any]:
    """Return the array that the bytes *data* are.

    Raises:
        Problem: If they do not fill its shape, or are of another type.
    """
    array = from_bytes(name, DTYPE_OF[datatype], math.prod(shape), data)
    return _reshaped(name, array, shape)


def _whole(name: str, datatype: str, items: Sequence[int]) -> NDArray[Any]:
    """Return whole numbers as they are; numpy by itself would round some of them to a double."""
    limits = np.iinfo(DTYPE_OF[datatype])
    if items and not (limits.min <= min(items) and max(items) <= limits.max):
        raise Problem("request", f"'{name}' holds numbers beyond {datatype}")
    return np.array(items, dtype=limits.dtype)


def _taken(datatype: str) -> set[type]:
    if datatype in FLOATS:
        return {int, float, _NONE}
    if datatype == "BYTES":
        return {str, _NONE}
    return {bool} if datatype == "BOOL" else {int}


def _flat(name: str, shape: tuple[int, ...], data: list[Any]) -> Sequence[Any]:
    if not any(type(item) is list for item in data):
        if len(data) != math.prod(shape):
            raise _ragged(name)
        return data
    level: list[Any] = [data]
    for length in shape:
        if not all(type(item) is list and len(item) == length for item in level):
            raise _ragged(name)
        level = [*itertools.chain.from_iterable(level)]
    if any(type(item) is list for item in level):
        raise _ragged(name)
    return level


def _ragged(name: str) -> Problem:
    return Problem(
        "request", f"The data of '{name}' does not fill its shape; give a value an element"
    )


def _objects(items: Sequence[Any]) -> NDArray[Any]:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def _reshaped(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        return array.reshape(shape)
    except ValueError:  # a shape with no element may be too large all the same
        raise Problem("request", f"The shape of '{name}' is too large") from None
