"""Find inputs that a graph runs on: those its owner gives, or made-up ones.

What a graph makes of them becomes its golden calls, so they are the same at every packing.
"""

from __future__ import annotations

import itertools
import json
import math
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.bundle.calls import MAX_BYTES
from mlembed.errors import BundleError, DataError
from mlembed.tensors import FLOATS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlembed.tensors import Tensor

_RECORDS = (1, 2)
_LENGTHS = (8, 1, 2, 16, 32, 64, 128, 224)
_VALUES = ("mixed", "zeros", "ones")


def read_examples(path: Path) -> list[dict[str, Any]]:
    """Read calls from a file.

    Args:
        path: `.npz` with one array an input, or `.json` with an object of inputs, or a list of them.

    Raises:
        DataError: If it is neither.
    """
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as members:
                n_bytes = sum(member.file_size for member in members.infolist())
            if n_bytes > MAX_BYTES:
                raise ValueError(n_bytes)
            with np.load(path, allow_pickle=False) as arrays:
                return [{name: arrays[name] for name in arrays.files}]
        given = json.loads(path.read_text(encoding="utf-8"))
    except Exception as error:  # a file may be damaged in any way
        why = getattr(error, "strerror", None) or type(error).__name__
        raise DataError(
            f"the example {path} cannot be read ({why}); give .json, or .npz of plain arrays, texts "
            f"with a dtype such as U16, of {MAX_BYTES:,} bytes at most: pickled objects are never read"
        ) from error
    calls = given if isinstance(given, list) else [given]
    if not calls or not all(isinstance(call, Mapping) for call in calls):
        raise DataError(f'the example {path} is no object of inputs; expected {{"input": ...}}')
    return calls


def made_up(inputs: Sequence[Tensor]) -> Iterator[list[dict[str, NDArray[Any]]]]:
    """Yield calls to try, the likeliest first: of one record, and of two where the axes allow it.

    Raises:
        BundleError: If the graph's fixed axes are too large for golden calls.
    """
    names = [tensor.name for tensor in inputs]
    seen, smallest = set(), math.inf
    for values, length in itertools.product(_VALUES, _LENGTHS):
        shapes = [tuple(_shape(t, records, length) for t in inputs) for records in _RECORDS]
        sizes = [sum(map(_n_bytes, inputs, some)) for some in shapes]
        smallest = min(smallest, *sizes)
        key = (values, *shapes)
        if key not in seen and sum(sizes) <= MAX_BYTES:
            seen.add(key)
            yield [
                dict(zip(names, _arrays(inputs, some, values), strict=True))
                for some in dict.fromkeys(shapes)
            ]
    if smallest > MAX_BYTES // len(_RECORDS):
        raise BundleError(
            f"the graph's inputs take {smallest:,} bytes at least, and golden calls may take "
            f"{MAX_BYTES:,}; export it with smaller or dynamic axes"
        )


def _n_bytes(tensor: Tensor, shape: tuple[int, ...]) -> int:
    size = 8 if tensor.dtype == "string" else np.dtype(tensor.dtype).itemsize
    return math.prod(shape) * size


def _arrays(
    inputs: Sequence[Tensor], shapes: Sequence[tuple[int, ...]], values: str
) -> Iterator[NDArray[Any]]:
    random = np.random.default_rng(0)
    for tensor, shape in zip(inputs, shapes, strict=True):
        yield _array(tensor, shape, values, random)


def _shape(tensor: Tensor, records: int, length: int) -> tuple[int, ...]:
    axes = (None,) if tensor.shape is None else tensor.shape
    return tuple(
        axis if isinstance(axis, int) else length if place else records
        for place, axis in enumerate(axes)
    )


def _array(
    tensor: Tensor, shape: tuple[int, ...], values: str, random: np.random.Generator
) -> NDArray[Any]:
    if tensor.dtype == "string":
        return np.full(shape, "example", dtype=object)
    if values != "mixed":
        return np.full(shape, values == "ones", dtype=tensor.dtype)
    if tensor.dtype in FLOATS:
        return np.asarray(random.random(shape), dtype=tensor.dtype)
    # Small whole numbers are the likeliest to be a place in whatever the graph looks up.
    return np.asarray(random.integers(0, 2, shape), dtype=tensor.dtype)
