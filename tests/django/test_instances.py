"""`from_instance`: what a row of the site's own becomes, and what is told before it fails."""

from __future__ import annotations

import datetime as dt
import decimal
import logging
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bundles import Toy
from mlembed.errors import DeclarationError, SchemaError
from mlembed_django.conf import get_model
from mlembed_django.instances import from_instance
from store.models import Customer, Town

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEN = dt.datetime(2026, 3, 4, 17, 30, tzinfo=dt.UTC)
OWN: dict[str, Any] = {
    "income": "spent",
    "visits": lambda customer: len(customer.name),
    "member": "newsletter",
    "town": "town__name",
    "plan": lambda _: None,
    "seen": "joined",
}
MAPPING: Any = from_instance("store.Customer", Toy, **OWN)


def ada(**changes: Any) -> Customer:
    """Return a customer, as she is before she is saved."""
    values: dict[str, Any] = {
        "name": "ada",
        "town": Town(name="oslo"),
        "age": 41,
        "spent": decimal.Decimal("12.50"),
        "newsletter": True,
        "joined": SEEN,
    }
    return Customer(**{**values, **changes})


@pytest.fixture
def mapped(declared: dict[str, Any]) -> Iterator[None]:
    """Declare that instances become records of the models, with and without a fallback."""
    record = f"{__name__}.MAPPING"
    models = {
        "toy": {"REF": "toy@champion", "RECORD": record},
        "safe": {"REF": "toy@champion", "RECORD": record, "FALLBACK": 0.5},
    }
    with override_settings(MLEMBED={**declared, "MODELS": models}):
        yield


def test_an_instance_becomes_the_record() -> None:
    """Fields of one name map themselves; paths, functions and decimals become what a model takes."""
    assert MAPPING(ada()) == {
        "age": 41,
        "income": 12.5,
        "visits": 3,
        "member": True,
        "town": "oslo",
        "plan": None,
        "seen": SEEN,
    }


def test_a_related_row_that_is_not_there_is_none() -> None:
    """A path that ends early gives no value, as the row has none."""
    assert MAPPING(ada(town=None))["town"] is None


@pytest.mark.parametrize("active", ["UTC", "Asia/Tokyo"])
def test_times_without_a_zone_are_in_the_site_s_own(active: str) -> None:
    """With `USE_TZ` off a row means the same moment, whatever zone a request has activated."""
    naive = SEEN.replace(tzinfo=None)

    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Oslo"), timezone.override(active):
        seen = MAPPING(ada(joined=naive))["seen"]

    assert seen == naive.replace(tzinfo=ZoneInfo("Europe/Oslo"))


def test_a_date_is_its_midnight() -> None:
    """A date becomes the time at which its day begins in the site's time zone."""
    mapping: Any = from_instance(Customer, ["born"])

    with override_settings(TIME_ZONE="Europe/Oslo"):
        born = mapping(ada(born=dt.date(1815, 12, 10)))["born"]

    assert born == dt.datetime(1815, 12, 10, tzinfo=ZoneInfo("Europe/Oslo"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({**OWN, "town": "twon__name"}, "no field 'twon'. Did you mean 'town'"),
        ({**OWN, "town": "town"}, "ends at the relation 'town'"),
        ({**OWN, "town": "town__customer_set"}, "many"),
        ({**OWN, "twon": "town__name"}, "'twon' is no field of the record. Did you mean 'town'"),
        (
            {**OWN, "income": "name"},
            "'income' is a number, but 'name' of store.Customer is a CharF",
        ),
        ({name: OWN[name] for name in OWN if name != "town"}, "'town'"),
    ],
    ids=["lost", "relation", "many", "argument", "type", "left out"],
)
def test_what_cannot_fit_is_told_beforehand(fields: dict[str, Any], words: str) -> None:
    """Each mistake is a sentence that names the field and what there is, without a query."""
    mapping: Any = from_instance("store.Customer", Toy, **fields)

    (problem,) = mapping.problems()

    assert words in problem


def test_a_good_mapping_has_no_problem() -> None:
    """What fits is not complained of."""
    assert MAPPING.problems() == []


def test_a_model_that_no_app_has_is_told() -> None:
    """The label is looked up when it is needed, and said where it is wrong."""
    mapping: Any = from_instance("store.Custmer", ["age"])

    assert mapping.problems() == ["no installed app has the model 'store.Custmer'"]


@pytest.mark.parametrize("record", ["age", [], ["age", "age"], [1], int, None])
def test_a_record_that_is_none_is_refused(record: Any) -> None:
    """A mapping is declared of a record or of names, each once, and of nothing else."""
    with pytest.raises(DeclarationError, match="names of its fields"):
        from_instance("store.Customer", record)


@pytest.mark.usefixtures("mapped", "db")
def test_a_model_predicts_for_an_instance() -> None:
    """A row is asked about as it stands; its key is its primary key, unless another is given."""
    town = Town.objects.create(name="oslo")
    customer = ada(town=town)
    customer.save()

    made = get_model("toy").predict(customer)
    other = get_model("toy").predict(customer, key="ada")

    assert made.score == get_model("toy").predict(MAPPING(customer)).score
    assert (made.key, other.key) == (str(customer.pk), "ada")


@pytest.mark.usefixtures("mapped")
def test_a_field_that_cannot_be_read_is_the_model_s_to_refuse() -> None:
    """What a function of the site raises is told as a field that does not fit, or falls back."""
    customer = ada(name=None)  # whose length nobody knows

    answer = get_model("safe").predict(customer)
    with pytest.raises(Exception, match="visits") as raised:
        get_model("toy").predict(customer)

    assert (answer.score, answer.reason) == (0.5, "fallback")
    assert isinstance(raised.value, SchemaError)


@pytest.mark.usefixtures("mapped", "db")
def test_relations_are_named_for_a_query() -> None:
    """`select_related` names what the record is read through, so that a row costs one query."""
    Customer.objects.create(name="ada", town=Town.objects.create(name="oslo"), joined=SEEN)

    with CaptureQueriesContext(connection) as queries:
        MAPPING(Customer.objects.select_related(*MAPPING.select_related).get())

    assert MAPPING.select_related == ("town",)
    assert len(queries) == 1


@pytest.mark.usefixtures("mapped", "db")
@pytest.mark.parametrize(("relation", "n_queries"), [(None, 1), ("town", 0)])
def test_a_coroutine_predicts_for_an_instance(relation: str | None, n_queries: int) -> None:
    """A relation that is not loaded is queried where Django allows it, and never by the loop."""
    Customer.objects.create(name="ada", age=41, town=Town.objects.create(name="oslo"), joined=SEEN)
    model = get_model("toy")
    expected = model.predict(Customer.objects.get())
    customer = Customer.objects.select_related(relation).get()

    with CaptureQueriesContext(connection) as queries:
        made = async_to_sync(model.apredict)(customer)

    assert (made.score, made.key) == (expected.score, expected.key)
    assert len(queries) == n_queries


@pytest.mark.usefixtures("mapped")
def test_a_coroutine_is_told_what_cannot_be_read() -> None:
    """As a call that waits is: the fallback answers, or the field is named."""
    customer = ada(name=None)

    answer = async_to_sync(get_model("safe").apredict)(customer)
    with pytest.raises(SchemaError, match="visits"):
        async_to_sync(get_model("toy").apredict)(customer)

    assert (answer.score, answer.reason) == (0.5, "fallback")


ANNOTATED: Any = from_instance(
    "store.Customer",
    Toy,
    **OWN | {"visits": "n_orders", "town": "home", "seen": "first", "member": "is_member"},
    annotations=("n_orders", "home", "first", "is_member"),
)


@pytest.mark.parametrize("alone", [True, False], ids=["one", "rows"])
def test_an_annotation_that_is_not_there_is_named(
    declared: dict[str, Any],
    alone: bool,  # noqa: FBT001  of pytest
) -> None:
    """With the remedy, in the error and in what the fallback says, whatever the field takes."""
    record = f"{__name__}.ANNOTATED"
    models = {
        "toy": {"REF": "toy@champion", "RECORD": record},
        "safe": {"REF": "toy@champion", "RECORD": record, "FALLBACK": 0.5},
    }
    said = "'{}' cannot be read: annotation '{}' is not on this Customer: query it with .annotate({}=...)"

    with override_settings(MLEMBED={**declared, "MODELS": models}):
        toy, safe = get_model("toy"), get_model("safe")
        with pytest.raises(SchemaError) as refused:
            _ = toy.predict(ada()) if alone else next(toy.predict_queryset([ada(pk=1)]))
        answer = safe.predict(ada()) if alone else next(safe.predict_queryset([ada(pk=1)]))

    assert answer.reason == "fallback"
    for field, name in ANNOTATED.annotated.items():
        assert said.format(field, name, name) in str(refused.value)
        assert said.format(field, name, name) in answer.error


KEYLESS: Any = from_instance("store.Customer", Toy, **OWN, key=lambda customer: customer.nobody.pk)


def test_a_key_that_cannot_be_read_is_told_once(
    declared: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A queryset of a million rows is no million lines; each class of rows and each reason is one."""
    models = {"toy": {"REF": "toy@champion", "RECORD": f"{__name__}.KEYLESS"}}
    caplog.set_level(logging.DEBUG, "mlembed")

    with override_settings(MLEMBED={**declared, "MODELS": models}):
        rows = [*get_model("toy").predict_queryset([ada() for _ in range(5)])]
        answer = get_model("toy").predict(ada())
        KEYLESS.key_of(object())

    levels = [each.levelname for each in caplog.records if "cannot be read" in each.message]
    assert levels == ["WARNING", *["DEBUG"] * 5, "WARNING"]
    assert "the key of a Customer cannot be read: it raised AttributeError" in caplog.text
    assert [row.key for row in rows] == [None] * 5
    assert (answer.key, answer.reason) == (None, "ok")
