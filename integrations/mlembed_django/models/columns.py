"""What columns of several tables share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt

    from django.db import models

    Text = models.CharField[str, str]
    Number = models.FloatField[float, float]
    MaybeNumber = models.FloatField[float | None, float | None]
    Count = models.PositiveIntegerField[int, int]
    Moment = models.DateTimeField[dt.datetime, dt.datetime]
    MaybeMoment = models.DateTimeField[dt.datetime | None, dt.datetime | None]

NAME_LENGTH = 128
KEY_LENGTH = 255
