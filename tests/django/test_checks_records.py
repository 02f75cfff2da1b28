"""Mappings are held against the model they map and the bundle they are for, and never mixed up."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from bundles import Toy
from checked import checked, found
from mlembed_crm import Rule, rises_above
from mlembed_django.instances import from_instance

OWN: Any = {
    "income": "spent",
    "visits": "pk",
    "member": "newsletter",
    "town": "town__name",
    "plan": lambda _: "plus",
    "seen": "joined",
}
GOOD: Any = from_instance("store.Customer", Toy, **OWN)
NOTHING: Any = dict.fromkeys(Toy.model_fields, lambda _: None)
TOWNS: Any = from_instance("store.Town", Toy, **NOTHING)
LOST: Any = from_instance("store.Customer", Toy, **{**OWN, "town": "twon__name"})
SHORT: Any = from_instance("store.Customer", ["age", "member"], member="newsletter")
NO_MODEL: Any = from_instance("store.Custmer", Toy, **OWN)
RULES = [Rule("call", model="toy", when=rises_above(0.8), destination="desk")]
DESK = {"ADAPTER": "mlembed_crm.destinations.webhook.Webhook", "URL": "https://a.example/"}


class Elsewhere:
    """A router that writes the store's rows into another database."""

    def db_for_write(self, model: Any, **_: Any) -> str | None:
        return "other" if model._meta.app_label == "store" else None


def models(**records: str) -> dict[str, Any]:
    """Return MODELS in which each name has that mapping of this module."""
    return {
        name: {"REF": "toy", "RECORD": f"{__name__}.{record}"} for name, record in records.items()
    }


def test_a_mapping_that_fits_is_told_nothing(declared: dict[str, Any]) -> None:
    """It fits the model's fields, and in a deployment the columns of the bundle."""
    with override_settings(MLEMBED={**declared, "MODELS": models(toy="GOOD")}):
        assert found(deploy=True) == {}


def test_e004_tells_of_a_record_that_cannot_be_imported(declared: dict[str, Any]) -> None:
    """The path must lead somewhere."""
    with override_settings(MLEMBED={**declared, "MODELS": models(toy="GODO")}):
        messages = found()

    assert list(messages) == ["mlembed.E004"]
    assert messages["mlembed.E004"].startswith("MLEMBED['MODELS']['toy']['RECORD']: ")


@pytest.mark.parametrize(
    ("record", "part"), [("LOST", "twon"), ("NO_MODEL", "store.Custmer"), ("RULES", "a list")]
)
def test_e005_tells_of_a_mapping_that_does_not_fit(
    declared: dict[str, Any], record: str, part: str
) -> None:
    """A lost field, a model that is not there and what is no mapping are told with their place."""
    with override_settings(MLEMBED={**declared, "MODELS": models(toy=record)}):
        messages = checked()

    assert {message.id for message in messages} == {"mlembed.E005"}
    assert messages[0].msg.startswith("MLEMBED['MODELS']['toy']['RECORD']")
    assert part in messages[0].msg


def test_e003_tells_of_a_mapping_that_gives_other_columns(declared: dict[str, Any]) -> None:
    """In a deployment the mapping is held against what the version in the registry takes."""
    with override_settings(MLEMBED={**declared, "MODELS": models(toy="SHORT")}):
        assert found() == {}
        messages = found(deploy=True)

    assert list(messages) == ["mlembed.E003"]
    assert "lacks income, plan, seen, town, visits, and toy@1.0.0" in messages["mlembed.E003"]


def test_e006_tells_of_rows_of_two_tables_in_one_model(declared: dict[str, Any]) -> None:
    """Rows with the same primary key would be one entity; two versions for one table are well."""
    mixed = models(toy="GOOD", places="TOWNS")
    with override_settings(MLEMBED={**declared, "MODELS": mixed}):
        messages = found()
    mixed["places"]["REF"] = "toy@1.0.0"
    with override_settings(MLEMBED={**declared, "MODELS": mixed}):
        other_version = list(found())
    mixed["places"]["RECORD"] = mixed["toy"]["RECORD"]
    with override_settings(MLEMBED={**declared, "MODELS": mixed}):
        same_rows = list(found())

    assert list(messages) == ["mlembed.E006", "mlembed.W003"]
    assert "store.Customer ('toy') and store.Town ('places')" in messages["mlembed.E006"]
    assert other_version == ["mlembed.E006"]
    assert same_rows == []


def test_w007_tells_of_an_outbox_away_from_the_rows(declared: dict[str, Any]) -> None:
    """An action commits with the row it is about only where both are in one database."""
    setting = {
        **declared,
        "MODELS": models(toy="GOOD"),
        "ACTIONS": f"{__name__}.RULES",
        "DESTINATIONS": {"desk": DESK},
    }
    with override_settings(MLEMBED=setting, DATABASE_ROUTERS=[f"{__name__}.Elsewhere"]):
        (message,) = checked()
    with override_settings(MLEMBED=setting):
        assert found() == {}

    assert message.id == "mlembed.W007"
    assert "the rows of store.Customer are in 'other'" in message.msg
    assert message.hint == "Set USING to 'other'."
