"""A time of every day in which nothing is sent."""

from __future__ import annotations

import dataclasses
import datetime as dt
import zoneinfo

from mlembed.errors import SettingsError


@dataclasses.dataclass(frozen=True, slots=True)
class QuietHours:
    """A time of every day in which nothing is sent; what is queued in it waits for its end.

    Args:
        start: Such as `22:00`.
        end: Such as `07:00`; before *start*, it is the next day's.
        zone: Whose clock, by its name in the IANA time zone database, such as `Europe/Berlin`.

    Raises:
        SettingsError: If a time or the zone is malformed, or both times are the same.
    """

    start: str
    end: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        try:
            times = [dt.time.fromisoformat(text) for text in (self.start, self.end)]
            zoneinfo.ZoneInfo(self.zone)
        except (TypeError, ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            raise SettingsError(
                "QuietHours: expected two times and a zone, as ('22:00', '07:00', 'Europe/Berlin')"
            ) from None
        if times[0] == times[1] or any(time.tzinfo for time in times):
            raise SettingsError("QuietHours: start and end must be two different times of a day")

    @property
    def text(self) -> str:
        """The hours and their zone in one text, as an action keeps them."""
        return f"{self.start} {self.end} {self.zone}"

    def ends(self, moment: float) -> float:
        """Return when the quiet that *moment* is in ends, as Unix times; 0 outside of it."""
        start, end = (dt.time.fromisoformat(text) for text in (self.start, self.end))
        now = dt.datetime.fromtimestamp(moment, zoneinfo.ZoneInfo(self.zone))
        clock = now.time()
        if not (start <= clock < end if start < end else clock >= start or clock < end):
            return 0.0
        day = now.date() + dt.timedelta(days=clock >= end)
        # An hour that a clock set back repeats has two ends; this is the one that comes next.
        return dt.datetime.combine(day, end.replace(fold=now.fold), now.tzinfo).timestamp()


def quiet_until(text: str, moment: float) -> float:
    """Return when the quiet that *moment* is in ends, by hours that `QuietHours.text` wrote.

    Returns:
        Unix time; 0 outside of any.
    """
    return QuietHours(*text.split(" ", 2)).ends(moment) if text else 0.0
