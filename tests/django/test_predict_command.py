"""`manage.py mlembed_predict`: one answer, for a row or for a record."""

from __future__ import annotations

import datetime as dt
import json
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from bundles import RECORD, Toy
from mlembed_django.conf import get_model
from mlembed_django.instances import from_instance
from store.models import Customer, Town

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEEN = dt.datetime(2026, 3, 4, 17, 30, tzinfo=dt.UTC)
CUSTOMER: Any = from_instance(
    "store.Customer",
    Toy,
    income="spent",
    visits="id",
    member="newsletter",
    town="town__name",
    seen="joined",
)

pytestmark = pytest.mark.usefixtures("mapped")


@pytest.fixture
def mapped(declared: dict[str, Any]) -> Iterator[None]:
    """Declare that customers become records of the model `toy`, and that `bare` takes none."""
    models = {"toy": {"REF": "toy@champion", "RECORD": f"{__name__}.CUSTOMER"}, "bare": "toy"}
    with override_settings(MLEMBED={**declared, "MODELS": models}):
        yield


@pytest.fixture
def customer(db: None) -> Customer:
    """Keep one customer."""
    del db
    town = Town.objects.create(name="oslo")
    return Customer.objects.create(name="ada", age=41, town=town, joined=SEEN)


def told(*arguments: str) -> str:
    """Return what the command says."""
    out = StringIO()
    call_command("mlembed_predict", *arguments, stdout=out)
    return out.getvalue()


def test_a_row_is_answered_for(customer: Customer) -> None:
    """It is read, mapped and asked about; its key is its primary key."""
    said = json.loads(told("toy", "--instance", f"store.Customer:{customer.pk}", "--json"))

    assert said["score"] == get_model("toy").predict(customer).score
    assert said["key"] == str(customer.pk)


def test_a_record_is_answered_for(tmp_path: Path) -> None:
    """A JSON object of the model's columns is asked about, with a key where one is given."""
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**RECORD, "seen": RECORD["seen"].isoformat()}))

    said = told("toy", "--record", str(path), "--key", "ada")

    assert f"score     {get_model('toy').predict(RECORD).score}" in said
    assert "key       ada" in said
    assert "error" not in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "--record"),
        ("[]", "one JSON object"),
        ('{"age": NaN}', "--record"),
        ('{"age": 1, "age": 2}', "twice"),
        ("{}", "age"),
        (None, "No such file"),
    ],
    ids=["cut", "list", "nan", "twice", "empty", "missing"],
)
def test_a_record_that_is_none_is_told(tmp_path: Path, text: str | None, words: str) -> None:
    """Whatever is wrong with the file or the record is a sentence."""
    path = tmp_path / "record.json"
    if text is not None:
        path.write_text(text)

    with pytest.raises(CommandError, match=words):
        told("toy", "--record", str(path))


@pytest.mark.usefixtures("customer")
@pytest.mark.parametrize(
    ("name", "instance", "words"),
    [
        ("toy", "store.Customer", "app.Model:pk"),
        ("toy", "store.Custmer:1", "no installed app"),
        ("toy", "store.Customer:x", "no primary key"),
        ("toy", "store.Customer:999999", "there is no store.Customer"),
        ("bare", "store.Customer:1", "has no RECORD"),
        ("tyo", "store.Customer:1", "Did you mean 'toy'"),
    ],
    ids=["no key", "no model", "no number", "no row", "no mapping", "undeclared"],
)
def test_a_row_that_is_none_is_told(name: str, instance: str, words: str) -> None:
    """Whatever is not there is said by name."""
    with pytest.raises(CommandError, match=words):
        told(name, "--instance", instance)


def test_a_person_s_try_is_no_traffic(customer: Customer, tmp_path: Path) -> None:
    """Nothing is logged, and no other prediction of the site is touched."""
    told("toy", "--instance", f"store.Customer:{customer.pk}")
    get_model("toy").flush()

    assert not [*(tmp_path / "log").rglob("*.jsonl*")]
