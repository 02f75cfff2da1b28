"""`predict_queryset`: every row has its answer, in order, and none costs another its own."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.db.models.signals import post_init
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from bundles import Toy
from mlembed.errors import MlembedError, SchemaError
from mlembed_django.conf import get_model
from mlembed_django.instances import from_instance
from mlembed_django.testing import override_model
from store.models import Customer, Older, Town

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEN = dt.datetime(2026, 3, 4, 17, 30, tzinfo=dt.UTC)
N = 25
OWN: dict[str, Any] = {
    "income": "spent",
    "visits": "id",
    "member": "newsletter",
    "town": "town__name",
    "seen": "joined",
}
PATHS: Any = from_instance("store.Customer", Toy, **OWN)
# What a function gives needs the instance, which is made then before it is asked for.
FUNCTIONS: Any = from_instance("store.Customer", Toy, **OWN, plan=lambda row: row.plan)

pytestmark = pytest.mark.usefixtures("mapped", "customers")


@pytest.fixture(params=["PATHS", "FUNCTIONS"])
def mapped(declared: dict[str, Any], request: pytest.FixtureRequest) -> Iterator[None]:
    """Declare that customers become records, with and without a fallback."""
    record = f"{__name__}.{request.param}"
    models = {
        "toy": {"REF": "toy@champion", "RECORD": record},
        "safe": {"REF": "toy@champion", "RECORD": record, "FALLBACK": 0.5},
        "gone": {"REF": "gone@champion", "RECORD": record, "FALLBACK": 0.25},
        "lost": {"REF": "gone@champion", "RECORD": record},
    }
    with override_settings(MLEMBED={**declared, "MODELS": models}):
        yield


@pytest.fixture
def customers(db: None) -> None:
    """Keep 25 customers in three towns; some have none."""
    del db
    towns = [*Town.objects.bulk_create(Town(name=name) for name in ("oslo", "lyon", "rome")), None]
    Customer.objects.bulk_create(
        Customer(name=f"c{i}", age=20 + i, town=towns[i % 3], spent=i * 100, joined=SEEN)
        for i in range(N)
    )


def alone(name: str, customer: Customer) -> float:
    """Return the score that a customer gets alone."""
    return get_model(name).predict(customer).score


@pytest.mark.parametrize("chunk_size", [1, 7, N, 1_000])
def test_every_row_has_its_own_answer(chunk_size: int) -> None:
    """In the queryset's order, whatever the chunks, each row is scored as it is alone."""
    rows = Customer.objects.order_by("-pk")

    scored = list(get_model("toy").predict_queryset(rows, chunk_size=chunk_size))

    assert [row.instance for row in scored] == list(rows)
    expected = [alone("toy", row.instance) for row in scored]
    assert [row.score for row in scored] == pytest.approx(expected, rel=1e-12)
    assert [row.key for row in scored] == [row.instance.pk for row in scored]
    assert {row.version for row in scored} == {"1.0.0"}
    assert len({row.id for row in scored}) == N


@pytest.mark.parametrize(
    "rows",
    [
        Customer.objects.all,
        lambda: Customer.objects,
        lambda: Customer.objects.order_by("pk").only("name"),
        lambda: Customer.objects.order_by("pk").defer("age", "spent"),
        lambda: Customer.objects.order_by("pk").select_related("town"),
        lambda: Customer.objects.select_related("town").only("town__name").order_by("pk"),
        lambda: Customer.objects.order_by("pk").filter(age__gt=30)[2:9],
        lambda: Customer.objects.order_by("pk").prefetch_related("town"),
        lambda: list(Customer.objects.all()),
        Customer.objects.none,
        lambda: iter(Customer.objects.all()),
        lambda: Customer.objects.filter(age=20) | Customer.objects.filter(age=21),
        lambda: (
            Customer.objects.order_by()
            .filter(age=20)
            .union(Customer.objects.order_by().filter(age=21))
        ),
    ],
    ids=range(13),
)
def test_any_kind_of_rows_is_answered(rows: Any) -> None:
    """Sliced, deferred, joined, united, listed or empty: the answers are those of the rows."""
    expected = [alone("toy", customer) for customer in getattr(rows(), "all", rows)()]

    scored = [row.score for row in get_model("toy").predict_queryset(rows())]

    assert scored == pytest.approx(expected, rel=1e-12)


def test_an_instance_is_what_the_queryset_gives() -> None:
    """With its annotations, of its database, and ready to be saved, whenever it is made."""
    rows = Customer.objects.annotate(twice=F("age") * 2).order_by("-age")

    row = next(get_model("toy").predict_queryset(rows))
    row.instance.name = "changed"
    row.instance.save(update_fields=["name"])

    assert row.instance.twice == row.instance.age * 2
    assert row.instance is row.instance
    assert Customer.objects.get(pk=row.key).name == "changed"


def test_a_row_is_scored_as_it_shows_itself() -> None:
    """Where a model changes what it reads from the database, its answers are those of its instances."""

    def promote(instance: Any, **_: Any) -> None:
        instance.newsletter = True

    rows: Any = Older.objects.all()
    post_init.connect(promote, sender=Customer)
    try:
        older = [row.score for row in get_model("toy").predict_queryset(rows)]
        promoted = list(get_model("toy").predict_queryset(Customer.objects.all()))
        expected = [alone("toy", customer) for customer in Customer.objects.all()]
    finally:
        post_init.disconnect(promote, sender=Customer)

    assert older == pytest.approx([alone("toy", row) for row in rows], rel=1e-12)
    assert [row.score for row in promoted] == pytest.approx(expected, rel=1e-12)
    assert older != expected


def test_rows_that_are_locked_are_answered() -> None:
    """`select_for_update` locks the rows that it is asked for, and no joined ones."""
    scored = list(get_model("toy").predict_queryset(Customer.objects.select_for_update()))

    assert [row.score for row in scored] == [alone("toy", row.instance) for row in scored]


def test_rows_behind_a_relation_know_where_they_come_from() -> None:
    """A related manager's rows hold the row they were asked of, and cost no query for it."""
    town: Any = Town.objects.get(name="oslo")
    rows = town.customer_set.all()

    scored = list(get_model("toy").predict_queryset(rows))
    with CaptureQueriesContext(connection) as queries:
        towns = {row.instance.town for row in scored}

    assert towns == {town}
    assert len(queries) == 0


def test_a_queryset_is_one_query() -> None:
    """Relations that the record is read through are joined, not asked for row by row."""
    with CaptureQueriesContext(connection) as queries:
        list(get_model("toy").predict_queryset(Customer.objects.all()))

    assert len(queries) == 1


def test_nothing_is_read_before_it_is_asked_for() -> None:
    """Rows stream: the first answer needs the first chunk alone."""
    taken = []

    def rows() -> Iterator[Customer]:
        for customer in Customer.objects.all():
            taken.append(customer)
            yield customer

    first = next(get_model("toy").predict_queryset(rows(), chunk_size=4))

    assert first.score == pytest.approx(alone("toy", first.instance), rel=1e-12)
    assert len(taken) == 4


def test_a_row_that_does_not_fit_is_named() -> None:
    """The error tells the primary key and the field of each bad row, and shows no value."""
    bad = Customer.objects.order_by("pk")[3:5]
    Customer.objects.filter(pk__in=[row.pk for row in bad]).update(age=4711)

    with pytest.raises(SchemaError) as raised:
        list(get_model("toy").predict_queryset(Customer.objects.order_by("pk")))

    assert all(f"pk={row.pk}: " in str(raised.value) for row in bad)
    assert "age" in str(raised.value)
    assert "4711" not in str(raised.value)


def test_a_row_that_does_not_fit_falls_back_alone() -> None:
    """With a fallback the bad row has it, and every other row its own score."""
    bad = Customer.objects.order_by("pk")[3]
    Customer.objects.filter(pk=bad.pk).update(age=None)

    scored = list(get_model("safe").predict_queryset(Customer.objects.order_by("pk")))

    assert [row.instance for row in scored if row.reason == "fallback"] == [bad]
    assert scored[3].score == 0.5
    assert scored[4].score == pytest.approx(alone("safe", scored[4].instance), rel=1e-12)


def test_a_model_that_cannot_load_falls_back_or_raises() -> None:
    """As for one record: the fallback answers for all rows, or the error is raised."""
    scored = list(get_model("gone").predict_queryset(Customer.objects.all()))

    assert [(row.score, row.reason) for row in scored] == [(0.25, "fallback")] * N
    with pytest.raises(MlembedError, match="gone"):
        list(get_model("lost").predict_queryset(Customer.objects.all()))


def test_rows_that_are_deleted_meanwhile_are_answered() -> None:
    """What was read is answered, whatever happens to it afterwards."""
    rows = get_model("toy").predict_queryset(Customer.objects.order_by("pk"), chunk_size=10)
    first = next(rows)
    Customer.objects.filter(pk=first.instance.pk).delete()

    assert len(list(rows)) == N - 1


def test_a_failed_query_leaves_the_transaction_to_the_host() -> None:
    """A database error is raised as it is, and a savepoint around it keeps what was there."""
    broken = Customer.objects.extra(where=["nowhere = 1"])

    with pytest.raises(Exception, match="nowhere"), transaction.atomic():
        list(get_model("toy").predict_queryset(broken))

    assert Customer.objects.count() == N


@pytest.mark.parametrize("chunk_size", [0, -1])
def test_a_chunk_holds_a_row(chunk_size: int) -> None:
    """Chunks of nothing would never end."""
    with pytest.raises(ValueError, match="1 or more"):
        list(get_model("toy").predict_queryset(Customer.objects.all(), chunk_size=chunk_size))


def test_an_override_answers_for_rows_that_it_does_not_read() -> None:
    """In a host's test no record is made, whether the model is loaded or not."""
    Customer.objects.update(age=None)
    _ = get_model("toy").version

    with override_model("toy", returns=0.75):
        scored = list(get_model("toy").predict_queryset(Customer.objects.all()))

    assert [row.score for row in scored] == [0.75] * N
