"""What `mlembed_actions outcomes` has read is in the database when it ends, or it says that it is not."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from keeping import in_service
from mlembed_crm import Limits, Truth
from mlembed_crm.truths import Found, Page
from mlembed_django.models import Outcome
from mlembed_django.outcomes import ReadOutcomes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlembed_crm import Action, Receipt
    from mlembed_crm.destinations import Field

TRUTH = Truth(record="deals", key="id", field="stage", values={"won": True})
READ = [ReadOutcomes(name="deals", destination="crm", model="toy", truth=TRUTH)]
OBSERVED = dt.datetime(2026, 3, 4, tzinfo=dt.UTC).timestamp()


class Crm:
    """A business system that tells of one deal."""

    name = "crm"
    limits = Limits()
    found = Found("c-1", "", value=True, observed=OBSERVED)

    def send(self, _actions: Sequence[Action], /) -> list[Receipt]:
        """Take nothing: it is only read here."""
        raise NotImplementedError

    def describe(self, _record: str, /) -> Mapping[str, Field]:
        """Tell of no field."""
        return {}

    def changes(self, _truth: Truth, cursor: str, /) -> Page:
        """Give all there is, once."""
        return Page(() if cursor else (self.found,), "end", more=False)


@pytest.fixture
def setting(declared: dict[str, Any], committing_db: None) -> dict[str, Any]:
    """Return the setting of a site that reads outcomes in a CRM."""
    del committing_db
    places = {"crm": {"ADAPTER": f"{__name__}.Crm"}}
    return {**declared, "OUTCOMES": READ, "DATABASE": {}, "DESTINATIONS": places}


def read_once() -> None:
    """Run the command."""
    with contextlib.redirect_stdout(io.StringIO()):
        call_command("mlembed_actions", "outcomes", "--once")


def test_outcomes_that_were_read_are_written_at_once(setting: dict[str, Any]) -> None:
    """The process may end then: the CRM is not asked for them again."""
    with in_service(setting):
        read_once()
        kept = Outcome.objects.count()

    assert kept == 1


def test_outcomes_that_are_lost_are_told(
    setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of cron that loses what it read is noticed."""
    monkeypatch.setattr(Crm, "found", Crm.found._replace(key="", prediction_id="bogus"))

    with in_service(setting), pytest.raises(CommandError, match=r"1 .* are lost \(1 unknown\)"):
        read_once()
