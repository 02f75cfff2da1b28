"""`manage.py mlembed_monitor`: judge the models in service from the log, each night if you can.

Exit status: 0 (ok, or too few predictions to tell), 1 where a model needs a look, 2 where one could
not be judged.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.db import DatabaseError

from mlembed.errors import MissingExtraError, MlembedError, SettingsError
from mlembed_crm.lines import printable
from mlembed_django.inserting import explained
from mlembed_django.judging import judge, keep, moment_of, require_measures, write_page
from mlembed_django.management.asked import (
    SiteCommand,
    chosen,
    require_near,
    require_tables,
    the_site,
)
from mlembed_django.pulling import registry_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.management.base import CommandParser

    from mlembed.monitoring.calls import CallsReport
    from mlembed.monitoring.monitor import Report
    from mlembed_django.declaration import Declared

_ODD = re.compile(r"[^A-Za-z0-9._-]+")


class Command(SiteCommand):
    """Judge each model, and keep the report for the admin."""

    help = (
        "Compare what each declared model sees and does with what it was trained and measured on. "
        "Exits with 1 if one needs a look, with 2 if one could not be judged."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take names of models, the window, and what to write."""
        parser.add_argument("names", nargs="*", metavar="name", help="models to judge; all if none")
        window = "ISO 8601, or an age such as 7d"
        parser.add_argument("--since", default="", help=f"oldest prediction: {window}")
        parser.add_argument("--until", default="", help=f"newest prediction: {window}")
        parser.add_argument("--min-rows", type=int, default=300, help="fewest predictions to judge")
        parser.add_argument(
            "--html", type=Path, metavar="FOLDER", help="write a page a model there"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        keeping = parser.add_mutually_exclusive_group()
        keeping.add_argument(
            "--keep",
            action="store_true",
            default=True,
            help="keep the report in the database, for the admin (the default)",
        )
        keeping.add_argument(
            "--no-store", action="store_false", dest="keep", help="keep it nowhere"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Judge the models, and tell of each.

        Raises:
            CommandError: If a model needs a look or cannot be judged, or the site is not as it
                must be.
        """
        self._options = options
        declared = chosen(options["names"])
        site = the_site().declaration
        self._using = "default" if site.database is None else site.database.using
        require_near(site.settings.registry)
        if options["keep"]:
            require_tables(self._using)
        now = dt.datetime.now(dt.UTC)
        try:
            require_measures()
            self._registry = registry_of(site.settings)
            self._window = moment_of(options["since"], now), moment_of(options["until"], now)
        except (MissingExtraError, SettingsError) as error:
            raise CommandError(str(error), returncode=2) from error
        self._settings = site.settings
        self._end([self._judge(each) for each in declared])

    def _judge(self, declared: Declared) -> dict[str, Any]:
        """Judge one model, write and keep what was found, and return it as JSON."""
        try:
            report = judge(
                *(declared, self._registry, self._settings, self._window),
                self._options["min_rows"],
            )
            page = self._write(declared, report)
            if self._options["keep"]:
                keep(declared, report, self._using)
        except (MlembedError, DatabaseError) as error:
            shown = explained(error, self._using) if isinstance(error, DatabaseError) else error
            if not self._options["json"]:
                self.stderr.write(f"{declared.name} cannot be judged: {shown}")
            return {"model": declared.name, "state": "fails", "error": str(shown)}
        if not self._options["json"]:
            self._tell(declared, report, page)
        return {"name": declared.name, **report.to_json()}

    def _write(self, declared: Declared, report: Report | CallsReport) -> str:
        folder = self._options["html"]
        if folder is None:
            return ""
        path = folder / f"{_file_name(declared.name)}.html"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"{folder} cannot be made: {error.strerror}") from error
        write_page(report, path)
        return str(path)

    def _tell(self, declared: Declared, report: Report | CallsReport, page: str) -> None:
        self.stdout.write(f"{declared.name} ({declared.ref})")
        for line in _laid_out(report.rows()):
            self.stdout.write(printable(line))
        self.stdout.write("")
        for sentence in report.summary():
            self.stdout.write(printable(sentence))
        if page:
            self.stdout.write(f"report: {page}")
        self.stdout.write("")
        self.stdout.flush()

    def _end(self, told: list[dict[str, Any]]) -> None:
        alerts = [each for each in told if each["state"] == "alert"]
        failed = [each for each in told if each["state"] == "fails"]
        if self._options["json"]:
            self.stdout.write(json.dumps({"ok": not alerts and not failed, "models": told}))
        if alerts:
            raise CommandError(f"{len(alerts)} of {len(told)} models need a look")
        if failed:
            raise CommandError(
                f"{len(failed)} of {len(told)} models could not be judged", returncode=2
            )


def _laid_out(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return *rows* as lines, each column as wide as its widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _file_name(name: str) -> str:
    """Return *name* as every file system takes it; two names stay two."""
    plain = _ODD.sub("_", name)[:100].lstrip(".")
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
