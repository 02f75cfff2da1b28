"""Train offline: from a table and a declaration to a proven bundle.

    from mlembed.training import Binary, RandomSplit, Trainer

`pack` makes a bundle of an ONNX model that was made elsewhere.

Names resolve on first use: the trainer's libraries are an extra that hosts need not install.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mlembed.errors import MissingExtraError

if TYPE_CHECKING:
    from mlembed.training.candidate import Candidate
    from mlembed.training.cleaning import Cleaning
    from mlembed.training.labels import Binary, Regression
    from mlembed.training.splits import GroupSplit, RandomSplit, Split, TimeSplit
    from mlembed.training.tensor_packing import pack
    from mlembed.training.trainer import Trainer

__all__ = [
    "Binary",
    "Candidate",
    "Cleaning",
    "GroupSplit",
    "RandomSplit",
    "Regression",
    "Split",
    "TimeSplit",
    "Trainer",
    "pack",
]

_HOMES = {
    "Binary": "labels",
    "Candidate": "candidate",
    "Cleaning": "cleaning",
    "GroupSplit": "splits",
    "RandomSplit": "splits",
    "Regression": "labels",
    "Split": "splits",
    "TimeSplit": "splits",
    "Trainer": "trainer",
    "pack": "tensor_packing",
}
_LIBRARIES = {"sklearn", "skl2onnx", "onnx", "duckdb"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mlembed.training' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"mlembed.training.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _LIBRARIES:
            raise MissingExtraError("training", "train") from error
        raise
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
