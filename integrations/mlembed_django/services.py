"""Keep up to date which version of a model this host serves, since when, and how it is.

It is written by the writer's thread, at a model's first answer, when another version has come into
service, and once a minute while the model is asked; what fails is written the next time.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from django.db import Error, transaction

from mlembed_django.models import NAME_LENGTH, ModelVersion, Service
from mlembed_django.rows import fitted
from mlembed_django.times import date_of_seconds

if TYPE_CHECKING:
    import datetime as dt

    from mlembed.serving.loading import Served
    from mlembed_django.live import SiteModel
    from mlembed_django.writer import Writer

AGAIN_SECONDS = 60.0
_ERROR_LENGTH = 2_000


class Services:
    """What this process tells of its models.

    Args:
        writer: Of the database in which it is kept.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._seen: dict[str, tuple[str, float]] = {}

    def see(self, model: SiteModel) -> None:
        """Have it written that *model* serves, where that is news; costs a moment otherwise."""
        served, now = model.in_service, time.monotonic()
        bundle = "" if served is None else served.id
        known, again = self._seen.get(model.name, (None, 0.0))
        if bundle == known and now < again:
            return
        self._seen[model.name] = bundle, now + AGAIN_SECONDS
        self._writer.put(0, 0, lambda: self._write(model, served))

    def _write(self, model: SiteModel, served: Served | None) -> tuple[()]:
        try:
            with transaction.atomic(self._writer.using):
                self._keep(model, served, date_of_seconds(time.time()))
        except Error as error:
            self._writer.warn("models in service are not written", error)
        return ()

    def _keep(self, model: SiteModel, served: Served | None, now: dt.datetime) -> None:
        using, name = self._writer.using, fitted(model.name, NAME_LENGTH)
        version = None if served is None else _version(using, name, served, now)
        mine = Service.objects.using(using).filter(model=name, host=fitted(socket.gethostname()))
        error = "" if model.error is None else fitted(model.error, _ERROR_LENGTH)
        # Written before it is read: SQLite lets nobody write who has read something old.
        if not mine.update(state=model.state, error=error, seen=now):
            new = Service(
                model=name,
                host=fitted(socket.gethostname()),
                serving=version,
                state=model.state,
                error=error,
                since=now,
                seen=now,
            )
            Service.objects.using(using).bulk_create([new], ignore_conflicts=True)
        if version is not None:
            mine.exclude(serving=version).update(serving=version, since=now)


def _version(using: str, name: str, served: Served, now: dt.datetime) -> ModelVersion:
    """Return the row of the version in service, making it at the first sight of it."""
    manifest = served.manifest
    metric = str(manifest.training.get("metric") or "")
    new = ModelVersion(
        model=name,
        version=manifest.version,
        bundle=served.id,
        task=manifest.task.kind,
        metric=fitted(metric, 64),
        promised=manifest.metrics.get(metric),
        first_seen=now,
    )
    kept = ModelVersion.objects.using(using)
    kept.bulk_create([new], ignore_conflicts=True)
    return kept.get(model=name, bundle=served.id)
