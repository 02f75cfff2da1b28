"""What the team looks at in Django's admin: models in service, predictions, reports, deliveries.

Nothing here can be added, changed or deleted; deliveries can be retried, discarded and replayed by
those who have the permission. A model that is declared with a `PERMISSION` is shown to nobody else.
"""

from __future__ import annotations

from mlembed_django.admin.deliveries import DeliveryAdmin
from mlembed_django.admin.predictions import OutcomeAdmin, PredictionAdmin
from mlembed_django.admin.reports import ReportAdmin
from mlembed_django.admin.services import ModelVersionAdmin, ServiceAdmin

__all__ = [
    "DeliveryAdmin",
    "ModelVersionAdmin",
    "OutcomeAdmin",
    "PredictionAdmin",
    "ReportAdmin",
    "ServiceAdmin",
]
