"""What the tests of the site's database share: a site that keeps and acts, outside of test mode."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from django.core import mail
from django.db import connections
from django.test import override_settings

from mlembed_crm import Rule, falls_below, rises_above, score_at_least
from mlembed_django.conf import site
from processes import unmeasured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlembed_django.journal import Journal

UP = Rule("up", "toy", rises_above(0.8, reset=0.5), "desk")
EACH = Rule("each", "toy", score_at_least(0.9), "desk", {"list": "calls"})
DOWN = Rule("down", "other", falls_below(0.2), "desk")
RULES = [UP, EACH, DOWN]
EAGER = [Rule("eager", "toy", score_at_least(-1.0), "desk")]
LOW, HIGH = 0.1, 0.95


@contextlib.contextmanager
def in_service(declared: Mapping[str, Any], **changes: Any) -> Iterator[None]:
    """Declare a site as one that serves, where no test waits for what is written."""
    kept = mail.outbox
    del mail.outbox
    try:
        with override_settings(MLEMBED={**declared, **changes}):
            yield
    finally:
        mail.outbox = kept


def journal() -> Journal:
    """Return the site's journal."""
    found = site().journal
    assert found is not None
    return found


SITE = """
import json, sys, logging
import django
from django.conf import settings

options = json.loads(sys.argv[1])
logging.basicConfig(stream=sys.stderr, level="WARNING", format="%(message)s")
settings.configure(
    DATABASES={"default": options["database"]},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "mlembed_django"],
    MIDDLEWARE=["mlembed_django.middleware.PredictionMiddleware"],
    LOGGING_CONFIG=None,
    MLEMBED=options["mlembed"],
    USE_TZ=True,
)
django.setup()
from bundles import RECORD, toy_table
from django.core.management import call_command
from mlembed_django.conf import get_model, site
from mlembed_django.models import Delivery, Outcome, Prediction

model = get_model("toy")
"""


def run_site(
    body: str, declared: Mapping[str, Any], database: Mapping[str, Any], **changes: Any
) -> tuple[Any, str]:
    """Run *body* in a process of its own, on a site with *database*.

    Returns:
        What it printed last, as JSON, and what it logged.
    """
    mlembed = {**declared, **changes}
    options = {"database": dict(database), "mlembed": mlembed}
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", SITE + body, json.dumps(options, default=str)],
        env={**unmeasured(), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1]), ended.stderr


def the_database() -> dict[str, Any]:
    """Return the tests' database, as another process finds it."""
    kept = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
    return {name: connections["default"].settings_dict[name] for name in kept}
