"""`mlembed_monitor` judges what the site's log holds, and keeps what it found for the admin."""

from __future__ import annotations

import io
import json
import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse

import mlembed
from bundles import toy_bundle, toy_table
from desk import desk, superuser
from mlembed.settings import Settings
from mlembed_django.judging import moment_of, storable
from mlembed_django.models import Report
from processes import run_script
from tensorgraphs import pixels_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.registry.file import FileRegistry


def run(*arguments: str, **options: Any) -> tuple[str, int, str]:
    """Run the command; return what it printed, its exit status and its error."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("mlembed_monitor", *arguments, stdout=out, stderr=err, **options)
    except CommandError as error:
        return out.getvalue(), error.returncode, f"{err.getvalue()}{error}"
    return out.getvalue(), 0, err.getvalue()


def predict(declared: dict[str, Any], registry: FileRegistry, *, drifted: bool = False) -> None:
    """Let a host predict 600 toy records into the site's log."""
    settings = Settings(log_dir=declared["LOG_DIR"], poll_seconds=0)
    table = toy_table(600, 5)
    if drifted:
        table["visits"] = [each // 4 for each in table["visits"]]
    model = mlembed.load("toy", registry=registry, settings=settings)
    batch = model.predict_batch(table)
    for prediction_id, score in zip(batch.ids[:200], batch.scores, strict=False):
        model.outcome(prediction_id, bool(score > 0.5))
    model.close()


@pytest.fixture
def logged(db: None, declared: dict[str, Any], registry: FileRegistry) -> dict[str, Any]:
    """Log what the toy model answers, where all is well; return the setting."""
    del db
    predict(declared, registry)
    return declared


@pytest.mark.usefixtures("logged")
def test_monitor_tells_and_keeps_what_it_found() -> None:
    """Table and sentences are printed as the library's command prints them; a report is kept."""
    out, status, _ = run("toy")

    kept = Report.objects.get()
    assert status == 0
    assert out.startswith("toy (toy@champion)\ncolumn ")
    assert "toy@1.0.0: nothing stands out in 600 predictions." in out
    assert (kept.model, kept.version, kept.state) == ("toy", "1.0.0", "ok")
    assert (kept.rows, kept.matched) == (600, 200)
    assert kept.bundle == toy_bundle().id
    assert kept.metric == "roc_auc"
    assert kept.value is not None
    assert kept.promised == pytest.approx(toy_bundle().manifest.metrics["roc_auc"])
    assert kept.document["drifts"][0]["name"] == "(score)"
    assert sum(kept.document["drifts"][0]["observed"]) == pytest.approx(1)


def test_monitor_exits_with_1_where_a_model_needs_a_look(
    db: None, declared: dict[str, Any], registry: FileRegistry
) -> None:
    """A column that drifted is an alert, named with its remedy, and the status says so."""
    del db
    predict(declared, registry, drifted=True)

    out, status, error = run("toy")

    assert status == 1
    assert "Column 'visits' moved" in out
    assert "mlembed retrain toy" in out
    assert "1 of 1 models need a look" in error
    assert Report.objects.get().state == "alert"


@pytest.mark.usefixtures("logged")
def test_monitor_goes_on_past_a_model_that_cannot_be_judged() -> None:
    """A model that is not in the registry is told of, the others are judged, and the status is 2."""
    out, status, error = run()

    assert status == 2
    assert "gone cannot be judged" in error
    assert "toy@1.0.0" in out
    assert [kept.model for kept in Report.objects.all()] == ["toy"]


@pytest.mark.usefixtures("logged")
def test_monitor_prints_one_json_object() -> None:
    """`--json` gives every report whole, and nothing else."""
    out, status, _ = run("--json")

    told = json.loads(out)
    good, bad = (
        next(m for m in told["models"] if m.get("name", m["model"]) == n) for n in ("toy", "gone")
    )
    assert status == 2
    assert told["ok"] is False
    assert good["state"] == "ok"
    assert good["drifts"][0]["name"] == "(score)"
    assert bad["state"] == "fails"


@pytest.mark.usefixtures("logged")
def test_monitor_keeps_nothing_where_it_is_told_so() -> None:
    """`--no-store` judges alike and writes no row."""
    out, status, _ = run("toy", "--no-store")

    assert status == 0
    assert "nothing stands out" in out
    assert not Report.objects.exists()


@pytest.mark.usefixtures("logged")
def test_monitor_judges_the_window_it_is_told() -> None:
    """What is older or newer than the window is left out; ages and dates both name it."""
    old, _, _ = run("toy", "--until", "2020-01-01", "--no-store")
    none, _, _ = run("toy", "--until", "1d", "--no-store")
    new, _, _ = run("toy", "--since", "1d", "--no-store")

    assert "0 predictions of 300 needed" in old
    assert "0 predictions of 300 needed" in none
    assert "in 600 predictions" in new


@pytest.mark.usefixtures("logged")
def test_monitor_needs_as_many_rows_as_it_is_told() -> None:
    """`--min-rows` is the number below which nothing is judged."""
    out, status, _ = run("toy", "--min-rows", "601", "--no-store")

    assert status == 0
    assert "too little to judge, 600 predictions of 601 needed" in out


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize(
    "arguments", [("--since", "yesterday"), ("--until", "1e400d"), ("--since", "d")]
)
def test_monitor_refuses_a_window_that_is_none(arguments: tuple[str, str]) -> None:
    """A window that cannot be read is refused before anything is judged."""
    _, status, error = run(*arguments)

    assert status == 2
    assert "ISO 8601" in error
    assert not Report.objects.exists()


@pytest.mark.usefixtures("logged")
def test_monitor_writes_a_page_a_model(tmp_path: Path) -> None:
    """`--html` writes the library's page into a folder that it makes."""
    out, status, _ = run("toy", html=tmp_path / "pages" / "today")

    page = tmp_path / "pages" / "today" / "toy.html"
    assert status == 0
    assert f"report: {page}" in out
    assert "<title>toy@1.0.0: ok</title>" in page.read_text("utf-8")


@pytest.mark.usefixtures("logged")
def test_monitor_says_that_a_page_cannot_be_written(tmp_path: Path) -> None:
    """A folder that cannot be made is told of; nothing is kept of a run that failed."""
    (tmp_path / "file").write_text("")

    _, status, error = run("toy", html=tmp_path / "file" / "pages")

    assert status == 2
    assert "cannot be made" in error
    assert not Report.objects.exists()


def test_monitor_judges_a_model_of_tensors_by_its_calls(
    db: None, declared: dict[str, Any], registry: FileRegistry
) -> None:
    """A model without columns is judged by its calls, kept, and shown on its page."""
    del db
    registry.publish(pixels_bundle())
    registry.promote("pixels", "champion", "1.0.0")
    settings = Settings(log_dir=declared["LOG_DIR"], poll_seconds=0)
    model = mlembed.load("pixels", registry=registry, settings=settings)
    for _ in range(40):
        model.predict({"pixels": np.zeros((1, 2, 2), np.float32)})
    model.close()

    with desk(MLEMBED={**declared, "MODELS": {"pixels": "pixels@champion"}}):
        out, status, _ = run()
        client = Client()
        client.force_login(superuser())
        page = client.get(reverse("admin:mlembed_service_page"), {"model": "pixels"})

    kept = Report.objects.get()
    assert status == 0
    assert "nothing stands out in 40 calls" in out
    assert (kept.version, kept.rows, kept.metric) == ("1.0.0", 40, "")
    assert ">Calls over time</title>" in page.content.decode()
    assert "holds no distribution of scores" in page.content.decode()


def test_monitor_names_a_model_as_the_site_does(
    db: None, declared: dict[str, Any], registry: FileRegistry, tmp_path: Path
) -> None:
    """A report is of what the site calls the model, its log of what the registry does."""
    del db
    predict(declared, registry)
    names = {"of mine/1": "toy@champion", "of mine_1": "toy@champion"}
    with override_settings(MLEMBED={**declared, "MODELS": names}):
        _, status, _ = run(html=tmp_path / "pages")

    assert status == 0
    assert {kept.model for kept in Report.objects.all()} == set(names)
    assert len(list((tmp_path / "pages").iterdir())) == 2


@pytest.mark.usefixtures("logged")
def test_monitor_refuses_a_model_that_is_not_declared() -> None:
    """A name that MLEMBED lacks is refused, with the names it has."""
    _, status, error = run("tov")

    assert status == 1
    assert "declares no model 'tov'" in error


def test_monitor_says_that_there_is_no_log(db: None, declared: dict[str, Any]) -> None:
    """A model that never answered cannot be judged, and the sentence says what to do."""
    del db, declared
    _, status, error = run("toy")

    assert status == 2
    assert "has no log of 'toy'" in error


@pytest.mark.usefixtures("committing_db")
def test_monitor_needs_its_table_before_it_begins(
    declared: dict[str, Any], registry: FileRegistry
) -> None:
    """Tables that are not migrated are told of at once; without keeping, they are not needed."""
    predict(declared, registry)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'mlembed'")
    try:
        _, status, error = run("toy")
        _, without, _ = run("toy", "--no-store")
    finally:
        call_command("migrate", "mlembed", fake=True, verbosity=0)

    assert (status, without) == (1, 0)
    assert "manage.py migrate mlembed" in error


def test_monitor_names_the_extra_that_it_needs() -> None:
    """Without the trainer's libraries the command says what to install."""
    printed = run_script(
        """
        import sys
        sys.modules["sklearn"] = None
        import django
        from django.conf import settings
        settings.configure(INSTALLED_APPS=["mlembed_django"])
        django.setup()

        from mlembed_django.judging import require_measures
        try:
            require_measures()
        except ImportError as error:
            print(error)
        """
    )

    assert "pip install 'mlembed[train]'" in printed


def test_site_does_not_load_what_monitoring_needs() -> None:
    """Neither the command's module nor the admin loads the trainer's libraries."""
    script = """
        import sys
        from django.conf import settings
        settings.configure(INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes",
            "django.contrib.messages", "django.contrib.sessions", "django.contrib.admin",
            "mlembed_django"])
        import django
        django.setup()
        import mlembed_django.admin
        import mlembed_django.management.commands.mlembed_monitor
        loaded = {"sklearn", "onnxruntime", "duckdb", "jinja2", "mlembed.monitoring"} & set(sys.modules)
        print(sorted(loaded))
        """

    assert run_script(script).strip() == "[]"


def test_monitor_stores_what_every_database_takes() -> None:
    """No NaN, no infinity, no NUL and no half of a surrogate pair reaches a JSON column."""
    kept = storable({"a\0": [math.nan, math.inf, 1.5, None, True, 2], "b": "x\0\ud800", "c": (1,)})

    assert kept == {"a\ufffd": [None, None, 1.5, None, True, 2], "b": "x\ufffd\ufffd", "c": [1]}
    assert json.dumps(kept, allow_nan=False).encode()


def test_window_takes_times_without_a_zone_as_utc() -> None:
    """A time without a zone means UTC, as in the library's own command."""
    from datetime import UTC, datetime

    now = datetime(2026, 11, 20, tzinfo=UTC)

    assert moment_of("2026-11-19", now) == datetime(2026, 11, 19, tzinfo=UTC)
    assert moment_of("36h", now) == datetime(2026, 11, 18, 12, tzinfo=UTC)
    assert moment_of("", now) is None
    assert sys.version_info >= (3, 11)
