"""Take SQLite's one lock for writing before anything is read, where a transaction is going to write.

A transaction that has read cannot begin to write once another has committed: SQLite refuses it at
once, whatever its timeout is. The site's own writer commits every second. Other databases need none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connections

from mlembed_django.updating import key_of

if TYPE_CHECKING:
    from django.db.models import Model

_AT_BEGIN = ("IMMEDIATE", "EXCLUSIVE")


def lock_writes(using: str, model: type[Model]) -> None:
    """Let the transaction that is open write from here on; wait for other writers as long as is set.

    It is one statement, on SQLite alone, and none where each transaction begins with the lock.

    Args:
        using: Alias of the database.
        model: Any that has a table there; no row of it is touched.
    """
    if not needs_lock(using):
        return
    connection = connections[using]
    table = connection.ops.quote_name(model._meta.db_table)
    key = connection.ops.quote_name(str(key_of(model)[0].column))
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {key} = {key} WHERE 1 = 0")  # noqa: S608  the site's own names


def needs_lock(using: str) -> bool:
    """Tell whether a transaction is open that does not write yet, and could be refused to."""
    connection = connections[using]
    is_open = connection.vendor == "sqlite" and connection.in_atomic_block
    return is_open and not locks_at_begin(using)


def locks_at_begin(using: str) -> bool:
    """Tell whether a transaction of the SQLite database *using* begins with the lock."""
    options = connections[using].settings_dict.get("OPTIONS") or {}
    return str(options.get("transaction_mode")).upper() in _AT_BEGIN
