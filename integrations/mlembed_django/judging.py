"""Judge the declared models from the site's log, and keep what was found for the admin.

The log in `LOG_DIR` is what models are judged by, not the rows of the database, which may be a
sample. The measures are the trainer's own, so the extra `train` is needed where this runs, and nowhere
else on the site: everything of it is imported when it is asked for.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

from mlembed.errors import MissingExtraError, MonitoringError, SettingsError
from mlembed_django.models import NAME_LENGTH
from mlembed_django.models import Report as Row
from mlembed_django.rows import fitted
from mlembed_django.times import date_of

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.monitoring.calls import CallsReport
    from mlembed.monitoring.monitor import Report
    from mlembed.registry.follow import Followed
    from mlembed.settings import Settings
    from mlembed_django.declaration import Declared

_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DEEPEST = 32


def require_measures() -> None:
    """See that models can be judged here.

    Raises:
        MissingExtraError: If the extra `train` is not installed.
    """
    try:
        import mlembed.monitoring.monitor  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("judging models (mlembed_monitor)", "train") from error


def judge(
    declared: Declared,
    registry: Followed,
    settings: Settings,
    window: tuple[dt.datetime | None, dt.datetime | None] = (None, None),
    min_rows: int = 300,
) -> Report | CallsReport:
    """Judge the version that *declared* refers to now.

    Args:
        declared: The model.
        registry: Where it is.
        settings: Where the log is.
        window: Earliest and latest time of its predictions; None for no limit.
        min_rows: Fewest predictions to judge.

    Raises:
        MlembedError: If there is no such model or no log of it, or they do not fit.
    """
    from mlembed.monitoring.calls import judge_calls
    from mlembed.monitoring.log import read_log
    from mlembed.monitoring.monitor import monitor
    from mlembed.monitoring.policy import Policy

    bundle = registry.fetch(registry.resolve(declared.ref))
    since, until = window
    log = read_log(settings.log_dir, bundle.manifest.name, since=since, until=until)
    policy = Policy(min_rows=min_rows)
    if bundle.manifest.inputs:
        return judge_calls(bundle, log, policy=policy)
    return monitor(bundle, log, policy=policy)


def write_page(report: Report | CallsReport, path: Path) -> None:
    """Write *report* as a page of HTML.

    Raises:
        MonitoringError: If it cannot be written, or of calls alone there is no page.
        MissingExtraError: If the extra `train` is not installed.
    """
    from mlembed.monitoring.calls import CallsReport

    if isinstance(report, CallsReport):
        raise MonitoringError(f"{report.title} takes tensors, of which there is no page")
    from mlembed.monitoring.report import write_html

    write_html(report, path)


def keep(declared: Declared, report: Report | CallsReport, using: str) -> Row:
    """Write *report* into the database *using*, under the site's name of the model."""
    document = report.to_json()
    performance = document.get("performance") or {}
    version = str(document.get("version") or document["title"].partition("@")[2])
    row = Row(
        model=fitted(declared.name, NAME_LENGTH),
        version=fitted(version, 64),
        bundle=report.digest,
        created=date_of(dt.datetime.fromisoformat(report.created)),
        state=report.state,
        rows=document.get("n_rows", report.traffic.calls),
        matched=report.matched,
        metric=fitted(performance.get("metric") or "", 64),
        value=_finite(performance.get("value")),
        low=_finite(performance.get("low")),
        high=_finite(performance.get("high")),
        promised=_finite(performance.get("promised")),
        document=storable(document),
    )
    row.save(using=using, force_insert=True)
    return row


def moment_of(text: str, now: dt.datetime) -> dt.datetime | None:
    """Return the time that *text* says: ISO 8601, or how long before *now*, such as `7d`.

    Raises:
        SettingsError: If it says none.
    """
    if not text:
        return None
    try:
        if text[-1] in _UNITS:
            return now - dt.timedelta(seconds=float(text[:-1]) * _UNITS[text[-1]])
        moment = dt.datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise SettingsError(
            "--since and --until take ISO 8601, 2026-11-23T00:00:00Z, or an age such as 36h or 7d"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def storable(value: Any, depth: int = 0) -> Any:
    """Return *value*, plain JSON, as every database takes it.

    JSON knows no NaN and no infinity, which become null; PostgreSQL takes no NUL in a text.
    """
    if isinstance(value, str):
        return fitted(value, len(value))
    if isinstance(value, float):
        return _finite(value)
    if depth < _DEEPEST and isinstance(value, dict):
        return {storable(str(k)): storable(v, depth + 1) for k, v in value.items()}
    if depth < _DEEPEST and isinstance(value, (list, tuple)):
        return [storable(each, depth + 1) for each in value]
    return value if value is None or isinstance(value, (bool, int)) else str(value)


def _finite(value: Any) -> float | None:
    found = None if value is None else float(value)
    return found if found is not None and math.isfinite(found) else None
