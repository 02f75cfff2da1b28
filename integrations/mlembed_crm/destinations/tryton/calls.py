"""What the two ways to call Tryton share, whoever of them makes a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from mlembed_crm.destinations.tryton.errors import odd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlembed_crm.destinations import Receipt
    from mlembed_crm.destinations.endpoint import Answer
    from mlembed_crm.errors import DeliveryError

    Rows = list[dict[str, Any]]
    Results = list[Receipt | DeliveryError]

JSON = {"Content-Type": "application/json", "Accept": "application/json"}


class Search:
    """What to look for.

    Args:
        record: The model.
        domain: Which records, as Tryton writes conditions.
        fields: What to read of each, besides its id.
        limit: Most records.
        order: Fields, ascending.
    """

    def __init__(
        self,
        record: str,
        domain: Sequence[Any],
        fields: Sequence[str],
        *,
        limit: int,
        order: Sequence[str] = ("id",),
    ) -> None:
        self.record, self.domain, self.limit = record, domain, limit
        self.fields = list(dict.fromkeys(("id", *fields)))
        self.order = [[name, "ASC"] for name in order]


class Calls(Protocol):
    """One of the two ways; every method raises `DeliveryError`."""

    batch: int

    def fields(self, record: str, ends: float) -> Mapping[str, Any]:
        """Return the definitions of a model's fields."""
        ...

    def search(self, search: Search, ends: float, *, several: bool) -> tuple[Rows, Answer]:
        """Return what is found, archived records too, and the answer that told so."""
        ...

    def write(
        self, record: str, values: Sequence[tuple[int, Mapping[str, Any]]], ends: float
    ) -> Results:
        """Set values of records, by their ids."""
        ...

    def create(self, record: str, values: Sequence[Mapping[str, Any]], ends: float) -> Results:
        """Make records."""
        ...


def rows_of(told: Any, answer: Answer) -> Rows:
    """Return the records that were found.

    Raises:
        DeliveryError: If *told* is not that.
    """
    if not isinstance(told, list) or not all(
        isinstance(row, dict) and isinstance(row.get("id"), int) for row in told
    ):
        raise odd(answer)
    return told


def definitions_of(told: Any, answer: Answer) -> Mapping[str, Any]:
    """Return the definitions of fields.

    Raises:
        DeliveryError: If *told* is not that.
    """
    if not isinstance(told, dict) or not all(isinstance(field, dict) for field in told.values()):
        raise odd(answer)
    return told
