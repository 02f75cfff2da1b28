"""Say where the site's outcomes are read, and read them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from mlembed_crm.outcomes import Outcomes
from mlembed_django.declaration import listed
from mlembed_django.delivering import destinations_of
from mlembed_django.outbox import DjangoOutbox

if TYPE_CHECKING:
    from mlembed_crm.truths import Truth
    from mlembed_django.conf import Site


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReadOutcomes:
    """One business system in which outcomes of a model are read; listed where OUTCOMES names.

    Attributes:
        name: Stable: how far was read is kept under it.
        destination: Name in `MLEMBED['DESTINATIONS']`.
        model: Name in `MLEMBED['MODELS']`.
        truth: Where the system holds the outcome.
    """

    name: str
    destination: str
    model: str
    truth: Truth


def outcomes_of(site: Site) -> list[Outcomes]:
    """Return what reads the outcomes of *site*.

    Raises:
        ImproperlyConfigured: If the setting names no list of them, or one names what is not
            declared.
        SettingsError: If a destination cannot be read.
    """
    declaration = site.declaration
    if not declaration.outcomes:
        raise ImproperlyConfigured(
            "MLEMBED['OUTCOMES'] is not set; name a list of mlembed_django.outcomes.ReadOutcomes"
        )
    declared = listed(declaration.outcomes)
    outbox = DjangoOutbox(declaration.outbox.using)
    readers = []
    for each in declared:
        if each.destination not in declaration.destinations:
            raise ImproperlyConfigured(
                f"MLEMBED['OUTCOMES']: '{each.name}' reads '{each.destination}', which "
                "MLEMBED['DESTINATIONS'] does not declare"
            )
        place = declaration.destinations[each.destination]
        source: Any = destinations_of({each.destination: place})[each.destination]
        readers.append(Outcomes(each.name, source, each.truth, site.model(each.model), outbox))
    return readers
