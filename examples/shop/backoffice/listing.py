"""The list of customers as it is asked for: searched, filtered, sorted, a page of it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.db.models import F, Q

from backoffice.models import Customer, Segment
from backoffice.risk import RISKS

if TYPE_CHECKING:
    from django.core.paginator import Page
    from django.http import QueryDict

PAGE = 25
SORTS = {
    "risk": F("churn").desc(nulls_last=True),
    "stake": F("at_stake").desc(nulls_last=True),
    "name": F("name").asc(),
    "last": F("last_order").desc(nulls_last=True),
    "spent": F("spent_365d").desc(),
}


@dataclasses.dataclass(frozen=True)
class Listing:
    """A page of customers, and what it was asked by.

    Attributes:
        page: The customers.
        search: Part of a name, an address or a town.
        risk: Name of a risk, or empty.
        segment: A segment, or empty.
        sort: One of `SORTS`.
        closed: Whether closed accounts are listed, instead of open ones.
    """

    page: Page[Customer]
    search: str
    risk: str
    segment: str
    sort: str
    closed: bool

    @property
    def is_filtered(self) -> bool:
        """Whether customers may be left out."""
        return bool(self.search or self.risk or self.segment or self.closed)

    @property
    def sorts(self) -> dict[str, str]:
        """The address of the same list in each other order."""
        return {name: self._address(sort=name) for name in SORTS}

    @property
    def previous(self) -> str:
        """The address of the page before."""
        return self._address(page=self.page.number - 1)

    @property
    def next(self) -> str:
        """The address of the page after."""
        return self._address(page=self.page.number + 1)

    def _address(self, **changes: Any) -> str:
        asked = {
            "q": self.search,
            "risk": self.risk,
            "segment": self.segment,
            "sort": self.sort,
            "closed": "1" if self.closed else "",
            **changes,
        }
        return "?" + urlencode({name: value for name, value in asked.items() if value})


def listing(asked: QueryDict) -> Listing:
    """Return the page that *asked* names; what it asks wrongly is not asked."""
    search = asked.get("q", "").replace("\0", "").strip()[:100]
    risk = asked.get("risk", "") if asked.get("risk") in RISKS else ""
    segment = asked.get("segment", "") if asked.get("segment") in Segment.values else ""
    sort = asked.get("sort", "") if asked.get("sort") in SORTS else "risk"
    closed = asked.get("closed") == "1"
    customers = Customer.objects.with_history().with_stake()
    customers = customers.filter(closed__isnull=not closed)
    if risk:
        customers = customers.of_risk(RISKS[risk]) if not closed else customers.none()
    if segment:
        customers = customers.filter(segment=segment)
    if search:
        customers = customers.filter(
            Q(name__icontains=search) | Q(email__icontains=search) | Q(town__icontains=search)
        )
    page = Paginator(customers.order_by(SORTS[sort], "pk"), PAGE).get_page(asked.get("page"))
    return Listing(page, search, risk, segment, sort, closed)
