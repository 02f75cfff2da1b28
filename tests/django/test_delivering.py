"""Destinations as the setting declares them, and a delivery that is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from crm.receiver import SECRET, action, answer, receiving
from keeping import in_service
from mlembed.errors import SettingsError
from mlembed_crm import Delivered
from mlembed_django.conf import site
from mlembed_django.delivering import delivery_of
from mlembed_django.models import Attempt, Delivery
from mlembed_django.outbox import DjangoOutbox

if TYPE_CHECKING:
    from pathlib import Path

WEBHOOK = "mlembed_crm.destinations.webhook.Webhook"


def broken(**options: Any) -> object:
    """Fail as an adapter of the host's own may, and tell what it was given."""
    raise RuntimeError(str(options))


def desk(url: str, **options: Any) -> dict[str, Any]:
    """Return a setting that declares the destination of the tests' actions."""
    given = {"ADAPTER": WEBHOOK, "URL": url, "SECRET": "env:DESK_SECRET", "ALLOW_PRIVATE": True}
    return {"risk-desk": {**given, **options}}


@pytest.mark.usefixtures("committing_db")
def test_delivery_sends_with_the_secret_that_is_named(
    declared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets of the environment and of files sign, alone and in a list that is being rotated."""
    monkeypatch.setenv("DESK_SECRET", SECRET)
    (tmp_path / "secret").write_text(SECRET + "\n")
    outbox = DjangoOutbox()
    secrets = ("env:DESK_SECRET", [f"file:{tmp_path / 'secret'}", SECRET])

    with receiving() as receiver:
        for secret in secrets:
            outbox.enqueue(action(None))
            places = desk(receiver.url, SECRET=secret)
            with override_settings(MLEMBED={**declared, "DESTINATIONS": places}):
                assert delivery_of(site()).run_once() == Delivered(sent=1)

    signatures = [request.headers["webhook-signature"] for request in receiver.received]
    assert [len(signature.split()) for signature in signatures] == [1, 2]
    assert Attempt.objects.filter(result="sent", status=204).count() == 2


@pytest.mark.usefixtures("committing_db")
def test_delivery_heeds_what_the_outbox_is_set_to(
    declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Attempts and leases are the setting's, and the log names what a Django site can do."""
    monkeypatch.setenv("DESK_SECRET", SECRET)
    outbox = DjangoOutbox()
    outbox.enqueue(action())

    with receiving() as receiver:
        receiver.answers.append(answer(503))
        changes = {"OUTBOX": {"ATTEMPTS": 1, "LEASE_SECONDS": 30}}
        setting = {**declared, **changes, "DESTINATIONS": desk(receiver.url)}
        with override_settings(MLEMBED=setting):
            delivery = delivery_of(site())
            done = delivery.run_once()

    row = Delivery.objects.get()
    assert (done, row.state, row.attempts) == (Delivered(dead=1), "dead", 1)
    assert row.last_error.startswith("HTTP 503")
    assert "manage.py mlembed_actions redeliver" in caplog.text
    assert "mlembed_crm" not in caplog.text


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ({"risk-desk": {"ADAPTER": "no.such.Thing"}}, "cannot be imported"),
        (desk("ftp://example.com"), "url must begin with https"),
        (desk("https://example.com", COLOUR="red"), "refuses these options (TypeError)"),
        ({"risk-desk": {"ADAPTER": f"{__name__}.broken", "TOKEN": "t0p"}}, "(RuntimeError)"),
    ],
)
def test_destination_that_cannot_be_made_is_named(
    declared: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    places: dict[str, Any],
    said: str,
) -> None:
    """The error says where in the setting, and never what secret stood there."""
    monkeypatch.setenv("DESK_SECRET", SECRET)

    serving = in_service(declared, DESTINATIONS=places)
    with serving, pytest.raises(ImproperlyConfigured) as raised:
        delivery_of(site())

    told = str(raised.value)
    assert "MLEMBED['DESTINATIONS']['risk-desk']" in told
    assert said in told
    assert "t0p" not in told
    assert raised.value.__cause__ is None or "t0p" not in str(raised.value.__cause__)


def test_secret_that_is_not_there_is_named(declared: dict[str, Any]) -> None:
    """A variable that is not set is told by its name and its place."""
    missing = r"'risk-desk'.*DESK_SECRET, which is not set"
    serving = in_service(declared, DESTINATIONS=desk("https://example.com"))
    with serving, pytest.raises(SettingsError, match=missing):
        delivery_of(site())


def test_site_without_destinations_delivers_nothing(declared: dict[str, Any]) -> None:
    """There has to be somewhere to deliver to."""
    with in_service(declared), pytest.raises(SettingsError, match="at least one"):
        delivery_of(site())
