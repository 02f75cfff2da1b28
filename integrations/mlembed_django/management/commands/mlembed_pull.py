"""`manage.py mlembed_pull`: bring every declared model onto this machine, verified and proved.

Run it while an image is built or before a server starts. Exit status: 0 where all models are here
(or, with `--dry-run`, could be had), 1 where one cannot be had.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from mlembed.errors import SettingsError
from mlembed_django.management.asked import SiteCommand, chosen, require_near, the_site
from mlembed_django.pulling import pull, registry_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from mlembed_django.pulling import Pulled

_UNITS = ("B", "kB", "MB", "GB")
_STEP = 1000.0


class Command(SiteCommand):
    """Fetch, verify and prove each model."""

    help = (
        "Fetch every model that MLEMBED declares into the cache, verify its bytes and signature, "
        "and replay its golden rows. Exits with 1 if one cannot be had."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take names of models, `--dry-run` and `--json`."""
        parser.add_argument("names", nargs="*", metavar="name", help="models to pull; all if none")
        parser.add_argument(
            "--dry-run", action="store_true", help="tell what would be downloaded, and do not"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Pull the models, and tell of each as it is here.

        Raises:
            CommandError: If a model cannot be had, or the setting is malformed.
        """
        declared = chosen(options["names"])
        settings = the_site().declaration.settings
        require_near(settings.registry)
        try:
            registry = registry_of(settings)
        except SettingsError as error:
            raise CommandError(str(error)) from error
        done = []
        width = max(len(f"{each.name} {each.ref}") for each in declared)
        for each in declared:
            done.append(pull(each, registry, settings, dry_run=options["dry_run"]))
            if not options["json"]:
                self.stdout.write(_line(done[-1], width, asked=bool(settings.keys)))
                self.stdout.flush()
        failed = [each for each in done if each.state == "fails"]
        if options["json"]:
            models = [dataclasses.asdict(each) for each in done]
            report = {"ok": not failed, "registry": str(registry), "models": models}
            self.stdout.write(json.dumps(report))
        if failed:
            raise CommandError(f"{len(failed)} of {len(done)} models cannot be had")


def _line(pulled: Pulled, width: int, *, asked: bool) -> str:
    title = f"{pulled.name} {pulled.ref}".ljust(width)
    if pulled.state == "fails":
        return f"{title}  fails  {pulled.error}"
    signed = "not signed" if asked else "signature not asked for"
    if pulled.signed:
        signed = f"signed by {pulled.signed[:12]}"
    parts = [title, pulled.state, pulled.version, _size(pulled.size_bytes)]
    if pulled.state != "missing" and pulled.seconds:
        parts += [signed, f"{pulled.seconds:.1f} s"]
    return "  ".join([*parts, pulled.error]).rstrip()


def _size(n_bytes: float) -> str:
    unit = 0
    while n_bytes >= _STEP and unit < len(_UNITS) - 1:
        n_bytes, unit = n_bytes / _STEP, unit + 1
    return f"{n_bytes:.{1 if unit else 0}f} {_UNITS[unit]}"
