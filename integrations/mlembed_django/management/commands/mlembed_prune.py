"""`manage.py mlembed_prune`: delete what the site no longer keeps; run it once a day.

What is too old is said by `KEEP_DAYS` of MLEMBED['DATABASE'] and MLEMBED['OUTBOX']. Actions that
wait or were given up are never deleted. Exit status: 0, or 1 where it cannot run.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.db import DatabaseError

from mlembed_django.management.asked import SiteCommand, require_tables, the_site

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(SiteCommand):
    """Prune the tables."""

    help = "Delete predictions, outcomes, reports and settled deliveries older than KEEP_DAYS."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take `--dry-run` and `--json`."""
        parser.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Prune, and tell what went.

        Raises:
            CommandError: If the setting is malformed, or the tables are not there.
        """
        from mlembed_django.pruning import prune

        site = the_site()
        declaration = site.declaration
        places = {declaration.outbox.using} if declaration.actions else set()
        if declaration.database is not None:
            places.add(declaration.database.using)
        for using in sorted(places):
            require_tables(using)
        try:
            counts = prune(site, time.time(), dry_run=options["dry_run"])
        except DatabaseError as error:
            raise CommandError(f"the database failed: {error}") from error
        if options["json"]:
            self.stdout.write(json.dumps({"dry_run": options["dry_run"], "deleted": dict(counts)}))
            return
        verb = "would be deleted" if options["dry_run"] else "deleted"
        if not counts:
            self.stdout.write("MLEMBED keeps nothing in the database; there is nothing to prune")
        for name, count in counts.items():
            self.stdout.write(f"{count} {name} {verb}")
