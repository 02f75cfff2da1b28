"""Write records in HubSpot, a batch at a time, and read in them what came of predictions.

A record is found by a property whose values are unique, and made where no record has the value, so
an action that arrives twice does what it does once. That holds for the value of a record that was
archived too: HubSpot then makes a new one.
"""

from __future__ import annotations

import json
import re
import time
import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlembed.errors import SettingsError
from mlembed_crm.destinations import Field, Limits, Receipt
from mlembed_crm.destinations.groups import grouped
from mlembed_crm.destinations.hubspot.changes import CONTACTS, page, query, read_cursor
from mlembed_crm.destinations.hubspot.errors import require_taken
from mlembed_crm.destinations.hubspot.rows import outcomes, row
from mlembed_crm.destinations.hubspot.signature import verify_hubspot
from mlembed_crm.errors import DeliveryError, PayloadError
from mlembed_crm.sending import send

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    import httpx

    from mlembed_crm.action import Action
    from mlembed_crm.destinations.endpoint import Answer
    from mlembed_crm.truths import Page, Truth
    from mlembed_crm.upsert import Kind

    Outcome = Receipt | DeliveryError

__all__ = ["BATCH", "HubSpot", "verify_hubspot"]

BATCH = 100

_TOKEN = re.compile(r"[\x21-\x7e]+")
_VERSION = re.compile(r"\d{4}-\d{2}(-beta)?", re.ASCII)
_CONFLICT = 409
_MAX_TEXT = 65_536
_KINDS: Mapping[str, Kind] = {
    "string": "text",
    "phone_number": "text",
    "enumeration": "text",
    "number": "number",
    "bool": "boolean",
    "date": "date",
    "datetime": "datetime",
}


class HubSpot:
    """Records of a HubSpot account.

    The key field of an upsert is a property of unique values, best one of your own: an e-mail
    address changes, and a contact may have several. `record` is `contacts`, `companies`, `deals`
    or another kind, by its name or id.

    Args:
        token: Access token of a private app, with the scopes to write the records.
        api_version: The version of the API to use, such as `2026-09`.
        url: Base URL of the API.
        allow_private: Allow private addresses and plain `http`, for a gateway of your own.
        timeout_seconds: Longest time of one call, once its name is resolved.
        tls: TLS settings, for a gateway with a private certificate authority.
        transport: What carries requests instead, for tests.

    Raises:
        SettingsError: If the token, the version or the URL is malformed.
    """

    def __init__(
        self,
        token: str,
        *,
        api_version: str = "2026-09",
        url: str = "https://api.hubapi.com",
        allow_private: bool = False,
        timeout_seconds: float = 30.0,
        tls: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise SettingsError("HubSpot: token must be the access token of a private app")
        if not isinstance(api_version, str) or not _VERSION.fullmatch(api_version):
            raise SettingsError("HubSpot: api_version must be a year and month, as '2026-09'")
        # Who only verifies what HubSpot sends needs no HTTP library.
        from mlembed_crm.destinations.endpoint import Endpoint

        self._endpoint = Endpoint(
            url,
            allow_private=allow_private,
            timeout_seconds=timeout_seconds,
            tls=tls,
            transport=transport,
            owner="HubSpot",
        )
        self._version = api_version
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        # The last call of a batch with several kinds of records begins before the first half ends.
        self.limits = Limits(batch=BATCH, call_seconds=2 * timeout_seconds)

    @property
    def name(self) -> str:
        """The API's scheme and host."""
        return self._endpoint.name

    def __repr__(self) -> str:
        return f"HubSpot(url='{self.name}', api_version='{self._version}')"

    def send(self, actions: Sequence[Action], /) -> list[Outcome]:
        """Write the records of *actions*: one call for each kind of record and key field.

        Raises:
            DeliveryError: If HubSpot took nothing; `permanent` if it takes the others without some
                one of them.
        """
        groups, answers = grouped(actions, _unfit)
        if len(groups) == 1 and not answers:
            return self._upsert(actions)
        told = self._upsert_each([[action for _, action in group] for group in groups.values()])
        return [
            answers[at] if at in answers else told[action.id] for at, action in enumerate(actions)
        ]

    def describe(self, record: str, /) -> Mapping[str, Field]:
        """Return the properties of a kind of record, by name.

        Raises:
            DeliveryError: If HubSpot does not tell; `permanent` if it has no such kind.
        """
        answer = self._call("GET", f"/crm/properties/{self._version}/{_quoted(record)}")
        require_taken(answer)
        body = answer.json()
        results = body.get("results") if isinstance(body, Mapping) else None
        if not isinstance(results, list) or not all(map(_is_property, results)):
            raise DeliveryError(
                f"HTTP {answer.status} with no list of properties",
                status=answer.status,
                unknown=True,
            )
        unique = {"email"} if record in CONTACTS else set()  # by which HubSpot finds contacts too
        return {one["name"]: _field(one, unique) for one in results}

    def changes(self, truth: Truth, cursor: str, /) -> Page:
        """Return the next page of what came of predictions, by the time of the change.

        Archived records are not told of.

        Raises:
            DeliveryError: If it cannot be read.
        """
        place = read_cursor(cursor)
        path = f"/crm/objects/{self._version}/{_quoted(truth.record)}/search"
        answer = self._call("POST", path, query(truth, place))
        require_taken(answer, truth.fields)
        return page(truth, place, answer)

    def _upsert_each(self, groups: list[list[Action]]) -> dict[str, Outcome]:
        """Write groups, one after the other; what one comes to takes nothing from the others."""
        ends = time.monotonic() + self._endpoint.timeout_seconds
        told: dict[str, Outcome] = {}
        ended: DeliveryError | None = None
        for group in groups:
            if ended is None:
                for answered in send(_Group(self), group, lambda: time.monotonic() < ends):
                    told.update((one.action.id, one.answer) for one in answered)
                    ended = ended or next(filter(None, map(_end, answered)), None)
            # No attempt that counts: nothing is wrong with those that were not sent.
            late = DeliveryError("not sent, for what came before it; it is next", retry_after=0.0)
            for action in group:
                told.setdefault(action.id, ended or late)
        return told

    def _upsert(self, actions: Sequence[Action]) -> list[Outcome]:
        """Write records of one kind, found by one field."""
        path = f"/crm/objects/{self._version}/{_quoted(actions[0].record)}/batch/upsert"
        answer = self._call("POST", path, {"inputs": [row(action) for action in actions]})
        try:
            require_taken(answer, {name for action in actions for name in action.payload})
        except DeliveryError as error:
            if error.status == _CONFLICT and len(actions) == 1:
                # Another may be writing the same record just now; among many, one may be at fault.
                raise DeliveryError(error.reason, status=_CONFLICT) from None
            raise
        return outcomes(actions, answer.json(), answer.status)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        return self._endpoint.call(method, path, headers=self._headers, content=content)


class _Group:
    """A destination of one kind of record and one key field."""

    def __init__(self, hubspot: HubSpot) -> None:
        self._hubspot = hubspot
        self.name, self.limits = hubspot.name, hubspot.limits

    def send(self, actions: Sequence[Action], /) -> list[Outcome]:
        """Write the records of *actions*."""
        return self._hubspot._upsert(actions)  # noqa: SLF001  a part of it


def _unfit(action: Action) -> DeliveryError | None:
    """Return why *action* cannot be written as a record; None if it can."""
    if not action.record or not action.id_field:
        return DeliveryError("an event is no record; give the rule an upsert", permanent=True)
    if not action.key:
        return DeliveryError(
            "without a key there is no record to write; call predict(record, key=...)",
            permanent=True,
        )
    try:
        row(action)
    except PayloadError as error:
        return DeliveryError(str(error), permanent=True)
    return None


def _end(answered: Any) -> DeliveryError | None:
    """Return the error after which it is of no use to send HubSpot more."""
    error = answered.answer
    return error if isinstance(error, DeliveryError) and error.ends_all else None


def _quoted(record: str) -> str:
    return urllib.parse.quote(record, safe="")


def _is_property(one: Any) -> bool:
    return isinstance(one, Mapping) and isinstance(one.get("name"), str)


def _is_option(one: Any) -> bool:
    return isinstance(one, Mapping) and "value" in one


def _field(one: Mapping[str, Any], unique: set[str]) -> Field:
    kind = _KINDS.get(str(one.get("type")))
    if one.get("type") == "enumeration" and one.get("fieldType") == "booleancheckbox":
        kind = "boolean"
    modification = one.get("modificationMetadata")
    read_only = isinstance(modification, Mapping) and modification.get("readOnlyValue") is True
    choices: tuple[str, ...] = ()
    if one.get("type") == "enumeration" and kind == "text":
        options = one.get("options")
        if isinstance(options, list):
            choices = tuple(str(each["value"]) for each in options if _is_option(each))
    return Field(
        kind=kind,
        writable=not read_only and one.get("calculated") is not True,
        max_length=_MAX_TEXT if one.get("type") == "string" else None,
        choices=choices,
        unique=one.get("hasUniqueValue") is True or one["name"] in unique,
    )
