"""`manage.py mlembed_check`: show that every declared model can serve on this machine.

Run it in a deployment before traffic arrives: it exits with 1 unless every model serves, and says
of those that do not whether a fallback answers for them.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from mlembed.registry import open_source
from mlembed_django.conf import site
from mlembed_django.trial import try_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.management.base import CommandParser

    from mlembed_django.trial import Trial

_HEADER = ("MODEL", "REFERENCE", "STATE", "VERSION", "GOLDEN ROWS", "LOADED IN", "PREDICTS IN")


class Command(BaseCommand):
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
        try:
            declaration = site().declaration
            chosen = [site().declared(name) for name in options["names"] or declaration.models]
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        settings = declaration.settings
        registry = open_source(settings.registry, settings)
        trials = [try_model(declared, registry, settings) for declared in chosen]
        print_trials = self._print_json if options["json"] else self._print_table
        print_trials(settings.registry, trials)
        bad = [trial for trial in trials if trial.state != "serves"]
        if bad:
            answered = sum(trial.state == "fallback" for trial in bad)
            raise CommandError(
                f"{len(bad)} of {len(trials)} models cannot serve; "
                f"{answered} of them answer with a fallback"
            )

    def _print_json(self, registry: str, trials: Sequence[Trial]) -> None:
        models = [dataclasses.asdict(trial) for trial in trials]
        ok = all(trial.state == "serves" for trial in trials)
        self.stdout.write(json.dumps({"ok": ok, "registry": registry, "models": models}))

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
