"""Scores in trouble: a database that ends half way, Ctrl-C, and rows of another database."""

from __future__ import annotations

import datetime as dt
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, connection, connections
from django.test import override_settings

from bundles import Toy
from mlembed_django import from_instance, get_model, score_queryset
from store.models import Customer, Town

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.registry.file import FileRegistry

SEEN = dt.datetime(2026, 3, 4, 17, 30, tzinfo=dt.UTC)
N = 25
_INTERRUPTED = 130
CUSTOMER: Any = from_instance(
    "store.Customer",
    Toy,
    income="spent",
    visits="id",
    member="newsletter",
    town="town__name",
    seen="joined",
)


@pytest.fixture
def customers(declared: dict[str, Any], committing_db: None) -> Iterator[None]:
    """Keep 25 customers, committed, whom the model `toy` may be asked about."""
    del committing_db
    town = Town.objects.create(name="oslo")
    Customer.objects.bulk_create(
        Customer(name=f"c{i}", age=20 + i, town=town, joined=SEEN) for i in range(N)
    )
    models = {"toy": {"REF": "toy@champion", "RECORD": f"{__name__}.CUSTOMER"}}
    with override_settings(MLEMBED={**declared, "MODELS": models}):
        yield


def cancel() -> None:
    """Let the database give up what this connection asks of it."""
    if connection.vendor == "sqlite":
        connection.connection.set_progress_handler(lambda: 1, 1)
        return
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(%s, 10000)", [connection.connection.info.backend_pid]
        )
    other.close()


@pytest.mark.usefixtures("customers")
def test_a_database_that_is_cancelled_is_told_behind_the_answers_so_far() -> None:
    """What was read is answered; then the database's error is raised, as it is."""
    rows = get_model("toy").predict_queryset(Customer.objects.order_by("pk"), chunk_size=10)
    first = next(rows)
    cancel()

    with pytest.raises(DatabaseError):
        list(rows)

    connections["default"].close()
    assert first.score == get_model("toy").predict(Customer.objects.order_by("pk")[0]).score


@pytest.mark.usefixtures("customers")
def test_a_run_that_the_database_ends_is_gone_on_with() -> None:
    """Chunks that were committed stay, and a run of the stale rows does the rest."""
    with pytest.raises(DatabaseError):
        score_queryset(Customer.objects.all(), "churn", chunk_size=10, hear=lambda _: cancel())
    connections["default"].close()
    left = Customer.objects.filter(churn=None).count()
    done = score_queryset(Customer.objects.all(), "churn", only_stale=True)

    assert (left, done.rows, done.written) == (N - 10, N - 10, N - 10)


SITE = """
import sys
sys.path[:0] = {path!r}
from django.conf import settings
settings.configure(
    DATABASES={{
        name: {{"ENGINE": "django.db.backends.sqlite3", "NAME": "{folder}/" + name}}
        for name in ("default", "archive")
    }},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["mlembed_django", "store"],
    MIDDLEWARE=["mlembed_django.middleware.PredictionMiddleware"],
    MLEMBED={{
        "REGISTRY": "{registry}",
        "LOG": False,
        "MODELS": {{"toy": {{"REF": "toy@champion", "RECORD": "mapped.CUSTOMER"}}}},
    }},
    USE_TZ=True,
)
import django
django.setup()
from django.core.management import execute_from_command_line
"""
MAPPED = """
from mlembed_django import from_instance
NAMES = ("age", "income", "visits", "member", "town", "plan", "seen")
CUSTOMER = from_instance(
    "store.Customer", NAMES, income="spent", visits="id", member="newsletter", town="town__name",
    seen="joined",
)
"""
FILL = """
import datetime as dt
from store.models import Customer, Town
seen = dt.datetime(2026, 3, 4, 17, 30, tzinfo=dt.UTC)
for using in ("default", "archive"):
    execute_from_command_line(["manage.py", "migrate", "-v0", "--run-syncdb", "--database", using])
    town = Town.objects.using(using).create(name="oslo")
    Customer.objects.using(using).bulk_create(
        (Customer(name="c", age=40, town=town, joined=seen) for _ in range({n})), batch_size=500
    )
"""
COUNT = """
import json
from store.models import Customer
print(json.dumps([
    Customer.objects.using(using).exclude(churn=None).count() for using in ("default", "archive")
]))
"""


@pytest.fixture
def scripts(tmp_path: Path, registry: FileRegistry) -> Path:
    """Keep a site of two databases; return its folder."""
    path = [str(Path(__file__).parents[1]), str(tmp_path)]
    site = SITE.format(path=path, folder=tmp_path, registry=registry.root)
    (tmp_path / "mapped.py").write_text(MAPPED)
    (tmp_path / "site_of_two.py").write_text(site)
    (tmp_path / "manage.py").write_text(f"{site}\nexecute_from_command_line(sys.argv)\n")
    return tmp_path


def run(folder: Path, code: str) -> str:
    """Run *code* in the site; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"from site_of_two import *\n{code}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_scores_go_where_the_rows_are(scripts: Path) -> None:
    """Rows of a database that the queryset names are written there, and no other's are touched."""
    run(scripts, FILL.format(n=3))

    run(
        scripts,
        "from mlembed_django import score_queryset\n"
        "from store.models import Customer\n"
        "score_queryset(Customer.objects.using('archive'), 'churn')",
    )

    assert json.loads(run(scripts, COUNT)) == [0, 3]


def test_an_interrupted_command_keeps_what_is_done_and_says_how_to_go_on(scripts: Path) -> None:
    """On a terminal it shows how far it is; Ctrl-C exits with 130; --stale does the rest."""
    n_rows = 4_000
    run(scripts, FILL.format(n=n_rows))
    ours, theirs = pty.openpty()
    command = [sys.executable, "manage.py", "mlembed_score", "store.Customer", "--chunk", "4"]

    process = subprocess.Popen(
        command, cwd=scripts, stdout=subprocess.PIPE, stderr=theirs, text=True
    )
    os.close(theirs)
    shown = _read_until(ours, "left")
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=60)
    shown += _read_until(ours, "--stale")
    os.close(ours)
    before = json.loads(run(scripts, COUNT))[0]
    done = subprocess.run(
        [*command[:-2], "--stale", "--json"],
        cwd=scripts,
        capture_output=True,
        text=True,
        check=True,
    )

    assert process.returncode == _INTERRUPTED
    assert f"of {n_rows:,} rows, " in shown
    assert "interrupted; go on with --stale" in shown
    assert " rows scored by version 1.0.0" in told
    assert 0 < before < n_rows
    assert (json.loads(done.stdout)["rows"], done.stderr) == (n_rows - before, "")


def _read_until(terminal: int, word: str) -> str:
    """Return what a process writes to its terminal, up to *word* or its end."""
    shown = ""
    while word not in shown:
        try:
            shown += os.read(terminal, 4096).decode()
        except OSError:  # it has ended
            break
    return shown
