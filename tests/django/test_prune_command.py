"""`mlembed_prune` deletes what is too old, and nothing that still waits."""

from __future__ import annotations

import io
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from crm.receiver import action
from mlembed_django.models import Delivery, Prediction
from mlembed_django.outbox import DjangoOutbox
from mlembed_django.times import date_of_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 86_400.0
RULES: list[Any] = []


@pytest.fixture
def rows(declared: dict[str, Any], db: None) -> Iterator[dict[str, Any]]:
    """Fill the tables with what is old and what is new; set MLEMBED to keep ten days of it."""
    del db
    now = time.time()
    for age in (1, 9, 11, 400):
        created = date_of_seconds(now - age * DAY)
        Prediction.objects.create(uuid=uuid.uuid4(), model="toy", reason="ok", created=created)
        for state in ("pending", "sent", "dead", "discarded"):
            made = action(f"{state}-{age}")
            DjangoOutbox().enqueue(made)
            Delivery.objects.filter(uuid=made.id).update(state=state, settled=now - age * DAY)
    setting = {
        **declared,
        "DATABASE": {"KEEP_DAYS": 10},
        "ACTIONS": f"{__name__}.RULES",
        "OUTBOX": {"KEEP_DAYS": 10},
    }
    with override_settings(MLEMBED=setting):
        yield setting


def run(*arguments: str) -> list[str]:
    """Run the command; return the lines it printed."""
    out = io.StringIO()
    call_command("mlembed_prune", *arguments, stdout=out)
    return out.getvalue().splitlines()


def left() -> tuple[int, dict[str, int]]:
    """Return how many predictions there are, and how many deliveries of each state."""
    states = list(Delivery.objects.values_list("state", flat=True))
    return Prediction.objects.count(), {state: states.count(state) for state in set(states)}


@pytest.mark.usefixtures("rows")
def test_prune_deletes_what_is_too_old() -> None:
    """Old predictions and settled deliveries go; what waits or was given up stays."""
    lines = run()

    assert lines == [
        "2 predictions deleted",
        "0 outcomes deleted",
        "0 reports deleted",
        "4 deliveries deleted",
    ]
    assert left() == (2, {"pending": 4, "dead": 4, "sent": 2, "discarded": 2})


@pytest.mark.usefixtures("rows")
def test_dry_run_deletes_nothing() -> None:
    """It tells the same numbers, and the rows stay."""
    before = left()

    (line,) = run("--dry-run", "--json")

    assert json.loads(line) == {
        "dry_run": True,
        "deleted": {"predictions": 2, "outcomes": 0, "reports": 0, "deliveries": 4},
    }
    assert run("--dry-run")[0] == "2 predictions would be deleted"
    assert left() == before


@pytest.mark.usefixtures("db", "declared")
def test_a_site_that_keeps_nothing_has_nothing_to_prune() -> None:
    """Where neither DATABASE nor ACTIONS is set, that is said."""
    assert run() == ["MLEMBED keeps nothing in the database; there is nothing to prune"]


def test_a_database_that_is_not_there_is_told(declared: dict[str, Any]) -> None:
    """An alias that DATABASES lacks ends the command with a sentence."""
    with (
        override_settings(MLEMBED={**declared, "DATABASE": {"USING": "archive"}}),
        pytest.raises(CommandError, match="DATABASES has no 'archive'"),
    ):
        call_command("mlembed_prune", skip_checks=True)
