"""What the site's database may hold of its models: versions, predictions, outcomes, deliveries.

All of it is optional but the outbox of a site that acts: the prediction log in `LOG_DIR` stays what
models are judged by. Schedules are kept in Unix seconds, which no time zone and no clock change of
a site without `USE_TZ` can shift; what people read is kept as a date.
"""

from __future__ import annotations

from mlembed_django.models.columns import KEY_LENGTH, NAME_LENGTH
from mlembed_django.models.queue import Attempt, Cursor, Delivery, DestinationState
from mlembed_django.models.seen import ModelVersion, Outcome, Prediction, Report, Service

__all__ = [
    "KEY_LENGTH",
    "NAME_LENGTH",
    "Attempt",
    "Cursor",
    "Delivery",
    "DestinationState",
    "ModelVersion",
    "Outcome",
    "Prediction",
    "Report",
    "Service",
]
