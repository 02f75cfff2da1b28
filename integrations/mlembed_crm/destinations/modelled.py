"""A destination whose kinds of record say themselves what fields they have, as those of an ERP do."""

from __future__ import annotations

import abc
import time
from typing import TYPE_CHECKING, Any

from mlembed_crm.destinations.endpoint import Behind
from mlembed_crm.destinations.places import reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlembed_crm.destinations import Field
    from mlembed_crm.destinations.rows import Definitions
    from mlembed_crm.truths import Page, Truth


class Modelled(Behind, abc.ABC):
    """Describe records, and read their changes, by the definitions of their fields."""

    _definitions: Definitions

    def describe(self, record: str, /) -> Mapping[str, Field]:
        """Return the fields of a model, by name.

        Raises:
            DeliveryError: If it cannot be asked, or has no such model; `permanent` for the latter.
        """
        return self._definitions.describe(record, self._ends())

    def changes(self, truth: Truth, cursor: str, /) -> Page:
        """Return the next page of changes.

        Archived records are read as well: a lost lead is one.

        Raises:
            DeliveryError: If it cannot be read; `stops` if somebody must act.
        """
        ends = self._ends()
        with reading():
            fields = self._definitions.learn(truth.record, ends)
            return self._page(fields, truth, cursor, ends)

    @abc.abstractmethod
    def _page(self, fields: Mapping[str, Any], truth: Truth, cursor: str, ends: float) -> Page:
        """Return the page after *cursor* of what *truth* reads, of a model of such *fields*."""

    def _ends(self) -> float:
        return time.monotonic() + self._endpoint.timeout_seconds
