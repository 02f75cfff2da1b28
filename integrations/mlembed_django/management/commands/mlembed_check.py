"""`manage.py mlembed_check`: show that every declared model can serve on this machine.

Run it in a deployment before traffic arrives. Exit status: 0 where every model serves, and the tables
and destinations that the site asks for are there; else 1, and it is said of a model that does not
serve whether a fallback answers for it.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from mlembed.errors import SettingsError
from mlembed.registry import open_source
from mlembed_django.delivering import destinations_of
from mlembed_django.management.asked import (
    SiteCommand,
    chosen,
    require_near,
    require_tables,
    the_site,
)
from mlembed_django.trial import try_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.core.management.base import CommandParser

    from mlembed_django.declaration import Declaration
    from mlembed_django.trial import Trial

_HEADER = ("MODEL", "REFERENCE", "STATE", "VERSION", "GOLDEN ROWS", "LOADED IN", "PREDICTS IN")


class Command(SiteCommand):
    """Resolve, fetch, verify and try each model."""

    help = (
        "Resolve, fetch and verify every model that MLEMBED declares, replay its golden rows and "
        "time it. Exits with 1 unless all of them serve."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take names of models and `--json`."""
        parser.add_argument("names", nargs="*", metavar="name", help="models to try; all if none")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Try the models and print what came of it.

        Raises:
            CommandError: If a model cannot serve, or the setting is malformed.
        """
        declared = chosen(options["names"])
        settings = the_site().declaration.settings
        require_near(settings.registry)
        registry = open_source(settings.registry, settings)
        trials = [try_model(each, registry, settings) for each in declared]
        problems = list(_problems(the_site().declaration))
        bad = [trial for trial in trials if trial.state != "serves"]
        if options["json"]:
            models = [dataclasses.asdict(trial) for trial in trials]
            report = {"registry": settings.registry, "models": models, "problems": problems}
            self.stdout.write(json.dumps({"ok": not bad and not problems, **report}))
        else:
            self._print_table(settings.registry, trials)
        if bad:
            answered = sum(trial.state == "fallback" for trial in bad)
            problems.insert(
                0,
                f"{len(bad)} of {len(trials)} models cannot serve; "
                f"{answered} of them answer with a fallback",
            )
        if problems:
            raise CommandError("\n".join(problems))

    def _print_table(self, registry: str, trials: Sequence[Trial]) -> None:
        rows = [_HEADER, *map(_row, trials)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        self.stdout.write(f"registry: {registry}")
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())
        for trial in trials:
            if trial.error:
                self.stdout.write(f"{trial.name}: {trial.error}")


def _problems(declaration: Declaration) -> Iterator[str]:
    """Yield what else than a model keeps the site from doing what its setting asks."""
    places = {declaration.outbox.using} if declaration.actions else set()
    if declaration.database is not None:
        places.add(declaration.database.using)
    for using in sorted(places):
        try:
            require_tables(using)
        except CommandError as error:
            yield str(error)
    try:
        destinations_of(declaration.destinations)
    except (ImproperlyConfigured, SettingsError) as error:
        yield str(error)


def _row(trial: Trial) -> tuple[str, ...]:
    load, predict = trial.load_seconds, trial.predict_microseconds
    return (
        trial.name,
        trial.ref,
        trial.state,
        trial.version or "-",
        str(trial.golden_rows) if trial.golden_rows else "-",
        "-" if load is None else f"{load * 1_000:.0f} ms",
        "-" if predict is None else f"{predict:.0f} us",
    )
