"""Scores on the rows themselves: three columns, written in bulk, and nothing else."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Count, Manager, QuerySet
from django.db.models.signals import post_init
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bundles import Toy
from mlembed.errors import MlembedError, SettingsError
from mlembed_django import score_queryset
from mlembed_django.conf import get_model
from mlembed_django.instances import from_instance
from mlembed_django.models import Prediction
from store.models import Customer, Town

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEEN = dt.datetime(2026, 3, 4, 17, 30, tzinfo=dt.UTC)
N = 25
CUSTOMER: Any = from_instance(
    "store.Customer",
    Toy,
    income="spent",
    visits="id",
    member="newsletter",
    town="town__name",
    seen="joined",
)

pytestmark = pytest.mark.usefixtures("mapped", "customers")


@pytest.fixture
def mapped(declared: dict[str, Any]) -> Iterator[None]:
    """Declare that customers become records of the model `toy`."""
    models = {"toy": {"REF": "toy@champion", "RECORD": f"{__name__}.CUSTOMER"}}
    with override_settings(MLEMBED={**declared, "MODELS": models}):
        yield


@pytest.fixture
def customers(db: None) -> None:
    """Keep 25 customers."""
    del db
    town = Town.objects.create(name="oslo")
    Customer.objects.bulk_create(
        Customer(name=f"c{i}", age=20 + i, town=town, spent=i * 100, joined=SEEN) for i in range(N)
    )


def told(*arguments: str, **options: Any) -> str:
    """Return what the command says."""
    out = StringIO()
    call_command("mlembed_score", "store.Customer", *arguments, stdout=out, **options)
    return out.getvalue()


@pytest.mark.parametrize("chunk_size", [1, 10, 1_000])
def test_every_row_has_its_score(chunk_size: int) -> None:
    """Score, version and time stand on each row, as the model gives them for it alone."""
    before = timezone.now()

    done = score_queryset(Customer.objects.all(), "churn", chunk_size=chunk_size)

    row: Any
    for row in Customer.objects.all():
        assert row.churn == pytest.approx(get_model("toy").predict(row).score, rel=1e-12)
        assert row.churn_version == "1.0.0"
        assert before <= row.churn_time <= timezone.now()
    assert (done.rows, done.written, done.fallbacks, done.refused) == (N, N, 0, {})
    assert done.versions == ("1.0.0",)
    assert done.scored == N
    assert done.mean == pytest.approx(
        sum(Customer.objects.values_list("churn", flat=True)) / N, rel=1e-12
    )


def test_only_the_three_columns_are_written() -> None:
    """What others change on a row between the reading and the writing stays as they left it."""
    renamed: list[int] = []

    def rename(instance: Any, **_: Any) -> None:
        if not renamed and instance.pk is not None:
            renamed.append(instance.pk)
            Customer.objects.filter(pk=instance.pk).update(name="renamed")

    post_init.connect(rename, sender=Customer)
    try:
        score_queryset(Customer.objects.all(), "churn")
    finally:
        post_init.disconnect(rename, sender=Customer)

    assert Customer.objects.get(pk=renamed[0]).name == "renamed"
    assert Customer.objects.get(pk=renamed[0]).churn is not None


def test_a_chunk_is_a_few_queries() -> None:
    """Rows are read and written together, not one by one."""
    with CaptureQueriesContext(connection) as queries:
        score_queryset(Customer.objects.all(), "churn", chunk_size=1_000)

    assert len(queries) <= 6


def test_stale_leaves_what_this_version_has_scored() -> None:
    """A second run goes on where the first was interrupted, and a third has nothing to do."""

    class StopError(Exception):
        pass

    def stop(_: Any) -> None:
        raise StopError

    with pytest.raises(StopError):
        score_queryset(Customer.objects.all(), "churn", chunk_size=10, hear=stop)
    second = score_queryset(Customer.objects.all(), "churn", only_stale=True)
    third = score_queryset(Customer.objects.all(), "churn", only_stale=True)

    assert (second.written, third.rows) == (N - 10, 0)
    assert not Customer.objects.filter(churn=None).exists()


@pytest.mark.parametrize("chunk_size", [1, 10, 1_000])
def test_a_row_that_a_filter_gives_often_is_scored_once(chunk_size: int) -> None:
    """A filter across a relation to many gives a row once for each of them."""
    often = Customer.objects.filter(town__customer__age__gte=0)

    done = score_queryset(often, "churn", chunk_size=chunk_size)

    assert often.count() > N
    assert (done.rows, done.scored, done.written) == (N, N, N)


def test_a_dry_run_writes_nothing() -> None:
    """It tells what would be done."""
    done = score_queryset(Customer.objects.all(), "churn", dry_run=True)

    assert (done.scored, done.written) == (N, 0)
    assert not Customer.objects.exclude(churn=None).exists()


def test_a_row_that_does_not_fit_keeps_what_it_had() -> None:
    """It is told by its primary key, and costs no other row its score."""
    bad: Any = Customer.objects.order_by("pk")[3]
    Customer.objects.filter(pk=bad.pk).update(age=None, churn=0.125, churn_version="0.9.0")

    done = score_queryset(Customer.objects.all(), "churn")

    assert list(done.refused) == [f"pk={bad.pk}"]
    assert "age" in done.refused[f"pk={bad.pk}"][0]
    assert done.written == N - 1
    bad.refresh_from_db()
    assert (bad.churn, bad.churn_version) == (0.125, "0.9.0")


def test_a_fallback_is_not_written(declared: dict[str, Any]) -> None:
    """What no version answered is no score of a version."""
    models = {"toy": {"REF": "gone@champion", "FALLBACK": 0.5, "RECORD": f"{__name__}.CUSTOMER"}}

    with override_settings(MLEMBED={**declared, "MODELS": models}):
        done = score_queryset(Customer.objects.all(), "churn")

    assert (done.written, done.fallbacks) == (0, N)
    assert set(done.unanswered) == {f"pk={row.pk}" for row in Customer.objects.all()}
    assert all("gone" in error for error in done.unanswered.values())
    assert not Customer.objects.exclude(churn=None).exists()


def test_a_model_that_cannot_load_is_told(declared: dict[str, Any]) -> None:
    """Without a fallback nothing is scored, and the command says why."""
    models = {"toy": {"REF": "gone@champion", "RECORD": f"{__name__}.CUSTOMER"}}

    with override_settings(MLEMBED={**declared, "MODELS": models}):
        with pytest.raises(MlembedError, match="gone"):
            score_queryset(Customer.objects.all(), "churn")
        with pytest.raises(CommandError, match="gone"):
            told()


@pytest.mark.parametrize(
    "rows",
    [
        lambda: Customer.objects.all()[:5],
        lambda: Customer.objects.order_by().union(Customer.objects.order_by()),
        lambda: Customer.objects.values("pk"),
        Customer.objects.distinct,
    ],
    ids=["sliced", "united", "values", "distinct"],
)
def test_rows_that_cannot_be_written_are_refused(rows: Any) -> None:
    """A queryset that cannot be taken by primary key is told so, before anything is done."""
    with pytest.raises(SettingsError, match="filter it instead"):
        score_queryset(rows(), "churn")


def test_rows_that_are_deleted_meanwhile_stay_deleted() -> None:
    """A score is written onto a row that is there, and brings none back."""
    gone: list[int] = []

    def delete(instance: Any, **_: Any) -> None:
        if not gone:
            gone.append(instance.pk)
            Customer.objects.filter(pk=instance.pk).delete()

    post_init.connect(delete, sender=Customer)
    try:
        done = score_queryset(Customer.objects.all(), "churn")
    finally:
        post_init.disconnect(delete, sender=Customer)

    assert (done.scored, done.written) == (N, N - 1)
    assert Customer.objects.exclude(churn=None).count() == Customer.objects.count() == N - 1


def test_a_manager_is_all_its_rows() -> None:
    """As for `predict_queryset`."""
    assert score_queryset(Customer.objects, "churn").written == N  # type: ignore[arg-type]  # it says QuerySet


def test_rows_that_join_many_are_each_scored() -> None:
    """A filter through a relation may give a row twice; all of them have their score."""
    town: Any = Town.objects.get()

    score_queryset(Customer.objects.filter(town__customer__pk__gt=0), "churn", chunk_size=7)

    assert town.customer_set.filter(churn=None).count() == 0


def test_refused_rows_do_not_fill_the_memory() -> None:
    """The first hundred are told, all are counted."""
    Customer.objects.bulk_create(Customer(name="x") for _ in range(300))

    done = score_queryset(Customer.objects.all(), "churn", chunk_size=40)

    assert (done.n_refused, len(done.refused), done.written) == (300, 100, N)


def test_stale_rows_of_a_model_that_only_falls_back_are_all(declared: dict[str, Any]) -> None:
    """Where no version is in service none has scored a row; nothing is raised or written."""
    models = {"toy": {"REF": "gone@champion", "FALLBACK": 0.5, "RECORD": f"{__name__}.CUSTOMER"}}

    with override_settings(MLEMBED={**declared, "MODELS": models}):
        done = score_queryset(Customer.objects.all(), "churn", only_stale=True)

    assert (done.rows, done.fallbacks, done.written) == (N, N, 0)


def test_a_dry_run_is_logged_and_kept_nowhere(declared: dict[str, Any]) -> None:
    """A look is no traffic: neither the log nor the database hears of it, and no rule acts."""
    models = {"toy": {"REF": "toy@champion", "RECORD": f"{__name__}.CUSTOMER"}}
    setting = {**declared, "MODELS": models, "DATABASE": {"PREDICTIONS": "transaction"}}

    with override_settings(MLEMBED=setting):
        score_queryset(Customer.objects.all(), "churn", dry_run=True)
        looked = Prediction.objects.count()
        score_queryset(Customer.objects.all(), "churn")

    assert (looked, Prediction.objects.count()) == (0, N)


@pytest.mark.parametrize("field", ["age", "chrun", "town"])
def test_a_field_that_is_none_is_told(field: str) -> None:
    """With the prediction fields that there are."""
    with pytest.raises(SettingsError, match="no PredictionField; it has: churn"):
        score_queryset(Customer.objects.all(), field)


def test_the_command_scores_and_says_so() -> None:
    """The only prediction field needs no name; a filter is Django's own."""
    said = told("--filter", "age__gte=30")

    assert "15 of 15 rows scored by version 1.0.0" in said
    assert Customer.objects.exclude(churn=None).count() == 15


@pytest.mark.parametrize(
    ("words", "n_rows"),
    [
        ("age__in=21,22", 2),
        ("age__in=12", 0),
        ("age__range=21,23", 3),
        ("churn__isnull=true", N),
        ("churn__isnull=False", 0),
        ("name=c7", 1),
        ("town__name=oslo", N),
    ],
)
def test_a_filter_means_what_it_says(words: str, n_rows: int) -> None:
    """Several values are parted by commas, and no value is taken letter by letter."""
    said = json.loads(told("--filter", words, "--dry-run", "--json"))

    assert said["rows"] == n_rows


NEIGHBOURS: Any = from_instance(
    "store.Customer",
    Toy,
    income="spent",
    visits="n_neighbours",
    member="newsletter",
    town="town__name",
    seen="joined",
    annotations=["n_neighbours"],
)


class Neighbours(Manager[Customer]):
    """What the site means by its customers: each with how many there are in its town."""

    def get_queryset(self) -> QuerySet[Customer]:
        """Return them all."""
        return super().get_queryset().annotate(n_neighbours=Count("town__customer"))


@pytest.mark.parametrize(
    "words", ["town__customer__age__gte=30", "town__customer__age__gte=30 age__gte=0", "age__gte=0"]
)
def test_a_filter_changes_nothing_on_the_rows_it_finds(
    declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """What is joined to find a row is not counted in what the site's manager annotates on it."""
    manager = Neighbours()
    manager.model = Customer
    monkeypatch.setattr(Customer._meta, "default_manager", manager)
    models = {"toy": {"REF": "toy@champion", "RECORD": f"{__name__}.NEIGHBOURS"}}

    with override_settings(MLEMBED={**declared, "MODELS": models}):
        told(*(argument for word in words.split() for argument in ("--filter", word)))
        right = {row.pk: get_model("toy").predict(row).score for row in manager.all()}

    kept = dict(Customer.objects.values_list("pk", "churn"))
    assert kept == pytest.approx(right, rel=1e-12)


def test_a_filter_may_name_what_the_manager_annotates(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a field of the rows, as the site sees them."""
    manager = Neighbours()
    manager.model = Customer
    monkeypatch.setattr(Customer._meta, "default_manager", manager)

    some = json.loads(told("--filter", f"n_neighbours__gte={N}", "--dry-run", "--json"))
    none = json.loads(told("--filter", f"n_neighbours__gt={N}", "--dry-run", "--json"))

    assert (some["rows"], none["rows"]) == (N, 0)


def test_the_command_tells_json() -> None:
    """One object for whoever reads it by machine."""
    said = json.loads(told("--json", "--dry-run"))

    assert (said["rows"], said["scored"], said["written"], said["dry_run"]) == (N, N, 0, True)
    assert said["versions"] == ["1.0.0"]


def test_the_command_fails_where_rows_are_left() -> None:
    """A nightly run that leaves rows without a score is noticed."""
    Customer.objects.filter(age=20).update(age=None)

    with pytest.raises(CommandError, match="1 of 25 rows have no new score"):
        told()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--filter", "age"], "NAME=VALUE"),
        (["--filter", "agee=1"], "Cannot resolve keyword"),
        (["--filter", "age=x"], "age"),
        (["--filter", "age__range=1"], "two values"),
        (["--filter", "churn__isnull=1"], "true or false"),
        (["--filter", "age__isnull__x=1"], "age"),
        (["--field", "age"], "no PredictionField"),
        (["--chunk", "0"], "1 or more"),
    ],
    ids=[
        "no value",
        "no field",
        "no number",
        "half a range",
        "half a truth",
        "no lookup",
        "no prediction",
        "no chunk",
    ],
)
def test_the_command_says_what_it_cannot_do(arguments: list[str], words: str) -> None:
    """A wrong argument is a sentence, not a traceback."""
    with pytest.raises(CommandError, match=words):
        told(*arguments)


@pytest.mark.parametrize("label", ["store.Custmer", "Customer", "store.Town"])
def test_the_command_names_a_model_without_a_field(label: str) -> None:
    """A model that is not there, or has no prediction field, is said to be so."""
    with pytest.raises(CommandError, match=r"no installed app|has none"):
        call_command("mlembed_score", label)


def test_the_site_s_check_knows_an_undeclared_model(declared: dict[str, Any]) -> None:
    """A field of a model that MLEMBED does not declare is told by manage.py check."""
    with override_settings(MLEMBED={**declared, "MODELS": {"tyo": "toy"}}):
        field: Any = Customer._meta.get_field("churn")
        (message,) = field.check()

    assert message.id == "mlembed.E011"
    assert "Did you mean 'tyo'" in str(message.hint)


SITE = """
import sys
from django.conf import settings
settings.configure(
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "{folder}/db.sqlite3"}}}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["mlembed_django", "desk"],
    MLEMBED={{"REGISTRY": "{folder}", "MODELS": {{"churn": "churn@champion"}}}},
)
import django
django.setup()
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
MODELS = """
from django.db import models
from mlembed_django import PredictionField

class Scored(models.Model):
    churn = PredictionField("churn")
    class Meta:
        abstract = True

class Client(Scored):
    name = models.CharField(max_length=8)

class Account(models.Model):
    risk = PredictionField("churn", db_index=True)
    risk_version = models.CharField(max_length=32, db_index=True)
"""


@pytest.mark.parametrize("auto", ["BigAutoField", "AutoField"])
def test_migrations_hold_three_columns_once(tmp_path: Path, auto: str) -> None:
    """A site's own migrations are plain, made once, and apply; a base class may hold the field."""
    app = tmp_path / "desk"
    (app / "migrations").mkdir(parents=True)
    for path in (app / "__init__.py", app / "migrations" / "__init__.py"):
        path.write_text("")
    (app / "models.py").write_text(MODELS)
    site = SITE.format(folder=tmp_path).replace("BigAutoField", auto)
    (tmp_path / "manage.py").write_text(site)

    def manage(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    manage("makemigrations", "desk")
    (made,) = (app / "migrations").glob("0001*.py")
    again = manage("makemigrations", "--check", "desk")
    manage("migrate")

    assert "mlembed" not in made.read_text()
    columns = [
        f"{name}{suffix}'" for name in ("churn", "risk") for suffix in ("", "_version", "_time")
    ]
    assert [made.read_text().count(f"('{column}") for column in columns] == [1] * len(columns)
    assert "max_length=32" in made.read_text()  # its own stays
    assert "No changes" in again
    assert "churn_version" in manage("sqlmigrate", "desk", "0001")
