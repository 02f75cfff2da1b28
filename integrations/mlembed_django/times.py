"""Turn the library's times into what the site's `USE_TZ` asks of a date, and never by a float."""

from __future__ import annotations

import datetime as dt

from django.conf import settings
from django.utils import timezone

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def date_of_ns(time_ns: int) -> dt.datetime:
    """Return the date of *time_ns*, Unix nanoseconds, to the microsecond."""
    return date_of(_EPOCH + dt.timedelta(microseconds=time_ns // 1_000))


def date_of_seconds(seconds: float) -> dt.datetime:
    """Return the date of *seconds*, Unix time."""
    return date_of(_EPOCH + dt.timedelta(seconds=seconds))


def date_of(moment: dt.datetime) -> dt.datetime:
    """Return *moment*, which has a time zone, as a field of the site takes it.

    That is aware where `USE_TZ` is on, else naive in the site's own time zone.
    """
    if settings.USE_TZ:
        return moment
    return timezone.make_naive(moment, timezone.get_default_timezone())
