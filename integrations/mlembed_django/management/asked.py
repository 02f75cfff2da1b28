"""What the commands ask of the site before they begin: its checks, its models, and its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections
from django.db.migrations.exceptions import InconsistentMigrationHistory
from django.db.migrations.executor import MigrationExecutor

from mlembed_django.conf import in_tests, is_remote, site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed_django.conf import Site
    from mlembed_django.declaration import Declared

_APP = "mlembed"


class SiteCommand(BaseCommand):
    """A command that tells in a sentence of a database that Django's own checks cannot read."""

    def check(self, *args: Any, **options: Any) -> Any:
        """Run the site's system checks, as each command does first.

        Since Django 6.1 they open the SQLite databases of models that hold JSON.

        Raises:
            CommandError: If a database cannot be read.
            SystemCheckError: If a check finds an error.
        """
        try:
            return super().check(*args, **options)
        except DatabaseError:
            for using in connections:  # the error names none
                _require_connection(using)
            raise


def the_site() -> Site:
    """Return the site's models.

    Raises:
        CommandError: If the setting is malformed; lists every problem.
    """
    try:
        return site()
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from error


def chosen(names: Sequence[str]) -> list[Declared]:
    """Return the declarations of the models *names*, of all where none is named.

    Raises:
        CommandError: If the setting is malformed, or declares no such model.
    """
    found = the_site()
    try:
        return [found.declared(name) for name in names or found.declaration.models]
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from error


def require_near(registry: str) -> None:
    """See that a test run asks no *registry* on the network.

    Raises:
        CommandError: If it would.
    """
    if in_tests() and is_remote(registry):
        raise CommandError(
            "the registry is on the network, which tests do not use; override MLEMBED['REGISTRY'] "
            "with a directory"
        )


def require_tables(using: str) -> None:
    """See that the app's tables are there, as this version of it has them.

    Raises:
        CommandError: If a migration was not applied, or the database *using* cannot be read.
    """
    database = "" if using == "default" else f" --database {using}"
    if using not in connections:
        raise CommandError(f"DATABASES has no '{using}'; see manage.py check")
    try:
        executor = MigrationExecutor(connections[using])
        leaves = [node for node in executor.loader.graph.leaf_nodes() if node[0] == _APP]
        missing = executor.migration_plan(leaves)
    except (DatabaseError, InconsistentMigrationHistory) as error:
        raise _unreadable(using, error) from error
    if missing:
        raise CommandError(
            f"{len(missing)} migrations of mlembed are not applied to the database '{using}'. Run: "
            f"manage.py migrate {_APP}{database}"
        )


def _require_connection(using: str) -> None:
    try:
        connections[using].ensure_connection()
    except DatabaseError as error:
        raise _unreadable(using, error) from error


def _unreadable(using: str, error: Exception) -> CommandError:
    reason = str(error).strip().splitlines()[0]
    return CommandError(f"the database '{using}' cannot be read: {reason}")
