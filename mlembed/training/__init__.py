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
    from mlembed.training.checks import Checks
    from mlembed.training.cleaning import Cleaning
    from mlembed.training.conformal import Interval
    from mlembed.training.gates import Gates
    from mlembed.training.labels import Binary, Multiclass, Regression
    from mlembed.training.screening import Leakage
    from mlembed.training.splits import GroupSplit, RandomSplit, Split, TimeSplit
    from mlembed.training.tables import Query, Table
    from mlembed.training.tensor_packing import pack
    from mlembed.training.threshold import ByCapacity, ByCost, ByPrecision, ByRecall
    from mlembed.training.trainer import Trainer
    from mlembed.training.tuning import Tuning

__all__ = [
    "Binary",
    "ByCapacity",
    "ByCost",
    "ByPrecision",
    "ByRecall",
    "Candidate",
    "Checks",
    "Cleaning",
    "Gates",
    "GroupSplit",
    "Interval",
    "Leakage",
    "Multiclass",
    "Query",
    "RandomSplit",
    "Regression",
    "Split",
    "Table",
    "TimeSplit",
    "Trainer",
    "Tuning",
    "pack",
]

_HOMES = {
    "Binary": "labels",
    "ByCapacity": "threshold",
    "ByCost": "threshold",
    "ByPrecision": "threshold",
    "ByRecall": "threshold",
    "Candidate": "candidate",
    "Checks": "checks",
    "Cleaning": "cleaning",
    "Gates": "gates",
    "GroupSplit": "splits",
    "Interval": "conformal",
    "Leakage": "screening",
    "Multiclass": "labels",
    "Query": "tables",
    "RandomSplit": "splits",
    "Regression": "labels",
    "Split": "splits",
    "Table": "tables",
    "TimeSplit": "splits",
    "Trainer": "trainer",
    "Tuning": "tuning",
    "pack": "tensor_packing",
}
_LIBRARIES = {"sklearn", "skl2onnx", "onnx", "duckdb", "optuna", "scipy"}


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
