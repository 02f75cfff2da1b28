"""`mlembed_actions`: what people look at, check and put right in the site's outbox."""

from __future__ import annotations

import datetime as dt
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from bundles import RECORD
from crm.receiver import SECRET, action, dead, prediction
from keeping import HIGH, in_service
from mlembed.testing import override_model
from mlembed_crm import Actions, Limits, Rule, Truth, every_score
from mlembed_crm.truths import Found, Page
from mlembed_django.conf import get_model, site
from mlembed_django.models import Outcome
from mlembed_django.outbox import DjangoOutbox
from mlembed_django.outcomes import ReadOutcomes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlembed_crm import Action, Receipt
    from mlembed_crm.destinations import Field

PLACE = {
    "ADAPTER": "mlembed_crm.destinations.webhook.Webhook",
    "URL": "http://127.0.0.1:1/hook",
    "SECRET": SECRET,
    "ALLOW_PRIVATE": True,
}
RULES = [
    Rule("score", "toy", every_score(), "desk"),
    Rule("lost", "toy", every_score(), "nowhere"),
]
GOOD = [Rule("score", "toy", every_score(), "desk", control=0.5)]
TRUTH = Truth(record="deals", key="id", field="stage", values={"won": True})
READ = [ReadOutcomes(name="deals", destination="crm", model="toy", truth=TRUTH)]


class Crm:
    """A business system in this process, whose records can be read."""

    name = "crm"
    limits = Limits()
    found: Sequence[Found] = ()

    def send(self, _actions: Sequence[Action], /) -> list[Receipt]:
        """Take nothing: it is only read here."""
        raise NotImplementedError

    def describe(self, _record: str, /) -> Mapping[str, Field]:
        """Tell of no field."""
        return {}

    def changes(self, _truth: Truth, cursor: str, /) -> Page:
        """Give all there is, once."""
        return Page((), cursor, more=False) if cursor else Page(self.found, "end", more=False)


@pytest.fixture
def setting(declared: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Set MLEMBED to a site with rules, a desk and a CRM."""
    here = "django.test_actions_command" if __name__.startswith("django.") else __name__
    setting = {
        **declared,
        "ACTIONS": f"{here}.RULES",
        "OUTCOMES": f"{here}.READ",
        "DESTINATIONS": {"desk": PLACE, "crm": {"ADAPTER": f"{here}.Crm"}},
    }
    with override_settings(MLEMBED=setting):
        yield setting


def run(*arguments: str) -> str:
    """Run the command; return what it printed."""
    import contextlib

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        call_command("mlembed_actions", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.usefixtures("committing_db", "setting")
def test_what_was_discarded_is_listed() -> None:
    """A site has one state more than an outbox in a file: what people threw away."""
    outbox, queued = DjangoOutbox(), action("c-1")
    outbox.enqueue(queued)
    assert outbox.discard(queued.id)

    assert queued.id in run("list", "--state", "discarded")
    assert queued.id not in run("list", "--state", "pending")


@pytest.mark.usefixtures("committing_db", "setting")
def test_actions_are_listed_shown_and_sent_again() -> None:
    """What was given up is found with its reason, and queued again."""
    outbox, queued = DjangoOutbox(), action("c-1")
    outbox.enqueue(queued)
    dead(outbox, outbox.claim()[0], "HTTP 400 Bad Request")

    listed = run("list", "--state", "dead")
    shown = json.loads(run("show", queued.id, "--json"))
    again = run("redeliver", queued.id)

    assert queued.id in listed
    assert "HTTP 400" in listed
    assert [one["result"] for one in shown["history"]] == ["dead"]
    assert again == f"{queued.id}  pending\n"
    assert outbox.counts()["pending"] == 1
    with pytest.raises(CommandError, match="no such action"):
        run("show", "0199b3f0-0000-7000-8000-000000000000")


@pytest.mark.usefixtures("committing_db", "setting")
def test_status_and_resume() -> None:
    """Who is left alone, until when and why; and that it goes on."""
    outbox = DjangoOutbox()
    outbox.enqueue(action("c-1"))
    outbox.pause("risk-desk", outbox.now() + 600, "HTTP 401 Unauthorized")

    told = json.loads(run("status", "--json"))
    run("resume")

    assert (told["destination"], told["pending"]) == ("risk-desk", 1)
    assert told["why"] == "HTTP 401 Unauthorized"
    assert outbox.pauses() == {}


@pytest.mark.usefixtures("committing_db", "setting")
def test_check_finds_what_would_not_be_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """It exits with 1, and says which rule sends where there is nothing."""
    with pytest.raises(SystemExit) as ended:
        call_command("mlembed_actions", "check")

    assert ended.value.code == 1
    assert "rule 'lost' -> 'nowhere': there is no such destination" in capsys.readouterr().out


@pytest.mark.usefixtures("committing_db")
def test_preview_and_report_read_the_log(declared: dict[str, Any]) -> None:
    """What the rules would have done about logged predictions, and what they brought."""
    rules = {"ACTIONS": f"{__name__}.GOOD", "DESTINATIONS": {"desk": PLACE}}
    with in_service(declared, **rules):
        model = get_model("toy")
        made = [model.predict(RECORD, key=f"c-{n}") for n in range(40)]
        for one in made:
            model.outcome(one.id, True)  # noqa: FBT003  the label itself
        model.flush()
        before = DjangoOutbox().counts()
        shown = run("preview").splitlines()
        (effect,) = map(json.loads, run("report", "--json").splitlines())

        assert DjangoOutbox().counts() == before

    assert len(shown) == 24  # twenty actions, how many more, a table of two lines, and of what
    assert shown[20].startswith("and 20 more")
    assert shown[-1].startswith("40 predictions")
    assert effect["rule"] == "score"
    assert effect["treated"]["n_actions"] + effect["control"]["n_actions"] == 40
    assert effect["treated"]["mean"] == effect["control"]["mean"] == 1.0


@pytest.mark.usefixtures("committing_db")
def test_outcomes_are_read_into_the_log_and_the_database(
    declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the CRM tells becomes an outcome of the site's model, once."""
    observed = dt.datetime.now(dt.UTC).timestamp()
    monkeypatch.setattr(Crm, "found", [Found("c-1", "", value=True, observed=observed)])
    setting = {
        "OUTCOMES": f"{__name__}.READ",
        "DATABASE": {},
        "DESTINATIONS": {"crm": {"ADAPTER": f"{__name__}.Crm"}},
    }
    with in_service(declared, **setting), override_model("toy", returns=HIGH):
        first = run("outcomes", "--once")
        second = run("outcomes", "--once", "--json")
        journal = site().journal
        assert journal is not None
        journal.flush(10)

        assert list(Outcome.objects.values_list("key", "value")) == [("c-1", True)]

    assert first == "deals: 1 outcomes\n"
    assert json.loads(second)["outcomes"] == 0


@pytest.mark.usefixtures("committing_db")
def test_what_is_not_declared_is_said(declared: dict[str, Any]) -> None:
    """The setting that is missing is named."""
    with override_settings(MLEMBED=declared):
        for command, says in {"check": "ACTIONS", "outcomes": "OUTCOMES"}.items():
            with pytest.raises(CommandError, match=says):
                run(command, *(["--once"] if command == "outcomes" else []))


def test_rules_of_these_tests_act() -> None:
    """The rules above are what they are taken for."""
    assert Actions(DjangoOutbox(), GOOD).rules[0].holds_back(str(prediction().key)) in {True, False}
