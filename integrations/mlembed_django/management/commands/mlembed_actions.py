"""`manage.py mlembed_actions`: check, preview, list and judge the site's actions.

The same commands as `mlembed actions`, on what the site declares: `check`, `preview`, `report`, `list`,
`show`, `status`, `redeliver`, `resume`, `outcomes`. `mlembed_deliver` sends.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from mlembed.errors import MlembedError
from mlembed_crm.commands import add_commands
from mlembed_django.management.asked import SiteCommand, require_tables, the_site
from mlembed_django.management.kept import Kept

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from mlembed_crm.delivery import Delivery
    from mlembed_crm.hook import Actions
    from mlembed_crm.outcomes import Outcomes
    from mlembed_django.conf import Site
    from mlembed_django.outbox import DjangoOutbox


class Command(SiteCommand):
    """Run one of the commands."""

    help = "Check, preview, list and judge the site's actions; mlembed_deliver sends them."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the commands that `mlembed actions` has, on the site's own outbox."""
        parser.add_argument("--log-dir", dest="log_dir", help="the prediction log; LOG_DIR")
        add_commands(parser.add_subparsers(required=True, metavar="COMMAND"), site=True)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run the command that was asked for.

        Raises:
            CommandError: If the site or its tables are not as they must be.
            SystemExit: With 1 where a check found an error.
        """
        import argparse

        found = the_site()
        require_tables(found.declaration.outbox.using)
        asked = argparse.Namespace(**options)
        asked.log_dir = asked.log_dir or str(found.declaration.settings.log_dir)
        declared = _SiteDeclared(found)
        try:
            status: int = asked.run(declared, asked)
        except (MlembedError, ImproperlyConfigured, ImportError) as error:
            raise CommandError("; ".join([str(error), *declared.finish()])) from error
        except BrokenPipeError:
            sys.stdout = None  # the reader has gone: nothing may be flushed to it at exit
            raise SystemExit(2) from None
        if problems := declared.finish():
            raise CommandError("; ".join(problems))
        if status:
            raise SystemExit(status)


class _SiteDeclared:
    """What the site declares, as the commands ask for it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._kept: Kept | None = None

    def finish(self) -> list[str]:
        """Wait until the outcomes that were read are written; return what is wrong."""
        if self._kept is None:
            return []
        self._kept.finish()
        return self._kept.problems()

    @functools.cached_property
    def outbox(self) -> DjangoOutbox:
        from mlembed_django.outbox import DjangoOutbox

        return DjangoOutbox(self._site.declaration.outbox.using)

    @property
    def actions(self) -> Actions:
        from mlembed_django.acting import SiteActions
        from mlembed_django.declaration import listed

        declared = self._site.declaration.actions
        if not declared:
            raise ImproperlyConfigured("MLEMBED['ACTIONS'] is not set; it holds or names the rules")
        return SiteActions(self.outbox, listed(declared))

    @property
    def delivery(self) -> Delivery:
        from mlembed_django.delivering import delivery_of

        return delivery_of(self._site)

    @property
    def outcomes(self) -> list[Outcomes]:
        from mlembed_django.outcomes import outcomes_of

        self._kept = Kept(self._site.journal)
        return outcomes_of(self._site)
