"""Write some columns of many rows, each by its key, in one call of the database's driver.

Django's `bulk_update` writes a condition for each row into one statement, which the database weighs
for every row: at a few hundred rows a second it would take longer than all else together. A row that
is not there any more is not written, and no other column of a row is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connections

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django.db.models import Field, Model

    Fields = Sequence[Field[Any, Any]]


def update(model: type[Model], using: str, fields: Fields, rows: Iterable[Sequence[Any]]) -> int:
    """Write *fields* of some rows of *model*; neither signals nor `auto_now` know of it.

    Args:
        model: Whose table has the columns.
        using: Alias of the database.
        fields: What is written.
        rows: A value for each of them, and for each field of the primary key, one a row.

    Returns:
        How many rows there were.
    """
    connection = connections[using]
    keys = key_of(model)
    every = (*fields, *keys)

    def named(some: Fields, between: str) -> str:
        names = (connection.ops.quote_name(str(field.column)).replace("%", "%%") for field in some)
        return between.join(f"{name} = %s" for name in names)

    table = connection.ops.quote_name(model._meta.db_table).replace("%", "%%")
    statement = f"UPDATE {table} SET {named(fields, ', ')} WHERE {named(keys, ' AND ')}"  # noqa: S608  the site's own names
    values = [
        tuple(
            field.get_db_prep_save(value, connection)
            for field, value in zip(every, row, strict=True)
        )
        for row in rows
    ]
    if not values:
        return 0
    with connection.cursor() as cursor:
        cursor.executemany(statement, values)
        return int(cursor.rowcount)


def key_of(model: type[Model]) -> Fields:
    """Return the fields that the primary key of *model* consists of."""
    fields: Fields = model._meta.pk_fields
    return fields
