"""Turn what a report found into drawings and the tables that say the same."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import formats, timezone

from mlembed_django.admin import charts, shown
from mlembed_django.admin.shapes import Series
from mlembed_django.admin.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mlembed_django.admin.documents import Bin, Found, Shift
    from mlembed_django.admin.shapes import Bars, Drawing
    from mlembed_django.models import Report

_DAY_SECONDS = 86_400.0


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """One column's card."""

    shift: Shift
    badge: Any
    psi: str
    missing: str
    bars: Bars
    table: Table


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A wide drawing, with what its colours mean and the table that says the same."""

    drawing: Drawing
    legend: tuple[tuple[str, str], ...]
    table: Table


def column(shift: Shift) -> Column:
    """Return the card of *shift*."""
    return Column(
        shift=shift,
        badge=shown.badge(shift.state),
        psi=shown.number(shift.psi, 3),
        missing=shown.percent(shift.missing),
        bars=charts.bars(shift.bins),
        table=_bins_table(shift.bins),
    )


def calls(found: Found) -> Picture | None:
    """Draw the calls over time; None where there were none."""
    buckets = found.buckets
    if not any(each.answered or each.failed for each in buckets):
        return None
    when = _bucket_words(found.bucket_seconds)
    rows = [(when(b.start), shown.count(b.answered), shown.count(b.failed)) for b in buckets]
    table = Table("Calls over time", ("from", "answered", "failed"), rows)
    drawing = charts.columns(buckets, when, shown.count)
    return Picture(drawing, (("now", "answered"), ("bad", "fallback or error")), table)


def metric(reports: Sequence[Report]) -> Picture | None:
    """Draw the realised metric of *reports*, the oldest first, and what was promised."""
    if not any(each.value is not None for each in reports):
        return None
    points = [
        (_unix(r.created), shown.finite(r.value), shown.finite(r.low), shown.finite(r.high))
        for r in reports
    ]
    promised = [(_unix(r.created), shown.finite(r.promised), None, None) for r in reports]
    series = [Series("promised", promised, dots=False), Series("now", points)]
    when = _moment_words([point[0] for point in points])
    rows = [
        (
            *(shown.moment(r.created), r.version, shown.number(r.value)),
            f"{shown.number(r.low)} to {shown.number(r.high)}",
            *(shown.number(r.promised), shown.count(r.matched)),
        )
        for r in reversed(reports)
    ]
    head = ("report of", "version", "realised", "95% interval", "promised", "outcomes")
    legend = (("now", "realised, with its 95% interval"), ("promised", "promised"))
    drawing = charts.curves(series, when, lambda value: shown.number(value, 3))
    return Picture(drawing, legend, Table("Realised metric", head, rows))


def latency(told: Sequence[tuple[dt.datetime, Any, Any]]) -> Picture | None:
    """Draw the median and the 99th percentile of *told*: moment and seconds, the oldest first."""
    known = [(t, shown.finite(median), shown.finite(high)) for t, median, high in told]
    known = [each for each in known if each[1] is not None or each[2] is not None]
    if not known:
        return None
    series = [
        Series("was", [(_unix(t), high, None, None) for t, _, high in known]),
        Series("now", [(_unix(t), median, None, None) for t, median, _ in known]),
    ]
    when = _moment_words([_unix(t) for t, _, _ in known])
    rows = [
        (shown.moment(t), shown.latency(median), shown.latency(high))
        for t, median, high in reversed(known)
    ]
    table = Table("Latency", ("report of", "median", "99%"), rows)
    legend = (("now", "median"), ("was", "99% are faster"))
    return Picture(charts.curves(series, when, shown.latency, least=0.0), legend, table)


def _bins_table(bins: Iterable[Bin]) -> Table:
    rows = [(each.label, shown.percent(each.was), shown.percent(each.now)) for each in bins]
    return Table("Shares", ("values", "reference", "now"), rows)


def _unix(moment: dt.datetime) -> float:
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment, timezone.get_default_timezone())
    return moment.timestamp()


def _moment_words(moments: Sequence[float]) -> Callable[[float], str]:
    """Return what writes one of *moments*: as a day, or with its time where they are of few."""
    days = bool(moments) and max(moments) - min(moments) >= 2 * _DAY_SECONDS
    name = "DATE_FORMAT" if days else "SHORT_DATETIME_FORMAT"
    return lambda unix: _written(dt.datetime.fromtimestamp(unix, dt.UTC), name)


def _bucket_words(width: float) -> Callable[[str], str]:
    name = "DATE_FORMAT" if width >= _DAY_SECONDS else "SHORT_DATETIME_FORMAT"

    def write(start: str) -> str:
        try:
            moment = dt.datetime.fromisoformat(start)
        except ValueError:
            return start
        return _written(moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC), name)

    return write


def _written(moment: dt.datetime, name: str) -> str:
    zone = timezone.get_current_timezone() if settings.USE_TZ else timezone.get_default_timezone()
    return formats.date_format(moment.astimezone(zone), name)
