"""The data types of the protocol, and those of arrays."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from mlembed.tensors import DTYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlembed.columns import Column

_NAMES = {"bool": "BOOL", "string": "BYTES", "float16": "FP16", "float32": "FP32"}
_NAMES["float64"] = "FP64"
DATATYPES: Mapping[str, str] = MappingProxyType(
    {dtype: _NAMES.get(dtype, dtype.upper()) for dtype in DTYPES}
)
DTYPE_OF: Mapping[str, str] = MappingProxyType({name: dtype for dtype, name in DATATYPES.items()})
FLOATS = frozenset({"FP16", "FP32", "FP64"})
_WHOLE = frozenset(name for name in DTYPE_OF if "INT" in name)
_NUMBERS = FLOATS | _WHOLE

# What a column takes. A time in FP32 would be off by minutes.
ACCEPTED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "number": _NUMBERS,
        "integer": _NUMBERS,
        "boolean": _NUMBERS | {"BOOL"},
        "category": frozenset({"BYTES"}),
        "timestamp": frozenset({"FP64", "INT64", "UINT64", "BYTES"}),
    }
)


def datatype_of(column: Column) -> str:
    """Return the data type in which a *column* says that it is given; only a float may be missing."""
    if column.kind == "category":
        return "BYTES"
    if column.nullable:
        return "FP64"
    return {"integer": "INT64", "boolean": "BOOL"}.get(column.kind, "FP64")
