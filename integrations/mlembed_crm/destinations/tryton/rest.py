"""Call Tryton by REST, with the key of an application.

One call writes one record, and none is begun once the time of all is over.
"""

from __future__ import annotations

import base64
import http
import json
import urllib.parse
from typing import TYPE_CHECKING, Any, TypeVar

from mlembed_crm.destinations import Receipt
from mlembed_crm.destinations.batch import require_time
from mlembed_crm.destinations.tryton.calls import JSON, definitions_of, rows_of
from mlembed_crm.destinations.tryton.errors import broken, odd, require_good, unknown_model
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlembed_crm.destinations.endpoint import Answer, Endpoint
    from mlembed_crm.destinations.tryton.calls import Results, Rows, Search

Row = TypeVar("Row")

_UNAUTHORIZED = http.HTTPStatus.UNAUTHORIZED
_BROKEN = http.HTTPStatus.INTERNAL_SERVER_ERROR


class Rest:
    """REST, with the key of an application of a user.

    Args:
        endpoint: Of the server.
        database: Its name.
        key: Of the application.
        context: Of every call.
    """

    batch = 20

    def __init__(
        self, endpoint: Endpoint, database: str, key: str, context: Mapping[str, Any]
    ) -> None:
        self._endpoint = endpoint
        self._path = f"/{urllib.parse.quote(database, safe='')}/rest/model/"
        # Archived records are records: without that, one could be neither found nor written.
        every = _base64({**context, "active_test": False})
        self._headers = {**JSON, "Authorization": f"Bearer {key}", "X-Tryton-Context": every}

    def fields(self, record: str, ends: float) -> Mapping[str, Any]:
        """Return the definitions of a model's fields."""
        answer = self._send("POST", record, "/fields_get", ends, {})
        # The error for a model that is not there is the bare KeyError of its name.
        if answer.status == _BROKEN and f"&#39;{record}&#39;".encode() in answer.body:
            raise unknown_model(record)
        require_good(answer, reading=True)
        return definitions_of(answer.json(), answer)

    def search(self, search: Search, ends: float, *, several: bool) -> tuple[Rows, Answer]:
        """Return what is found, archived records too, and the answer that told so."""
        asked = {
            "d": _base64(search.domain),
            "o": _base64(search.order),
            "s": str(search.limit),
            "f": search.fields,
        }
        query = f"?{urllib.parse.urlencode(asked, doseq=True)}"
        answer = self._send("GET", search.record, query, ends)
        if answer.status == _BROKEN and several:
            raise broken(answer, several=several)
        require_good(answer, reading=True)
        return rows_of(answer.json(), answer), answer

    def write(
        self, record: str, values: Sequence[tuple[int, Mapping[str, Any]]], ends: float
    ) -> Results:
        """Set values of records, one after the other."""
        return _each(lambda row: self._write(record, *row, ends), values)

    def create(self, record: str, values: Sequence[Mapping[str, Any]], ends: float) -> Results:
        """Make records, one after the other."""
        return _each(lambda row: self._create(record, row, ends), values)

    def _write(self, record: str, number: int, values: Mapping[str, Any], ends: float) -> Receipt:
        answer = self._send("PUT", record, f"/{number}?f=id", ends, values)
        if answer.status == http.HTTPStatus.NOT_FOUND:
            raise DeliveryError("HTTP 404: the record is gone", permanent=True, status=404)
        require_good(answer)
        return Receipt(answer.status, str(number))

    def _create(self, record: str, values: Mapping[str, Any], ends: float) -> Receipt:
        answer = self._send("POST", record, "?f=id", ends, values)
        require_good(answer)
        if answer.status == http.HTTPStatus.NO_CONTENT:  # made, but not to be read
            return Receipt(answer.status)
        made = answer.json()
        if not isinstance(made, dict) or not isinstance(made.get("id"), int):
            raise odd(answer)
        return Receipt(answer.status, str(made["id"]))

    def _send(
        self,
        method: str,
        record: str,
        rest: str,
        ends: float,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        require_time(ends)
        path = f"{self._path}{urllib.parse.quote(record, safe='')}{rest}"
        content = b"" if body is None else json.dumps(body).encode()
        answer = self._endpoint.call(method, path, headers=self._headers, content=content)
        if answer.status == _UNAUTHORIZED:
            why = "HTTP 401: it refuses the application key; make one for 'rest', and validate it"
            raise DeliveryError(why, status=answer.status, stops=True)
        return answer


def _each(call: Callable[[Row], Receipt], rows: Sequence[Row]) -> Results:
    results: Results = []
    for row in rows:
        try:
            results.append(call(row))
        except DeliveryError as error:
            results.append(error)
            if error.ends_all:
                return [*results, *[error] * (len(rows) - len(results))]
    return results


def _base64(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
