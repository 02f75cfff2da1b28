"""Call Odoo's external JSON-2 API: one method of one model, with named arguments.

Each call is a transaction of its own. No call is begun once the time of all is over.
"""

from __future__ import annotations

import json
import urllib.parse
from typing import TYPE_CHECKING, Any

from mlembed_crm.destinations.batch import require_time
from mlembed_crm.destinations.odoo.errors import odd, require_good
from mlembed_crm.destinations.odoo.values import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlembed_crm.destinations.endpoint import Answer, Endpoint

    Rows = list[dict[str, Any]]


class Calls:
    """The calls, with a key of a user; every method raises `DeliveryError`.

    Args:
        endpoint: Of the server.
        database: Its name; sent so that a server with several knows which.
        key: The user's API key.
    """

    def __init__(self, endpoint: Endpoint, database: str, key: str) -> None:
        self._endpoint = endpoint
        self._headers = {
            "Authorization": f"bearer {key}",
            "Content-Type": "application/json; charset=utf-8",
            "Accept": "application/json",
            "X-Odoo-Database": database,
        }

    def fields(self, record: str, ends: float) -> Mapping[str, Any]:
        """Return the definitions of a model's fields."""
        answer = self._send(record, "fields_get", {"attributes": ATTRIBUTES}, ends, reading=True)
        told = answer.json()
        if not isinstance(told, dict) or not all(isinstance(one, dict) for one in told.values()):
            raise odd(answer)
        return told

    def search(
        self,
        record: str,
        domain: Sequence[Any],
        fields: Sequence[str],
        *,
        limit: int,
        order: str,
        ends: float,
    ) -> tuple[Rows, Answer]:
        """Return what is found, archived records too, and the answer that told so."""
        asked = {
            "domain": domain,
            "fields": list(dict.fromkeys(("id", *fields))),
            "limit": limit,
            "order": order,
            # A lost lead is archived, and is an outcome all the same.
            "context": {"active_test": False},
        }
        answer = self._send(record, "search_read", asked, ends, reading=True)
        told = answer.json()
        if not isinstance(told, list) or not all(
            isinstance(row, dict) and isinstance(row.get("id"), int) for row in told
        ):
            raise odd(answer)
        return told, answer

    def write(
        self, record: str, ids: Sequence[int], values: Mapping[str, Any], ends: float
    ) -> Answer:
        """Set the same values of records, of all or none."""
        asked = {"ids": list(ids), "vals": values}
        answer = self._send(record, "write", asked, ends)
        if answer.json() is not True:
            raise odd(answer)
        return answer

    def create(self, record: str, values: Mapping[str, Any], ends: float) -> tuple[int, Answer]:
        """Make a record; return its id."""
        answer = self._send(record, "create", {"vals_list": [values]}, ends)
        told = answer.json()
        if not isinstance(told, list) or len(told) != 1 or not isinstance(told[0], int):
            raise odd(answer)
        return told[0], answer

    def _send(
        self,
        record: str,
        method: str,
        asked: Mapping[str, Any],
        ends: float,
        *,
        reading: bool = False,
    ) -> Answer:
        require_time(ends)
        answer = self._endpoint.call(
            "POST",
            f"/json/2/{urllib.parse.quote(record, safe='')}/{method}",
            headers=self._headers,
            content=json.dumps(asked).encode(),
        )
        require_good(answer, record, reading=reading)
        return answer
