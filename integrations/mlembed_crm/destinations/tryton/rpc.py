"""Call Tryton by JSON-RPC, in the session of a user.

One call writes any number of records, or none of them. None is begun once the time of all is over.
"""

from __future__ import annotations

import base64
import http
import json
import urllib.parse
from typing import TYPE_CHECKING, Any

from mlembed_crm.destinations import Receipt
from mlembed_crm.destinations.batch import require_time
from mlembed_crm.destinations.credentials import Token, Tokens
from mlembed_crm.destinations.tryton.calls import JSON, definitions_of, rows_of
from mlembed_crm.destinations.tryton.errors import odd, result_of, unknown_model
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlembed_crm.destinations.endpoint import Answer, Endpoint
    from mlembed_crm.destinations.tryton.calls import Results, Rows, Search

_UNAUTHORIZED = http.HTTPStatus.UNAUTHORIZED


class Rpc:
    """JSON-RPC, in the session of a user.

    Args:
        endpoint: Of the server.
        database: Its name.
        user: Login.
        password: Of that login.
        context: Of every call.
    """

    batch = 100

    def __init__(
        self,
        endpoint: Endpoint,
        database: str,
        user: str,
        password: str,
        context: Mapping[str, Any],
    ) -> None:
        self._endpoint, self._context = endpoint, context
        self._path = f"/{urllib.parse.quote(database, safe='')}/rpc/"
        self._login = [user, {"password": password}, "en"]
        self._tokens = Tokens(self._log_in)

    def fields(self, record: str, ends: float) -> Mapping[str, Any]:
        """Return the definitions of a model's fields."""
        answer = self._send(f"model.{record}.fields_get", [[], self._context], ends)
        told = answer.json() if answer.status == http.HTTPStatus.OK else None
        # The error for a model that is not there is the bare KeyError of its name.
        if isinstance(told, dict) and told.get("error") == [repr(record), ""]:
            raise unknown_model(record)
        return definitions_of(result_of(answer, several=False, reading=True), answer)

    def search(self, search: Search, ends: float, *, several: bool) -> tuple[Rows, Answer]:
        """Return what is found, archived records too, and the answer that told so."""
        parameters = [search.domain, 0, search.limit, search.order, search.fields]
        context = {**self._context, "active_test": False}
        answer = self._send(f"model.{search.record}.search_read", [*parameters, context], ends)
        return rows_of(result_of(answer, several=several, reading=True), answer), answer

    def write(
        self, record: str, values: Sequence[tuple[int, Mapping[str, Any]]], ends: float
    ) -> Results:
        """Set values of records, of all or none."""
        pairs = [part for number, fields in values for part in ([number], fields)]
        answer = self._send(f"model.{record}.write", [*pairs, self._context], ends)
        result_of(answer, several=len(values) > 1)
        return [Receipt(answer.status, str(number)) for number, _ in values]

    def create(self, record: str, values: Sequence[Mapping[str, Any]], ends: float) -> Results:
        """Make records, all or none."""
        answer = self._send(f"model.{record}.create", [list(values), self._context], ends)
        made = result_of(answer, several=len(values) > 1)
        if not isinstance(made, list) or len(made) != len(values):
            raise odd(answer)
        return [Receipt(answer.status, str(number)) for number in made]

    def _send(self, method: str, parameters: list[Any], ends: float) -> Answer:
        def request(token: Token) -> Answer:
            require_time(ends)
            return self._post(method, parameters, {"Authorization": token.secret})

        return self._tokens.call(request, lambda answer: answer.status == _UNAUTHORIZED)

    def _log_in(self) -> Token:
        answer = self._post("common.db.login", self._login, {})
        if answer.status == _UNAUTHORIZED:
            why = "HTTP 401: it refuses the user or the password"
            raise DeliveryError(why, status=answer.status, stops=True)
        told = result_of(answer, several=False)
        if not isinstance(told, list) or len(told) < 2:  # noqa: PLR2004  id and token
            raise odd(answer)
        session = f"{self._login[0]}:{told[0]}:{told[1]}".encode()
        return Token(f"Session {base64.b64encode(session).decode()}")

    def _post(self, method: str, parameters: list[Any], headers: Mapping[str, str]) -> Answer:
        body = {"id": 1, "method": method, "params": parameters}
        return self._endpoint.call(
            "POST", self._path, headers={**JSON, **headers}, content=json.dumps(body).encode()
        )
