"""Write fields of Odoo's records, and read back what came of them.

A record that does not exist is made only where that was asked for. Each call is a transaction of
its own, so each record is taken or refused for itself.
"""

from __future__ import annotations

import http
import json
from typing import TYPE_CHECKING, Any

from mlembed.errors import SettingsError
from mlembed_crm.destinations import Limits, Receipt
from mlembed_crm.destinations.batch import Batch
from mlembed_crm.destinations.endpoint import Endpoint
from mlembed_crm.destinations.groups import grouped, no_record
from mlembed_crm.destinations.modelled import Modelled
from mlembed_crm.destinations.odoo.calls import Calls
from mlembed_crm.destinations.odoo.changes import read_changes
from mlembed_crm.destinations.odoo.values import field_of, written, written_key
from mlembed_crm.destinations.rows import Definitions, matched
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping, Sequence

    import httpx

    from mlembed_crm.action import Action
    from mlembed_crm.destinations.groups import Answers, Group
    from mlembed_crm.destinations.rows import Row
    from mlembed_crm.truths import Page, Truth

_BATCH = 20
_FOUND_PER_KEY = 10
_MISSING = "no record has its key; make the record in Odoo, or give create=True"


class Odoo(Modelled):
    """A database of Odoo 19 or later, by its JSON-2 API.

    Args:
        url: Of the server; `https` unless *allow_private*.
        database: Its name there.
        key: API key of a user that may write the records; Odoo's live for three months at most.
        create: Make a record where none has the key. Most kinds need more than a score to be made.
        allow_private: Allow private addresses and plain `http`, for a server of your own.
        timeout_seconds: Longest time of one request.
        tls: TLS settings, for a server with a private certificate authority.
        transport: What carries requests instead, such as `httpx.MockTransport`.

    Raises:
        SettingsError: If an argument is malformed.
    """

    def __init__(
        self,
        url: str,
        database: str,
        key: str,
        *,
        create: bool = False,
        allow_private: bool = False,
        timeout_seconds: float = 30.0,
        tls: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        for name, text in (("database", database), ("key", key)):
            if not (isinstance(text, str) and text.isascii() and text.isprintable() and text):
                raise SettingsError(f"Odoo: {name} must be a text that is not empty, in ASCII")
        self._endpoint = Endpoint(
            url,
            allow_private=allow_private,
            timeout_seconds=timeout_seconds,
            tls=tls,
            transport=transport,
            owner="Odoo",
        )
        self._calls = Calls(self._endpoint, database, key)
        self._create = create
        self._definitions = Definitions(self._calls.fields, written_key, written, field_of)
        # The last request begins in time.
        self.limits = Limits(batch=_BATCH, call_seconds=2 * timeout_seconds)

    def send(self, actions: Sequence[Action], /) -> list[Receipt | DeliveryError]:
        """Write the records that *actions* are about.

        Raises:
            DeliveryError: If none was written; `permanent` if one at least cannot be.
        """
        groups, answers = grouped(actions, no_record)
        batch = _Batch(self._calls, self._ends(), answers)
        for (record, id_field), group in groups.items():
            try:
                batch.require_open()
                self._upsert(batch, record, id_field, group)
            except DeliveryError as error:
                if not batch.wrote:
                    raise
                batch.failed([at for at, _ in group if at not in batch.answers], error)
        return [batch.answers[at] for at in range(len(actions))]

    def _page(self, fields: Mapping[str, Any], truth: Truth, cursor: str, ends: float) -> Page:
        return read_changes(self._calls, fields, truth, cursor, ends)

    def _upsert(self, batch: _Batch, record: str, id_field: str, group: Group) -> None:
        rows = self._definitions.rows(batch, record, group)
        if not rows:
            return
        found = self._find(batch, record, id_field, rows)
        if found is None:
            self._upsert_each(batch, record, id_field, group)
            return
        ids = matched(rows, found, id_field)
        there = []
        for row in rows:
            number = ids.get(row.at)
            if isinstance(number, int):
                there.append((number, row))
            elif number is not None:
                batch.answers[row.at] = number
            elif self._create and id_field != "id":
                batch.create(record, id_field, row)
            else:
                batch.answers[row.at] = DeliveryError(_MISSING, permanent=True)
        for same in _equal(there):
            batch.write(record, same)

    def _upsert_each(self, batch: _Batch, record: str, id_field: str, group: Group) -> None:
        for at, action in group:
            if at in batch.answers:
                continue
            try:
                batch.require_open()
                self._upsert(batch, record, id_field, [(at, action)])
            except DeliveryError as error:
                batch.failed([at], error)

    def _find(
        self, batch: _Batch, record: str, id_field: str, rows: Sequence[Row]
    ) -> list[dict[str, Any]] | None:
        """Return the records that have the keys of *rows*; None if each is to be asked for alone."""
        limit = _FOUND_PER_KEY * len(rows)
        domain = [[id_field, "in", [row.key for row in rows]]]
        try:
            found, _ = self._calls.search(
                record, domain, [id_field], limit=limit, order="id", ends=batch.ends
            )
        except DeliveryError as error:
            if error.status == http.HTTPStatus.INTERNAL_SERVER_ERROR and len(rows) > 1:
                return None
            self._definitions.forget(record)
            raise
        return None if len(found) >= limit and len(rows) > 1 else found


class _Batch(Batch):
    """What has become of a batch that is written to Odoo, a record at a time or several alike."""

    def __init__(self, calls: Calls, ends: float, answers: Answers) -> None:
        super().__init__(ends, answers)
        self._calls = calls

    def write(self, record: str, same: Sequence[tuple[int, Row]]) -> None:
        """Write records that are set to the same values; each alone if one of them cannot be."""
        ids, values = [number for number, _ in same], same[0][1].values
        if not values:
            for number, row in same:
                self.answers[row.at] = Receipt(remote_id=str(number))
            return
        try:
            self.require_open()
            answer = self._calls.write(record, ids, values, self.ends)
        except DeliveryError as error:
            if error.permanent and len(same) > 1:
                for one in same:
                    self.write(record, [one])
            else:
                self.failed([row.at for _, row in same], error)
        else:
            for number, row in same:
                self.answers[row.at] = Receipt(answer.status, str(number))

    def create(self, record: str, id_field: str, row: Row) -> None:
        """Make a record."""
        try:
            self.require_open()
            values = {**row.values, id_field: row.key}
            number, answer = self._calls.create(record, values, self.ends)
        except DeliveryError as error:
            self.failed([row.at], error)
        else:
            self.answers[row.at] = Receipt(answer.status, str(number))

    def require_open(self) -> None:
        """Return if anything may be called.

        Raises:
            DeliveryError: Why not.
        """
        if self.halted is not None:
            raise self.halted


def _equal(there: Iterable[tuple[int, Row]]) -> list[list[tuple[int, Row]]]:
    """Return records and their rows, those together that are set to the same values."""
    groups: dict[str, list[tuple[int, Row]]] = {}
    for number, row in there:
        groups.setdefault(json.dumps(row.values, sort_keys=True), []).append((number, row))
    return list(groups.values())
