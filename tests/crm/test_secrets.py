"""Secrets, keys and values are in no log, no error and no row of the outbox but where they belong."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from crm.receiver import DESTINATION, prediction
from mlembed_crm import (
    Actions,
    Delivery,
    HubSpot,
    Odoo,
    Outbox,
    Retries,
    Rule,
    Salesforce,
    Slack,
    Tryton,
    Upsert,
    Webhook,
    every_score,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed_crm import Destination

SECRET = "hunter2hunter2hunter2hunter2hunt"  # noqa: S105  the secret under test
KEY, SCORE = "key-of-an-entity", 0.123456789
RULE = Rule(
    *("score", "payments", every_score(), DESTINATION),
    upsert=Upsert("contacts", "ext_id", {"ml_score": "score"}),
)
MAKERS: dict[str, Callable[..., Any]] = {
    "hubspot": lambda **also: HubSpot(SECRET, **also),
    "salesforce": lambda **also: Salesforce(
        "https://acme.my.salesforce.com", client_id="id", client_secret=SECRET, **also
    ),
    "odoo": lambda **also: Odoo("https://erp.example", "db", SECRET, **also),
    "tryton": lambda **also: Tryton("https://erp.example", "db", user="u", password=SECRET, **also),
    "tryton-key": lambda **also: Tryton("https://erp.example", "db", key=SECRET, **also),
    "slack": lambda **also: Slack(f"https://hooks.slack.com/services/{SECRET}", **also),
    "webhook": lambda **also: Webhook(f"https://desk.example/{SECRET}", f"whsec_{SECRET}", **also),
}


def chatty(status: int) -> httpx.MockTransport:
    """Return a service that repeats all it was sent, and more, in whatever it answers."""

    def answer(request: httpx.Request) -> httpx.Response:
        said = f"{request.read().decode()} {dict(request.headers)} {request.url} {SECRET}"
        told = {"message": said, "error": said, "category": said, "name": said, "arguments": [said]}
        return httpx.Response(status, json=told, headers={"X-Said": SECRET, "Location": SECRET})

    return httpx.MockTransport(answer)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 429, 500])
def test_nothing_secret_is_told(
    outbox: Outbox, caplog: pytest.LogCaptureFixture, name: str, status: int
) -> None:
    """However much a service says, the log at its loudest and the outbox's errors do not repeat it."""
    caplog.set_level(logging.DEBUG)
    destination: Destination = MAKERS[name](transport=chatty(status))
    Actions(outbox, [RULE]).apply(prediction(SCORE, KEY))
    running = Delivery(outbox, {DESTINATION: destination}, retries=Retries(attempts=1))

    running.run_once()

    (queued,) = outbox.list()
    tried = outbox.attempts(queued.id)
    told = f"{caplog.text} {queued.last_error} {tried} {outbox.pauses()} {destination!r}"
    for secret in (SECRET, KEY, str(SCORE)):
        assert secret not in told
    assert SECRET.encode() not in outbox.path.read_bytes()


@pytest.mark.parametrize("name", MAKERS)
def test_secret_that_is_malformed_is_not_shown(name: str) -> None:
    """An error about a setting names it, and does not repeat it."""
    with pytest.raises(Exception, match=r".+") as caught:
        MAKERS[name](timeout_seconds=-1)

    assert SECRET not in str(caught.value)
