"""Insert rows in bulk, and say why a database did not take them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django.db import DataError, Error, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import Model

# A database or a role that does not exist is another matter.
_MISSING = re.compile(
    r"no such (table|column)|has no column|(relation|column) .+ does not exist"
    r"|Table '.+' doesn't exist|Unknown column"
)


def insert(rows: Iterable[Model], using: str) -> None:
    """Insert *rows*, all of one model, at once; those that are there already stay as they are."""
    given = list(rows)
    if given:
        kept = type(given[0])._default_manager  # noqa: SLF001  whatever the site calls it
        kept.using(using).bulk_create(given, ignore_conflicts=True)


def explained(why: object, using: str) -> str:
    """Say why a database failed, without a value of a row, and what to do."""
    if not isinstance(why, Exception):
        return str(why)
    first = str(why).partition("\n")[0]
    if _MISSING.search(first):
        return f"its tables are not there; run manage.py migrate mlembed --database {using}"
    # Only what says nothing of a row: a refused value would be quoted.
    shown = isinstance(why, Error) and not isinstance(why, (DataError, IntegrityError))
    return f"{type(why).__name__}: {first}" if shown else type(why).__name__
