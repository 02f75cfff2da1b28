"""Write predictions into records of Salesforce, and read what came of them.

A record is known by an external id, so writing it twice is the same as once. Of a call that is
refused for the sake of one record, the others are written all the same; what an answer does not
tell beyond doubt is sent again.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from mlembed.errors import SettingsError
from mlembed_crm.destinations import Field, Limits
from mlembed_crm.destinations.groups import grouped
from mlembed_crm.destinations.salesforce.answers import accepted
from mlembed_crm.destinations.salesforce.changes import NAME, read_changes
from mlembed_crm.destinations.salesforce.login import OWNER, Session, by_key, by_secret
from mlembed_crm.destinations.salesforce.upsert import Writing
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    import httpx

    from mlembed_crm.action import Action
    from mlembed_crm.destinations.endpoint import Answer
    from mlembed_crm.destinations.salesforce.answers import Result
    from mlembed_crm.destinations.salesforce.login import Login
    from mlembed_crm.truths import Page, Truth
    from mlembed_crm.upsert import Kind


_CALL_SECONDS = 240.0
_MOST_TIMEOUT_SECONDS = 90.0
_VERSION = re.compile(r"v\d{2,3}\.0")
_KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("string", "textarea", "email", "phone", "url", "encryptedstring"), "text"),
    **dict.fromkeys(("picklist", "multipicklist", "combobox", "reference"), "text"),
    **dict.fromkeys(("double", "currency", "percent"), "number"),
    **dict.fromkeys(("int", "long"), "integer"),
    "boolean": "boolean",
    "date": "date",
    "datetime": "datetime",
}


class Salesforce:
    """An organization of Salesforce.

    Args:
        domain: `https://{mydomain}.my.salesforce.com`.
        client_id: Consumer key of the external client app.
        client_secret: Its secret, for the client credentials flow.
        private_key: Its RSA private key in PEM form, for the JWT bearer flow instead; needs the
            extra `salesforce`.
        username: Whom the app acts for, with *private_key*.
        login_url: Where to log in with *private_key*, and whom the assertion is for; by default
            the domain, and `https://login.salesforce.com` or that of sandboxes.
        api_version: Of the REST API.
        bulk_above: More records than this of one kind go as a job of the Bulk API.
        allow_private: Allow private addresses and plain `http`, for a stand-in of your own.
        timeout_seconds: Longest time of one HTTP call, at most 90.
        tls: TLS settings, for a gateway with a private certificate authority.
        transport: What carries requests instead, for tests.

    Raises:
        MissingExtraError: If *private_key* is given, and PyJWT is not installed.
        SettingsError: If an argument is malformed, or not exactly one flow is given.
    """

    def __init__(  # noqa: PLR0913  each is a setting of its own
        self,
        domain: str,
        *,
        client_id: str,
        client_secret: str | None = None,
        private_key: str | None = None,
        username: str | None = None,
        login_url: str | None = None,
        api_version: str = "v67.0",
        bulk_above: int = 2000,
        allow_private: bool = False,
        timeout_seconds: float = 30.0,
        tls: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        if not _VERSION.fullmatch(api_version):
            raise SettingsError(f"{OWNER}: api_version must be as v67.0")
        if bulk_above < 0:
            raise SettingsError(f"{OWNER}: bulk_above must be 0 or more")
        if not 0 < timeout_seconds <= _MOST_TIMEOUT_SECONDS:
            most = f"{_MOST_TIMEOUT_SECONDS:g}"
            raise SettingsError(f"{OWNER}: timeout_seconds must be more than 0, at most {most}")
        login = _login(domain, client_id, client_secret, private_key, username, login_url)
        self._session = Session(
            domain,
            login,
            allow_private=allow_private,
            timeout_seconds=timeout_seconds,
            tls=tls,
            transport=transport,
        )
        self._base = f"/services/data/{api_version}"
        self._bulk_above = bulk_above
        self._timeout_seconds = timeout_seconds
        self.limits = Limits(batch=10_000, call_seconds=_CALL_SECONDS)

    @property
    def name(self) -> str:
        """The organization's scheme and host."""
        return self._session.name

    def __repr__(self) -> str:
        return f"Salesforce('{self.name}/...')"

    def send(self, actions: Sequence[Action], /) -> list[Result]:
        """Write *actions*: each sets fields of the record that has its key, or makes that record.

        Args:
            actions: One or more, of any kinds of record.

        Returns:
            A receipt with the id of the record, or an error, for each.

        Raises:
            DeliveryError: If none of them was taken, for a cause that may pass or that stops all.
        """
        groups, told = grouped(actions, _problem)
        writing = Writing(self._session, self._base, self._ends())
        for group in groups.values():
            made = writing.group(
                [action for _, action in group], bulk=len(group) > self._bulk_above
            )
            told.update(zip((place for place, _ in group), made, strict=True))
        answers = [told[place] for place in range(len(actions))]
        first = answers[0]
        alike = all(answer is first for answer in answers)
        if alike and isinstance(first, DeliveryError) and not first.permanent:
            raise first
        return answers

    def describe(self, record: str, /) -> Mapping[str, Field]:
        """Return the fields of a kind of record, such as `Lead`, by name.

        Raises:
            DeliveryError: If it cannot be asked, or has no such kind; `permanent` for the latter.
        """
        if not NAME.fullmatch(record):
            raise DeliveryError(f"'{record[:80]}' is no kind of record; mend it", permanent=True)
        path = f"{self._base}/sobjects/{record}/describe"
        return fields_of(accepted(self._session.call("GET", path, self._ends())))

    def changes(self, truth: Truth, cursor: str, /) -> Page:
        """Return the next page of changes of *truth*'s records.

        Records that changed in the last ten minutes, by Salesforce's clock, are given at once and
        again at the next look: others may still be committed behind them.

        Raises:
            DeliveryError: If it cannot be read; `stops` if somebody must act.
        """
        return read_changes(self._session, self._base, truth, cursor, self._ends())

    def _ends(self) -> float:
        # A login that another thread waits for comes on top.
        return time.monotonic() + _CALL_SECONDS - self._timeout_seconds


def fields_of(answer: Answer) -> dict[str, Field]:
    """Return the fields that an answer describes.

    Raises:
        DeliveryError: If it describes none.
    """
    told = answer.json()
    rows = told.get("fields") if isinstance(told, dict) else None
    if not isinstance(rows, list):
        raise DeliveryError("the answer describes no fields", status=answer.status)
    return {
        str(row["name"]): _field(row) for row in rows if isinstance(row, dict) and "name" in row
    }


def _field(row: Mapping[str, Any]) -> Field:
    kind, length = _KINDS.get(str(row.get("type"))), row.get("length")
    choices: tuple[str, ...] = ()
    if row.get("type") == "picklist" and row.get("restrictedPicklist") is True:
        listed = [value for value in row.get("picklistValues") or () if isinstance(value, dict)]
        choices = tuple(str(value.get("value")) for value in listed if value.get("active") is True)
    return Field(
        kind=kind,
        writable=row.get("createable") is True and row.get("updateable") is True,
        max_length=length if kind == "text" and isinstance(length, int) and length > 0 else None,
        choices=choices,
        # Salesforce finds a record by an external id only.
        unique=row.get("externalId") is True and row.get("unique") is True,
    )


def _problem(action: Action) -> DeliveryError | None:
    if not action.record:
        reason = "an event cannot be written into Salesforce; give the rule an upsert"
    elif not action.key:
        reason = "a prediction without a key identifies no record; call predict(record, key=...)"
    elif not NAME.fullmatch(action.record) or not NAME.fullmatch(action.id_field):
        reason = "the upsert's record or key is no name of Salesforce's, such as Lead or Ext_Id__c"
    elif action.id_field.lower() == "id":
        reason = "Salesforce finds no record by its Id to upsert; name a field that is External ID"
    else:
        return None
    return DeliveryError(reason, permanent=True)


def _login(
    domain: str,
    client_id: str,
    client_secret: str | None,
    private_key: str | None,
    username: str | None,
    login_url: str | None,
) -> Login:
    if not client_id:
        raise SettingsError(f"{OWNER}: client_id must be the app's consumer key")
    if client_secret and not (private_key or username or login_url):
        return by_secret(domain, client_id, client_secret)
    if private_key and username and not client_secret:
        return by_key(domain, client_id, username, private_key, login_url)
    raise SettingsError(
        f"{OWNER}: give either client_secret, or private_key and username (and login_url)"
    )
