"""The named tensors a graph takes and gives: names, dtypes, shapes.

A description says all that is needed to check an array before the runtime sees it, so a wrong one is
refused with the name of the input and the remedy, and never half read.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from mlembed.errors import DeclarationError

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = (*FLOATS, *INTEGERS, "bool", "string")
MAX_TENSORS = 1024
_MAX_NAME, _MAX_RANK, _MAX_SIZE = 512, 32, 2**40

Axis = int | str | None
Shape = tuple[Axis, ...] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tensor:
    """One input or output of a graph.

    Attributes:
        name: Its name in the graph.
        dtype: One of `DTYPES`; numpy's names, and `string`.
        shape: One entry an axis: its length; the name of a dynamic axis, which has the same length
            wherever it stands; None for an axis of any length. None for any shape at all.
    """

    name: str
    dtype: str
    shape: Shape

    def __post_init__(self) -> None:
        problems = [text for text, good in _checks(self).items() if not good]
        if problems:
            raise DeclarationError(f"a tensor of the manifest is malformed: {'; '.join(problems)}")

    @property
    def text(self) -> str:
        """Dtype and shape as people write them: `float32[N, 3, 32, 32]`, `?` for any length."""
        if self.shape is None:
            return f"{self.dtype} of any shape"
        axes = ("?" if axis is None else str(axis) for axis in self.shape)
        return f"{self.dtype}[{', '.join(axes)}]"

    @property
    def may_batch(self) -> bool:
        """Whether its first axis may count records: it is dynamic, or nothing is known of it."""
        return self.shape is None or (bool(self.shape) and not isinstance(self.shape[0], int))

    def takes(self, other: Tensor) -> bool:
        """Tell whether every array that fits *other* fits this one, other axes left aside."""
        if self.dtype != other.dtype:
            return False
        if self.shape is None or other.shape is None:
            return self.shape is None
        return len(self.shape) == len(other.shape) and all(
            not isinstance(mine, int) or mine == theirs
            for mine, theirs in zip(self.shape, other.shape, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """Describe the tensor in plain JSON types."""
        shape = None if self.shape is None else list(self.shape)
        return {"name": self.name, "dtype": self.dtype, "shape": shape}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Tensor:
        """Read what `to_json` wrote.

        Raises:
            DeclarationError: If it is anything else.
        """
        if set(data) != {"name", "dtype", "shape"}:
            raise DeclarationError("a tensor of the manifest has a name, a dtype and a shape")
        shape = data["shape"]
        return cls(**{**data, "shape": tuple(shape) if isinstance(shape, list) else shape})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """Where the score stands among the outputs.

    Attributes:
        output: Name of the output.
        index: Place in what that output holds of one record, flattened.
    """

    output: str
    index: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.output, str) or type(self.index) is not int or self.index < 0:
            raise DeclarationError("the score of a manifest is an output's name and a place in it")


def _checks(tensor: Tensor) -> dict[str, bool]:
    name, shape = tensor.name, tensor.shape
    return {
        f"the name must be a text of 1 to {_MAX_NAME} characters": isinstance(name, str)
        and 0 < len(name) <= _MAX_NAME,
        f"the dtype must be one of {', '.join(DTYPES)}": tensor.dtype in DTYPES,
        f"the shape must be at most {_MAX_RANK} lengths, names and nulls": shape is None
        or (isinstance(shape, tuple) and len(shape) <= _MAX_RANK and all(map(_is_axis, shape))),
    }


def _is_axis(axis: object) -> bool:
    if isinstance(axis, str):
        return 0 < len(axis) <= _MAX_NAME
    return axis is None or (type(axis) is int and 0 <= axis <= _MAX_SIZE)
