"""mlembed in a Django site: one app, one middleware, one setting.

    INSTALLED_APPS += ["mlembed_django"]
    MIDDLEWARE += ["mlembed_django.middleware.PredictionMiddleware"]
    MLEMBED = {
        "REGISTRY": "file:///srv/models",
        "MODELS": {"payments": {"REF": "payments@champion", "FALLBACK": 0.0}},
    }

Then `request.predictions["payments"]` in a view, `decorators.predicts` on one, `conf.get_model`
anywhere else. Setting Django up reads no model, imports no numpy and starts no thread.
"""

from __future__ import annotations
