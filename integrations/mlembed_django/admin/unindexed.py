"""Keep SQLite, which knows nothing of how many rows a value has, from an index that does not help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Func

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models.sql.compiler import SQLCompiler


class Unindexed(Func):
    """A column that SQLite compares row by row; other databases decide by their statistics."""

    template = "%(expressions)s"
    arity = 1

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, Any]:
        """Write the column with the plus that SQLite documents for this."""
        return self.as_sql(compiler, connection, template="+%(expressions)s", **extra)
