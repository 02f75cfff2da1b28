"""The app's migrations: complete under every default key, and there and back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.core.management import call_command
from django.db import connection

from processes import unmeasured

SITE = """
import sys
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD=sys.argv[1],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "mlembed_django"],
    USE_TZ=sys.argv[2] == "True",
)
from django.core.management import execute_from_command_line

execute_from_command_line(["manage.py", "makemigrations", "--check", "--dry-run", "--skip-checks"])
"""


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("field", ["AutoField", "BigAutoField"])
def test_a_host_makes_no_migration_of_ours(field: str, *, use_tz: bool) -> None:
    """Whatever key a host has by default, and with time zones or not, no file of the app changes."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", SITE, f"django.db.models.{field}", str(use_tz)],
        env={**unmeasured(), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (0, "No changes detected\n"), ended.stderr


@pytest.mark.usefixtures("committing_db")
def test_migrations_go_there_and_back() -> None:
    """The tables can be taken away, and made again as they were."""

    def tables() -> set[str]:
        names = connection.introspection.table_names()
        return {name for name in names if name.startswith("mlembed_")}

    before = tables()
    call_command("migrate", "mlembed", "zero", verbosity=0)
    without = tables()
    call_command("migrate", "mlembed", verbosity=0)

    assert (without, tables()) == (set(), before)
    assert len(before) == 9
