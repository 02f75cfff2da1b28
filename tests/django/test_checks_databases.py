"""The databases that the setting names exist, and actions are where the rows are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.test import override_settings

from checked import checked, found
from mlembed_crm import Rule, rises_above

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES = [Rule("call", model="toy", when=rises_above(0.8), destination="desk")]
DESK = {
    "ADAPTER": "mlembed_crm.destinations.webhook.Webhook",
    "URL": "https://a.example/",
    "SECRET": "x",
}


class KeepsOut:
    """A router that keeps the app's tables out of every database."""

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        return False if app_label == "mlembed" and db else None


class Elsewhere:
    """A router that writes the store's rows into another database."""

    def db_for_write(self, model: Any, **_: Any) -> str | None:
        return "other" if model._meta.app_label == "store" else None


@pytest.fixture
def other() -> Iterator[None]:
    """Add a database `other`, which nobody connects to."""
    connections.settings["other"] = {**connections.settings["default"], "NAME": "/nowhere/other"}
    yield
    del connections.settings["other"]


@pytest.fixture
def setting(declared: dict[str, Any]) -> dict[str, Any]:
    """Return a setting that keeps and acts."""
    return {
        **declared,
        "DATABASE": {},
        "ACTIONS": f"{__name__}.RULES",
        "DESTINATIONS": {"desk": DESK},
    }


@pytest.mark.parametrize("part", ["DATABASE", "OUTBOX"])
def test_e010_tells_of_a_database_that_is_not_there(setting: dict[str, Any], part: str) -> None:
    """An alias must be one of DATABASES."""
    with override_settings(MLEMBED={**setting, part: {"USING": "defualt"}}):
        (message,) = checked()

    assert message.id == "mlembed.E010"
    assert f"MLEMBED['{part}']['USING'] is 'defualt'" in message.msg
    assert "Did you mean 'default'?" in str(message.hint)


def test_e010_is_silent_about_what_is_not_used(setting: dict[str, Any]) -> None:
    """A site that does not act needs no outbox."""
    with override_settings(MLEMBED={**setting, "ACTIONS": None, "OUTBOX": {"USING": "nowhere"}}):
        assert found() == {}


def test_e010_tells_of_a_router_that_keeps_the_tables_out(setting: dict[str, Any]) -> None:
    """Tables that are not migrated into the database that is named cannot be written."""
    with override_settings(MLEMBED=setting, DATABASE_ROUTERS=[f"{__name__}.KeepsOut"]):
        messages = checked()

    assert [message.id for message in messages] == ["mlembed.E010", "mlembed.E010"]
    assert "keeps mlembed.Delivery out" in messages[1].msg


@pytest.mark.usefixtures("other")
def test_checks_never_query(setting: dict[str, Any]) -> None:
    """A database that cannot even be opened does not show in a check."""
    setting = {**setting, "DATABASE": {"USING": "other"}, "OUTBOX": {"USING": "other"}}
    with override_settings(MLEMBED=setting):
        assert found() == {}


@pytest.mark.parametrize(
    ("options", "changes", "found_ids"),
    [
        ({}, {}, ["mlembed.W010"]),
        ({"timeout": 20}, {}, ["mlembed.W010"]),
        ({"transaction_mode": "DEFERRED"}, {}, ["mlembed.W010"]),
        ({"transaction_mode": "immediate"}, {}, []),
        ({"transaction_mode": "EXCLUSIVE"}, {}, []),
        ({}, {"ACTIONS": None}, []),
        ({}, {"DATABASE": None}, []),
        ({}, {"DATABASE": {"USING": "default"}}, []),
    ],
)
def test_w010_tells_of_a_database_that_refuses_actions(
    setting: dict[str, Any], options: dict[str, Any], changes: dict[str, Any], found_ids: list[str]
) -> None:
    """Only where SQLite's transactions begin without the lock, and two write into one database."""
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": "/nowhere/it", "OPTIONS": options}
    connections.settings["it"] = {**connections.settings["default"], **sqlite}
    there = {"DATABASE": {"USING": "it"}, "OUTBOX": {"USING": "it"}}
    try:
        with override_settings(MLEMBED={**setting, **there, **changes}):
            messages = checked()
    finally:
        del connections.settings["it"]
        if hasattr(connections._connections, "it"):  # type: ignore[attr-defined]  # nowhere else
            del connections["it"]

    assert [message.id for message in messages] == found_ids
    assert all("'transaction_mode': 'IMMEDIATE'" in str(message.hint) for message in messages)


def test_checks_take_milliseconds(setting: dict[str, Any]) -> None:
    """Every command of the site runs them, so they must not be felt."""
    with override_settings(MLEMBED=setting):
        found()
        times = []
        for _ in range(20):
            start = time.perf_counter()
            found()
            times.append(time.perf_counter() - start)

    assert sorted(times)[10] < 0.020
