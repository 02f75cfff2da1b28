"""Outcomes that come home: each is reported, once or again, and none is passed over."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

import mlembed
from bundles import RECORD
from mlembed.errors import SettingsError
from mlembed.monitoring.log import read_log
from mlembed.monitoring.outcomes import join
from mlembed_crm import Outbox, Outcomes, Truth, Webhook
from mlembed_crm.errors import DeliveryError
from mlembed_crm.outcomes import Read
from mlembed_crm.truths import Found, Page

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry
    from mlembed.settings import Settings

TRUTH = Truth(
    record="deals",
    key="ext_id",
    field="stage",
    values={"won": True, "lost": False},
    prediction_id="ml_prediction",
)
NOON = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC).timestamp()


class Pages:
    """A source that gives what it has, two outcomes a page."""

    def __init__(self, *found: Found) -> None:
        self.found = list(found)
        self.fails = False
        self.asked: list[str] = []

    def changes(self, _truth: Truth, cursor: str, /) -> Page:
        self.asked.append(cursor)
        if self.fails:
            raise DeliveryError("HTTP 503", status=503)
        first = int(cursor or 0)
        some = self.found[first : first + 2]
        return Page(some, str(first + len(some)), first + 2 < len(self.found))


class Told:
    """Keeps what a model is told."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, Any, str, int]] = []

    def outcome(
        self,
        prediction_id: str = "",
        value: Any = None,
        *,
        key: str = "",
        observed_at: dt.datetime | None = None,
        revision: int = 0,
    ) -> None:
        assert observed_at is not None
        self.outcomes.append((prediction_id, value, key, revision))


def found(name: str, *, value: bool = True, at: float = NOON) -> Found:
    """Return an outcome."""
    return Found(name, f"p-{name}", value, at)


def test_run_reports_all_that_changed_and_goes_on_from_there(outbox: Outbox) -> None:
    """Page after page; the next run asks for what came since."""
    source, model = Pages(*map(found, "abcde")), Told()
    reader = Outcomes("deals", source, TRUTH, model, outbox)

    first = reader.run_once()
    source.found.append(found("f", value=False))
    second = Outcomes("deals", source, TRUTH, model, outbox).run_once()
    third = reader.run_once()

    assert (first.outcomes, first.pages) == (5, 3)
    assert (second.outcomes, third.outcomes) == (1, 0)
    assert [key for _, _, key, _ in model.outcomes] == list("abcdef")


def test_run_that_breaks_off_reports_the_page_again(outbox: Outbox) -> None:
    """What was not kept is asked for again; nothing is passed over."""

    class Failing(Told):
        def outcome(self, *arguments: Any, **named: Any) -> None:
            super().outcome(*arguments, **named)
            if len(self.outcomes) == 4:
                raise ZeroDivisionError

    source, model = Pages(*map(found, "abcde")), Failing()
    with pytest.raises(ZeroDivisionError):
        Outcomes("deals", source, TRUTH, model, outbox).run_once()

    Outcomes("deals", source, TRUTH, model, outbox).run_once()

    assert [key for _, _, key, _ in model.outcomes] == list("abcdcde")


@pytest.mark.parametrize(
    "odd",
    [
        Found("x", "", float("nan"), NOON),
        Found("x", "", 10**400, NOON),
        Found("x", "", "", NOON),
        Found("x", "", value=True, observed=-1.0),
        Found("x", "", value=True, observed=float("nan")),
        Found("x", "", value=True, observed=1e30),
    ],
)
def test_record_that_is_no_outcome_stops_none_behind_it(
    outbox: Outbox,
    registry: FileRegistry,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    odd: Found,
) -> None:
    """It is passed over, counted, and told of once, without what it holds."""
    with closing(mlembed.load("toy@champion", registry=registry, settings=settings)) as model:
        reader = Outcomes("deals", Pages(found("a"), odd, odd, found("b")), TRUTH, model, outbox)
        done = reader.run_once()
        again = reader.run_once()
        model.flush()

    assert (done.outcomes, done.pages, done.passed_over) == (2, 2, 2)
    assert again == Read(pages=1)
    assert [one.key for one in read_log(settings.log_dir, "toy").outcomes] == ["a", "b"]
    (warning,) = [one for one in caplog.records if one.levelname == "WARNING"]
    assert "'deals'" in warning.getMessage()
    assert "'stage'" in warning.getMessage()
    assert "nan" not in warning.getMessage()


def test_webhook_that_tells_no_outcome_is_not_taken(
    outbox: Outbox, registry: FileRegistry, settings: Settings
) -> None:
    """Its sender would send it again and again."""
    truth = Truth(record="deals", key="id", field="amount")
    when = dt.datetime.fromtimestamp(NOON, dt.UTC)
    with closing(mlembed.load("toy@champion", registry=registry, settings=settings)) as model:
        reader = Outcomes("deals", None, truth, model, outbox)

        assert not reader.take({"id": "a", "amount": float("inf")}, when)
        assert reader.take({"id": "a", "amount": 5}, when)


def test_source_that_cannot_be_read_is_an_error_and_loses_nothing(outbox: Outbox) -> None:
    """The cursor stays where it was."""
    source, model = Pages(*map(found, "ab")), Told()
    reader = Outcomes("deals", source, TRUTH, model, outbox)
    source.fails = True

    with pytest.raises(DeliveryError, match="503"):
        reader.run_once()
    source.fails = False

    assert reader.run_once().outcomes == 2


class Stuck(Pages):
    """Says that there is more, and never gets there."""

    def changes(self, _truth: Truth, cursor: str, /) -> Page:
        self.asked.append(cursor)
        return Page(self.found, "same", more=True)


def test_source_that_does_not_go_on_is_left(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """A cursor that stays the same is a fault of the source, not a reason to read for ever."""
    source = Stuck(found("a"))

    Outcomes("deals", source, TRUTH, Told(), outbox).run_once()

    assert len(source.asked) == 2
    assert "does not go on" in caplog.text


def test_outcome_is_joined_to_its_prediction(
    outbox: Outbox, registry: FileRegistry, settings: Settings
) -> None:
    """What the business system tells becomes the truth of the prediction that caused the action."""
    model = mlembed.load("toy@champion", registry=registry, settings=settings)
    made = [model.predict(RECORD, key=f"c-{n}") for n in range(3)]
    later = made[0].time_ns / 1e9 + 60
    source = Pages(
        Found("c-0", made[0].id, value=False, observed=later),
        Found("c-0", made[0].id, value=True, observed=later + 60),  # the deal was opened again
        Found("c-1", "", value=False, observed=later),  # known by its key alone
        Found("unknown", "", value=False, observed=later),
    )

    Outcomes("deals", source, TRUTH, model, outbox).run_once()
    model.flush()
    model.close()

    joined = join(read_log(settings.log_dir, "toy"))
    assert joined.values.tolist() == [True, False]
    assert (joined.unmatched, joined.superseded) == (1, 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"ext_id": "c-1", "stage": "won"}, Found("c-1", "", value=True, observed=NOON)),
        (
            {"ext_id": 7, "stage": "lost", "ml_prediction": "p"},
            Found("7", "p", value=False, observed=NOON),
        ),
        ({"ext_id": "c-1", "stage": "open"}, None),
        ({"ext_id": "c-1", "stage": None}, None),
        ({"ext_id": 42.0, "stage": "won"}, Found("42", "", value=True, observed=NOON)),
        ({"ext_id": 4.5, "stage": "won"}, Found("4.5", "", value=True, observed=NOON)),
        ({"ext_id": 0, "stage": "won"}, Found("0", "", value=True, observed=NOON)),
        ({"ext_id": "", "stage": "won"}, None),
        ({"ext_id": False, "stage": "won"}, None),  # as Odoo tells what is empty
        ({"ext_id": None, "stage": "won"}, None),
        ({"stage": "won"}, None),
        ({}, None),
    ],
)
def test_truth_reads_what_a_record_says(values: dict[str, Any], expected: Found | None) -> None:
    """A record without a key, or in no final state, tells nothing yet."""
    assert TRUTH.found(values, NOON) == expected


def test_truth_without_values_takes_numbers_and_booleans_as_they_are() -> None:
    """An amount is an outcome by itself; what is neither is none."""
    truth = Truth(record="deals", key="id", field="amount")

    assert truth.found({"id": 1, "amount": 12.5}, NOON) == Found("1", "", 12.5, NOON)
    assert truth.found({"id": 1, "amount": [1]}, NOON) is None
    assert truth.found({"id": 1, "amount": ""}, NOON) is None


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("True", True), ("1", 1.0), ("1", 1), ("1.0", 1.0)]
)
def test_truth_finds_values_by_their_text(text: str, value: Any) -> None:
    """However a system writes booleans and numbers."""
    truth = Truth(record="deals", key="id", field="is_won", values={text: "won"})

    assert truth.found({"id": 1, "is_won": value}, NOON) == Found("1", "", "won", NOON)


def test_webhook_that_was_verified_is_taken(outbox: Outbox) -> None:
    """A system that tells by itself needs no polling."""
    model = Told()
    reader = Outcomes("deals", Pages(), TRUTH, model, outbox)
    when = dt.datetime.fromtimestamp(NOON, dt.UTC)

    assert reader.take({"ext_id": "c-1", "stage": "won", "more": object()}, when)
    assert not reader.take({"ext_id": "c-1", "stage": "open"}, when)
    assert [outcome[:3] for outcome in model.outcomes] == [("", True, "c-1")]


def test_what_cannot_be_read_is_told_to(outbox: Outbox) -> None:
    """A source without records to ask, or none at all, may still tell by itself."""
    hook = Webhook("https://example.com/x", "whsec_" + "A" * 32)
    when, model = dt.datetime.fromtimestamp(NOON, dt.UTC), Told()
    for source in (hook, None):
        reader = Outcomes("deals", source, TRUTH, model, outbox)
        assert reader.take({"ext_id": "c-1", "stage": "won"}, when)
        assert not reader.can_be_read
        with pytest.raises(SettingsError, match=r"Outcomes\.take"):
            reader.run_once()

    assert len(model.outcomes) == 2


def test_what_makes_no_sense_is_refused(outbox: Outbox) -> None:
    """A mistake is told where it is written."""
    with pytest.raises(SettingsError, match="name"):
        Outcomes("", Pages(), TRUTH, Told(), outbox)
    with pytest.raises(SettingsError, match="field"):
        Truth(record="deals", key="id", field="")
    with pytest.raises(SettingsError, match="time zone"):
        Outcomes("deals", None, TRUTH, Told(), outbox).take({}, dt.datetime(2026, 1, 1))  # noqa: DTZ001
