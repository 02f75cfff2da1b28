"""Retry, discard and replay, and what the pages of deliveries say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from desk import NOW, delivery, desk, superuser
from mlembed_django.models import Attempt, Delivery
from mlembed_django.outbox import DjangoOutbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def browser(db: None) -> Iterator[Client]:
    """Log in as a superuser."""
    del db
    with desk():
        client = Client()
        client.force_login(superuser())
        yield client


def act(browser: Client, action: str, *rows: Delivery, **more: Any) -> Any:
    """Do *action* with *rows* from the list; return the page that follows."""
    return browser.post(
        reverse("admin:mlembed_delivery_changelist"),
        {"action": action, "_selected_action": [row.pk for row in rows], **more},
        follow=True,
    )


def states(*rows: Delivery) -> list[str]:
    """Return how *rows* stand now."""
    for row in rows:
        row.refresh_from_db()
    return [row.state for row in rows]


def test_retry_queues_what_was_given_up(browser: Client) -> None:
    """A dead delivery waits again, under its id and with its attempts anew; who did it is noted."""
    row = delivery("dead")

    page = act(browser, "retry_deliveries", row)

    assert states(row) == ["pending"]
    assert (row.attempts, row.next_attempt, row.settled) == (0, 0.0, 0.0)
    assert "1 delivery retried." in page.content.decode()
    assert LogEntry.objects.get().get_change_message() == "Retried"
    history = browser.get(reverse("admin:mlembed_delivery_history", args=[row.pk]))
    assert "Retried" in history.content.decode()


def test_retry_and_discard_leave_what_is_over(browser: Client) -> None:
    """What was sent or discarded is neither retried nor discarded, and the page says so."""
    rows = [delivery(state) for state in ("sent", "discarded", "pending")]

    retried = act(browser, "retry_deliveries", *rows).content.decode()
    discarded = act(browser, "discard_deliveries", *rows).content.decode()

    assert states(*rows) == ["sent", "discarded", "discarded"]
    assert "1 delivery retried." in retried
    assert "2 left as they were" in retried
    assert "1 delivery discarded." in discarded


def test_replay_sends_nothing_before_it_is_confirmed(browser: Client) -> None:
    """The first step shows the CloudEvent and changes nothing."""
    row = delivery("sent", key="customer-7")

    page = act(browser, "replay_deliveries", row)

    text = page.content.decode()
    assert states(row) == ["sent"]
    assert f"&quot;id&quot;: &quot;{row.uuid}&quot;" in text
    assert "&quot;subject&quot;: &quot;customer-7&quot;" in text
    assert "Replay 1 delivery" in text
    assert not LogEntry.objects.exists()


def test_replay_queues_what_was_confirmed(browser: Client) -> None:
    """Confirmed, a delivery waits again whatever its state was."""
    rows = [delivery(state) for state in ("sent", "dead", "discarded")]

    act(browser, "replay_deliveries", *rows, confirmed="yes")

    assert states(*rows) == ["pending"] * 3


def test_replay_leaves_what_is_held_back(browser: Client) -> None:
    """A control group that is sent to is none."""
    rows = [delivery(state) for state in ("held", "remembered", "sent")]

    page = act(browser, "replay_deliveries", *rows, confirmed="yes").content.decode()

    assert states(*rows) == ["held", "remembered", "pending"]
    assert "2 left as they were" in page


def test_list_says_which_destination_is_left_alone(browser: Client) -> None:
    """Until when, why, and how it goes on."""
    outbox = DjangoOutbox()
    outbox.pause("desk", outbox.now() + 600, "HTTP 401 Unauthorized")

    page = browser.get(reverse("admin:mlembed_delivery_changelist")).content.decode()
    outbox.resume("desk")
    after = browser.get(reverse("admin:mlembed_delivery_changelist")).content.decode()

    assert "Nothing is sent to &#x27;desk&#x27; until" in page
    assert "HTTP 401 Unauthorized. To go on at once: manage.py mlembed_actions resume desk" in page
    assert "Nothing is sent" not in after


def test_delivery_page_shows_attempts_and_event(browser: Client) -> None:
    """The page of a delivery shows each attempt, what is sent, and what may be done with it."""
    row = delivery("dead")
    Attempt.objects.create(
        delivery=row,
        started=NOW.timestamp(),
        seconds=0.21,
        result="failed",
        status=503,
        detail="busy",
    )

    page = browser.get(reverse("admin:mlembed_delivery_change", args=[row.pk])).content.decode()

    assert "Attempts</h2>" in page
    assert "<td>503</td><td>busy</td>" in page
    assert "&quot;specversion&quot;: &quot;1.0&quot;" in page
    for action in ("retry_deliveries", "discard_deliveries", "replay_deliveries"):
        assert f'value="{action}"' in page


@pytest.mark.parametrize("payload", ["no json", "[1, 2]", '{"a": ' + "[" * 5_000, "null"])
def test_delivery_page_bears_a_payload_that_is_no_payload(browser: Client, payload: str) -> None:
    """A payload that somebody else wrote breaks neither the page nor the look at a replay."""
    row = delivery("dead", payload=payload)

    page = browser.get(reverse("admin:mlembed_delivery_change", args=[row.pk]))
    replay = act(browser, "replay_deliveries", row)

    assert page.status_code == 200
    assert replay.status_code == 200


def test_delivery_page_bears_absurd_values(browser: Client) -> None:
    """Times beyond every calendar and long texts are shown as they are."""
    row = delivery(
        "dead",
        created=1e300,
        queued=-1e18,
        next_attempt=1e17,
        score=1e308,
        key="k" * 255,
        last_error="e" * 2_000,
        payload=json.dumps({"text": "p" * 60_000}),
    )

    page = browser.get(reverse("admin:mlembed_delivery_change", args=[row.pk]))
    rows = browser.get(reverse("admin:mlembed_delivery_changelist"))

    assert page.status_code == 200
    assert rows.status_code == 200
    assert "1e+300" in page.content.decode()


@pytest.mark.parametrize("by", ["uuid", "prediction", "key"])
def test_deliveries_are_found_by_what_they_are(browser: Client, by: str) -> None:
    """The id of a delivery, the id of its prediction and its whole key each find it alone."""
    row = delivery("dead", key="customer-77")
    delivery("dead", key="customer-7")

    page = browser.get(
        reverse("admin:mlembed_delivery_changelist"), {"q": str(getattr(row, by))}
    ).content.decode()

    assert "1 delivery" in page
    assert "customer-77" in page


@pytest.mark.parametrize("state", ["pending", "sent", "dead", "discarded"])
def test_deliveries_are_filtered_by_state(browser: Client, state: str) -> None:
    """The filter keeps the rows of one state, in the order of its index."""
    for each in ("pending", "sent", "dead", "discarded"):
        delivery(each, key=f"key-{each}")

    page = browser.get(reverse("admin:mlembed_delivery_changelist"), {"state": state})

    assert "1 delivery" in page.content.decode()
    assert f"key-{state}" in page.content.decode()


def test_actions_say_why_they_stopped(browser: Client) -> None:
    """A delivery that was pruned between the list and the click is told of, not a server error."""
    row = delivery("dead")
    pk = row.pk
    row.delete()

    page = browser.post(
        reverse("admin:mlembed_delivery_changelist"),
        {"action": "retry_deliveries", "_selected_action": [pk]},
        follow=True,
    )

    assert page.status_code == 200
