"""Make the destinations that the site declares, and what delivers to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from mlembed.errors import MlembedError
from mlembed_crm.delivery import Delivery
from mlembed_crm.fates import Remedies, Retries
from mlembed_django.conf import in_tests
from mlembed_django.declaration.secrets import revealed
from mlembed_django.loopback import require_loopback
from mlembed_django.outbox import DjangoOutbox

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlembed_crm.destinations import Destination
    from mlembed_django.conf import Site
    from mlembed_django.declaration import Place

_DAY_SECONDS = 86_400.0


def destinations_of(places: Mapping[str, Place]) -> dict[str, Destination]:
    """Make each destination of *places*, with the secrets that its options name.

    Raises:
        ImproperlyConfigured: If an adapter cannot be imported, or refuses its options.
        SettingsError: If a secret is not where the setting says.
    """
    return {name: _made(place) for name, place in places.items()}


def delivery_of(site: Site) -> Delivery:
    """Return what delivers the actions of *site*; it keeps each attempt.

    Raises:
        ImproperlyConfigured: As `destinations_of`; in a test run also if one is not on this
            machine.
        SettingsError: If there is no destination, or as `destinations_of`.
    """
    declaration = site.declaration
    destinations, place = destinations_of(declaration.destinations), declaration.outbox
    if in_tests():
        require_loopback(destinations)
    outbox = DjangoOutbox(place.using)
    return Delivery(
        outbox,
        destinations,
        retries=Retries(attempts=place.attempts),
        lease_seconds=place.lease_seconds,
        keep_sent_seconds=place.keep_days * _DAY_SECONDS,
        remedies=Remedies(
            redeliver="manage.py mlembed_actions redeliver {id}",
            resume="manage.py mlembed_actions resume {name}",
        ),
    )


def _made(place: Place) -> Destination:
    named = f"MLEMBED['DESTINATIONS']['{place.name}']"
    try:
        adapter = import_string(place.adapter)
    except ImportError as error:
        raise ImproperlyConfigured(f"{named}['ADAPTER'] cannot be imported: {error}") from error
    options = {
        name: _revealed(value, f"{named}['{name.upper()}']")
        for name, value in place.options.items()
    }
    try:
        made: Destination = adapter(**options)
    except MlembedError as error:
        raise ImproperlyConfigured(f"{named}: {error}") from error
    except Exception as error:  # noqa: BLE001  its message may hold a secret
        raise ImproperlyConfigured(
            f"{named}: {place.adapter} refuses these options ({type(error).__name__}). "
            "Run manage.py check --deploy --tag mlembed"
        ) from None
    return made


def _revealed(value: Any, place: str) -> Any:
    if isinstance(value, str):
        return revealed(value, place)
    if isinstance(value, (list, tuple)):
        return type(value)(_revealed(item, place) for item in value)
    return value
