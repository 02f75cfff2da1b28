"""Machine-learning models inside the application you already have.

    model = mlembed.load("income@champion")
    prediction = model.predict({"age": 41, "education": "Masters"})

Names resolve on first use, so that importing mlembed costs a host nothing and loads
none of the libraries it builds on.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlembed import errors, features, testing, training
    from mlembed.columns import Category, Column, Log
    from mlembed.record import Record
    from mlembed.serving.decorator import predicts
    from mlembed.serving.model import Model, load
    from mlembed.serving.prediction import Prediction
    from mlembed.settings import Settings

__version__ = "0.1.0"

__all__ = [
    "Category",
    "Column",
    "Log",
    "Model",
    "Prediction",
    "Record",
    "Settings",
    "errors",
    "features",
    "load",
    "predicts",
    "testing",
    "training",
]

_HOMES = {
    "Category": "columns",
    "Column": "columns",
    "Log": "columns",
    "Model": "serving.model",
    "Prediction": "serving.prediction",
    "Record": "record",
    "Settings": "settings",
    "load": "serving.model",
    "predicts": "serving.decorator",
}
_MODULES = {"errors", "features", "testing", "training"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"mlembed.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"mlembed.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'mlembed' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
