"""Write fields of Tryton's records, and read back what came of them.

A record that does not exist is made only where that was asked for. Tryton takes the records of one
call all or not at all, so one bad value refuses them all, and the delivery finds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlembed.errors import SettingsError
from mlembed_crm.destinations import Limits, Receipt
from mlembed_crm.destinations.batch import Batch
from mlembed_crm.destinations.endpoint import Endpoint
from mlembed_crm.destinations.groups import grouped, no_record
from mlembed_crm.destinations.modelled import Modelled
from mlembed_crm.destinations.rows import SEVERAL, Definitions, matched
from mlembed_crm.destinations.tryton.calls import Search
from mlembed_crm.destinations.tryton.changes import read_changes
from mlembed_crm.destinations.tryton.rest import Rest
from mlembed_crm.destinations.tryton.rpc import Rpc
from mlembed_crm.destinations.tryton.values import field_of, typed, typed_key
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    import httpx

    from mlembed_crm.action import Action
    from mlembed_crm.destinations.groups import Group
    from mlembed_crm.destinations.rows import Row
    from mlembed_crm.destinations.tryton.calls import Calls, Results
    from mlembed_crm.truths import Page, Truth

_FIRST_VERSION = 8
_FOUND_PER_KEY = 10
_MISSING = "no record has its key; make the record in Tryton, or give create=True"


class Tryton(Modelled):
    """A database of Tryton 8.0 or later.

    Give either *user* and *password*, which writes a hundred records in a call, or the *key* of an
    application for REST, which writes one.

    Args:
        url: Of the server; `https` unless *allow_private*.
        database: Its name there.
        user: Login of a user that may write the records.
        password: Of that login.
        key: Of an application of such a user, made for `rest`, and validated.
        version: Tryton's, the first number.
        company: Id of the company whose records are written, where there are several.
        create: Make a record where none has the key. Most kinds need more than a score to be made.
        allow_private: Allow private addresses and plain `http`, for a server of your own.
        timeout_seconds: Longest time of one request.
        tls: TLS settings, for a server with a private certificate authority.
        transport: What carries requests instead, such as `httpx.MockTransport`.

    Raises:
        SettingsError: If an argument is malformed, or there is not one way to log in.
    """

    def __init__(  # noqa: PLR0913  one argument a setting
        self,
        url: str,
        database: str,
        *,
        user: str | None = None,
        password: str | None = None,
        key: str | None = None,
        version: int = _FIRST_VERSION,
        company: int | None = None,
        create: bool = False,
        allow_private: bool = False,
        timeout_seconds: float = 30.0,
        tls: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        _check(database, user, password, key)
        if version < _FIRST_VERSION:
            raise SettingsError("Tryton: version must be 8 or more; before, its URLs were others")
        self._endpoint = Endpoint(
            url,
            allow_private=allow_private,
            timeout_seconds=timeout_seconds,
            tls=tls,
            transport=transport,
            owner="Tryton",
        )
        context = {} if company is None else {"company": company}
        self._calls: Calls = (
            Rest(self._endpoint, database, key, context)
            if key
            else Rpc(self._endpoint, database, user or "", password or "", context)
        )
        self._create = create
        self._definitions = Definitions(self._calls.fields, typed_key, typed, field_of)
        # A call, a new session, and the call again, of which the last begins in time.
        self.limits = Limits(batch=self._calls.batch, call_seconds=3 * timeout_seconds)

    def send(self, actions: Sequence[Action], /) -> list[Receipt | DeliveryError]:
        """Write the records that *actions* are about.

        Raises:
            DeliveryError: If none was written; `permanent` if one at least cannot be.
        """
        groups, answers = grouped(actions, no_record)
        batch = Batch(self._ends(), answers)
        for (record, id_field), group in groups.items():
            self._guarded(batch, record, id_field, group)
        return [batch.answers[at] for at in range(len(actions))]

    def _page(self, fields: Mapping[str, Any], truth: Truth, cursor: str, ends: float) -> Page:
        return read_changes(self._calls, fields, truth, cursor, ends)

    def _guarded(self, batch: Batch, record: str, id_field: str, group: Group) -> None:
        """Write a group; what was written before is not lost to its failure."""
        if batch.halted is not None:
            batch.failed([at for at, _ in group], batch.halted)
            return
        try:
            self._upsert(batch, record, id_field, group)
        except DeliveryError as error:
            if error.unknown:  # such as for a field that is of another type since it was learned
                self._definitions.forget(record)
            if not batch.wrote:
                raise
            left = [(at, action) for at, action in group if at not in batch.answers]
            if error.permanent and len(left) > 1:
                for one in left:
                    self._guarded(batch, record, id_field, [one])
            else:
                batch.failed([at for at, _ in left], error)

    def _upsert(self, batch: Batch, record: str, id_field: str, group: Group) -> None:
        rows = self._definitions.rows(batch, record, group)
        if not rows:
            return
        limit = _FOUND_PER_KEY * len(rows)
        domain = [[id_field, "in", [row.key for row in rows]]]
        search = Search(record, domain, [id_field], limit=limit)
        found, _ = self._calls.search(search, batch.ends, several=len(rows) > 1)
        if len(found) >= limit:  # some may be missing
            raise DeliveryError(SEVERAL, permanent=True)
        ids = matched(rows, found, id_field)
        there, missing = [], []
        for row in rows:
            number = ids.get(row.at)
            if isinstance(number, DeliveryError):
                batch.answers[row.at] = number
            elif number is None:
                missing.append(row)
            elif row.values:
                there.append((number, row))
            else:
                batch.answers[row.at] = Receipt(remote_id=str(number))
        self._write(batch, record, there)
        self._make(batch, record, id_field, missing)

    def _write(self, batch: Batch, record: str, there: Sequence[tuple[int, Row]]) -> None:
        if there:
            values = [(number, row.values) for number, row in there]
            told = self._calls.write(record, values, batch.ends)
            batch.answers.update(zip((row.at for _, row in there), told, strict=True))

    def _make(self, batch: Batch, record: str, id_field: str, missing: Sequence[Row]) -> None:
        if missing and self._create and id_field != "id":
            values = [{**row.values, id_field: row.key} for row in missing]
            told: Results = self._calls.create(record, values, batch.ends)
        else:
            told = [DeliveryError(_MISSING, permanent=True)] * len(missing)
        batch.answers.update(zip((row.at for row in missing), told, strict=True))


def _check(database: str, user: str | None, password: str | None, key: str | None) -> None:
    if not isinstance(database, str) or not database:
        raise SettingsError("Tryton: database must name one")
    if bool(key) == bool(user) or bool(user) != bool(password):
        raise SettingsError("Tryton: give either user and password, or key")
    if user and ":" in user:
        raise SettingsError("Tryton: user must have no colon, which ends it in a session's name")
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise SettingsError("Tryton: key must be as Tryton shows it: letters and digits")
