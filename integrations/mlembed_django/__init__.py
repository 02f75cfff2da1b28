"""mlembed in a Django site: one app, one middleware, one setting.

    INSTALLED_APPS += ["mlembed_django"]
    MIDDLEWARE += ["mlembed_django.middleware.PredictionMiddleware"]
    MLEMBED = {
        "REGISTRY": "file:///srv/models",
        "MODELS": {"payments": {"REF": "payments@champion", "FALLBACK": 0.0}},
    }

Then `request.predictions["payments"]` in a view, `predicts` on one, `get_model` anywhere else.
Setting Django up reads no model, imports no numpy and starts no thread; names resolve on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlembed_django.conf import get_model
    from mlembed_django.decorators import predicts
    from mlembed_django.fields import PredictionField
    from mlembed_django.instances import from_instance
    from mlembed_django.scoring import score_queryset

__all__ = ["PredictionField", "from_instance", "get_model", "predicts", "score_queryset"]

_HOMES = {
    "PredictionField": "fields",
    "from_instance": "instances",
    "get_model": "conf",
    "predicts": "decorators",
    "score_queryset": "scoring",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"mlembed_django.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'mlembed_django' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
