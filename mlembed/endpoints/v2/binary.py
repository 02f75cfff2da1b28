"""Tensors as bytes behind the JSON: little-endian, row by row; texts with their length before them.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.endpoints.problems import Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LENGTH = struct.Struct("<I")


def from_bytes(name: str, dtype: str, n_elements: int, data: bytes) -> NDArray[Any]:
    """Return the elements of the tensor *name*, one after the other.

    Args:
        name: For the error.
        dtype: As numpy calls it, or `string`.
        n_elements: What its shape holds.
        data: The bytes.

    Raises:
        Problem: If these are not as many elements, or none of this type.
    """
    if dtype == "string":
        return _texts(name, n_elements, data)
    little = np.dtype(dtype).newbyteorder("<")
    if len(data) != n_elements * little.itemsize:
        raise Problem(
            "request",
            f"'{name}' has {len(data)} bytes; its shape and datatype take "
            f"{n_elements * little.itemsize}",
        )
    if dtype == "bool" and data.strip(b"\0\1"):
        raise Problem("request", f"'{name}' holds a byte that is neither 0 nor 1, expected BOOL")
    array: NDArray[Any] = np.frombuffer(data, little).astype(dtype)
    return array


def _texts(name: str, n_elements: int, data: bytes) -> NDArray[Any]:
    lies = Problem("request", f"'{name}' does not hold {n_elements} texts with their lengths")
    if n_elements * _LENGTH.size > len(data):
        raise lies
    texts = np.empty(n_elements, dtype=object)
    start = 0
    for place in range(n_elements):
        if start + _LENGTH.size > len(data):
            raise lies
        (length,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        if start + length > len(data):
            raise lies
        try:
            texts[place] = data[start : start + length].decode()
        except UnicodeDecodeError:
            raise Problem("request", f"'{name}' holds a text that is not UTF-8") from None
        start += length
    if start != len(data):
        raise lies
    return texts


def to_bytes(array: NDArray[Any]) -> bytes:
    """Return the bytes of *array*."""
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<")).tobytes()
    texts = [text.encode() for text in array.ravel().tolist()]
    return b"".join([part for text in texts for part in (_LENGTH.pack(len(text)), text)])
