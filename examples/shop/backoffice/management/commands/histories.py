"""`manage.py histories FILE`: write what was known of customers in the past, and what became of them.

It is the table that `train.py` learns from.
"""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from backoffice.histories import histories

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    """Write the table."""

    help = "Write a CSV of customers at moments of the past, with whether they ordered again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the file, and how far to look back."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--months", type=int, default=16, help="moments, a month apart")
        parser.add_argument("--until", type=dt.datetime.fromisoformat, help="as known then; now")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Write it.

        Raises:
            CommandError: If there is nothing to write.
        """
        now = options["until"] or timezone.now()
        if now.tzinfo is None:
            now = now.replace(tzinfo=dt.UTC)
        rows = histories(now, options["months"])
        first = next(rows, None)
        if first is None:
            raise CommandError("no customer ordered in that time; run manage.py seed first")
        n_rows = 1
        with options["file"].open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, first)
            writer.writeheader()
            writer.writerow(first)
            for row in rows:
                writer.writerow(row)
                n_rows += 1
        self.stdout.write(f"{n_rows:,} histories in {options['file']}")
