"""Whether the databases that are named exist, and actions commit with what they are about, in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.checks import Error as CheckError
from django.core.checks import Warning as CheckWarning
from django.db import connections, router

from mlembed_django.checks.paths import imported
from mlembed_django.checks.records import mapped_model
from mlembed_django.declaration import nearest
from mlembed_django.locking import locks_at_begin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.checks import CheckMessage
    from django.db.models import Model

    from mlembed_django.declaration import Declaration


def look(declaration: Declaration) -> Iterator[CheckMessage]:
    """Tell of databases that are not as the site's settings need them.

    E010: an alias names no database for the tables. W007: the outbox is away from the rows. W010:
    SQLite would refuse an action that it could have waited for.
    """
    from mlembed_django.models import Delivery, Prediction

    if declaration.database is not None:
        place = "MLEMBED['DATABASE']['USING']"
        yield from _alias(place, declaration.database.using, Prediction)
    if declaration.actions:
        yield from _alias("MLEMBED['OUTBOX']['USING']", declaration.outbox.using, Delivery)
        yield from _apart(declaration)
        yield from _refusing(declaration)


def _alias(place: str, using: str, model: type[Model]) -> Iterator[CheckMessage]:
    if using not in connections:
        yield CheckError(
            f"{place} is '{using}', which DATABASES does not have.",
            hint=nearest(using, connections),
            id="mlembed.E010",
        )
    elif not router.allow_migrate_model(using, model):
        yield CheckError(
            f"{place} is '{using}', and a router of DATABASE_ROUTERS keeps {model._meta.label} "
            "out of that database.",
            hint="Let the router's allow_migrate take the app 'mlembed' there, or name another.",
            id="mlembed.E010",
        )


def _apart(declaration: Declaration) -> Iterator[CheckMessage]:
    using = declaration.outbox.using
    for declared in declaration.models.values():
        if not declared.record:
            continue
        row = mapped_model(imported(declared.record, "")[0])
        if row is None or router.db_for_write(row) == using:
            continue
        yield CheckWarning(
            f"MLEMBED['OUTBOX']['USING'] is '{using}', and the rows of {row._meta.label} are in "
            f"'{router.db_for_write(row)}': an action would not commit and roll back with the rows "
            "it is about.",
            hint=f"Set USING to '{router.db_for_write(row)}'.",
            id="mlembed.W007",
        )


def _refusing(declaration: Declaration) -> Iterator[CheckMessage]:
    using = declaration.outbox.using
    if declaration.database is None or declaration.database.using != using:
        return
    if using not in connections or connections[using].vendor != "sqlite" or locks_at_begin(using):
        return
    yield CheckWarning(
        f"DATABASES['{using}'] is SQLite, where a transaction that has read may not write once another "
        "has committed, and MLEMBED['DATABASE'] has a thread that commits there: an action in such a "
        "transaction of yours is lost.",
        hint=f"Set DATABASES['{using}']['OPTIONS'] = {{'transaction_mode': 'IMMEDIATE'}}.",
        id="mlembed.W010",
    )
