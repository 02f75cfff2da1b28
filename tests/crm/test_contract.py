"""Our own destinations keep the laws that those of others must keep."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest

from mlembed_crm import (
    DeliveryError,
    HubSpot,
    Limits,
    Odoo,
    Receipt,
    Salesforce,
    Slack,
    Tryton,
    Upsert,
    Webhook,
)
from mlembed_crm.destinations.endpoint import Behind, Endpoint
from mlembed_crm.testing import DestinationContract

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed_crm import Action


class TestWebhook(DestinationContract):
    """A signed webhook."""

    secrets = ("c2VjcmV0LW9mLXRlc3RzLW9mLW1sZW1iZWQtMDE=", "hidden")
    takes_events = True
    reads_answers = False

    def destination(self, transport: httpx.BaseTransport) -> Webhook:
        secret = "whsec_" + self.secrets[0]
        return Webhook("https://desk.example/hidden", secret, transport=transport)

    def answer(self, request: httpx.Request, actions: Sequence[Action]) -> httpx.Response:
        del request, actions
        return httpx.Response(204)


class TestSlack(DestinationContract):
    """An incoming webhook of Slack."""

    secrets = ("T000/B000/hidden",)
    takes_events = True

    def destination(self, transport: httpx.BaseTransport) -> Slack:
        return Slack(f"https://hooks.slack.com/services/{self.secrets[0]}", transport=transport)

    def answer(self, request: httpx.Request, actions: Sequence[Action]) -> httpx.Response:
        del request, actions
        return httpx.Response(200, text="ok")


class TestHubSpot(DestinationContract):
    """A HubSpot account."""

    secrets = ("pat-eu1-hidden",)

    def destination(self, transport: httpx.BaseTransport) -> HubSpot:
        return HubSpot(self.secrets[0], transport=transport)

    def answer(self, request: httpx.Request, actions: Sequence[Action]) -> httpx.Response:
        del actions
        inputs = json.loads(request.content)["inputs"]
        results = [
            {
                "id": str(place),
                "new": False,
                "objectWriteTraceId": each["objectWriteTraceId"],
                "properties": {each["idProperty"]: each["id"], **each["properties"]},
            }
            for place, each in enumerate(inputs)
        ]
        return httpx.Response(200, json={"status": "COMPLETE", "results": results})


class TestSalesforce(DestinationContract):
    """A Salesforce organization."""

    secrets = ("hidden-secret", "hidden-token")
    upsert = Upsert("Lead", "Ext__c", {"ML_Score__c": "score"})

    def destination(self, transport: httpx.BaseTransport) -> Salesforce:
        return Salesforce(
            "https://acme.my.salesforce.com",
            client_id="id",
            client_secret=self.secrets[0],
            transport=transport,
        )

    def before(self, request: httpx.Request) -> httpx.Response | None:
        if "/oauth2/token" not in request.url.path:
            return None
        told = {"access_token": self.secrets[1], "instance_url": "https://acme.my.salesforce.com"}
        return httpx.Response(200, json=told)

    def answer(self, request: httpx.Request, actions: Sequence[Action]) -> httpx.Response:
        del actions
        records = json.loads(request.content)["records"]
        taken = {"success": True, "created": False, "errors": []}
        return httpx.Response(200, json=[{"id": f"00Q{n}", **taken} for n in range(len(records))])


class TestOdoo(DestinationContract):
    """An Odoo database."""

    secrets = ("hidden-key",)
    upsert = Upsert("crm.lead", "ref", {"probability": "score"})
    fields: ClassVar[dict[str, Any]] = {
        "ref": {"type": "char"},
        "probability": {"type": "float"},
    }

    def destination(self, transport: httpx.BaseTransport) -> Odoo:
        return Odoo("https://erp.example", "db", self.secrets[0], transport=transport)

    def answer(self, request: httpx.Request, actions: Sequence[Action]) -> httpx.Response:
        method = request.url.path.rsplit("/", 1)[-1]
        if method == "fields_get":
            return httpx.Response(200, json=self.fields)
        if method == "write":
            return httpx.Response(200, json=True)
        found = [{"id": place, "ref": each.key} for place, each in enumerate(actions, 1)]
        return httpx.Response(200, json=found)


class TestTryton(DestinationContract):
    """A Tryton database, asked over JSON-RPC."""

    secrets = ("hidden-password", "hidden-session")
    upsert = Upsert("sale.opportunity", "reference", {"conversion_probability": "score"})

    def destination(self, transport: httpx.BaseTransport) -> Tryton:
        return Tryton(
            "https://erp.example", "db", user="u", password=self.secrets[0], transport=transport
        )

    def before(self, request: httpx.Request) -> httpx.Response | None:
        if json.loads(request.content)["method"] != "common.db.login":
            return None
        return httpx.Response(200, json={"id": 1, "result": [7, self.secrets[1], None]})

    def answer(self, request: httpx.Request, actions: Sequence[Action]) -> httpx.Response:
        method = json.loads(request.content)["method"].rsplit(".", 1)[-1]
        results: dict[str, Any] = {
            "fields_get": {
                "reference": {"type": "char"},
                "conversion_probability": {"type": "float"},
            },
            "search_read": [{"id": n, "reference": each.key} for n, each in enumerate(actions, 1)],
            "write": None,
        }
        return httpx.Response(200, json={"id": 1, "result": results.get(method)})


class Careless(Behind):
    """Sends but three of a batch, and lets what may have arrived be sent again."""

    limits = Limits(batch=50, call_seconds=10, idempotent=False)

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._endpoint = Endpoint("https://desk.example", transport=transport)

    def send(self, actions: Sequence[Action], /) -> list[Receipt]:
        """Post the first three."""
        body = b"".join(action.event() for action in actions[:3])
        answer = self._endpoint.call("POST", headers={}, content=body)
        if answer.status != httpx.codes.OK or answer.body != b"ok":
            raise DeliveryError("it was not taken", status=answer.status)
        return [Receipt(answer.status)] * len(actions)


class Contract(DestinationContract):
    """Run by hand, since it does not pass."""

    __test__ = False

    def destination(self, transport: httpx.BaseTransport) -> Careless:
        return Careless(transport)

    def answer(self, request: httpx.Request, actions: Sequence[Action]) -> httpx.Response:
        del request, actions
        return httpx.Response(200, text="ok")


def test_contract_tries_a_whole_batch() -> None:
    """Who sends but the first few of it, and gives a receipt for all, does not pass."""
    with pytest.raises(AssertionError, match="an action was not sent"):
        Contract().test_every_action_leaves()


@pytest.mark.parametrize("status", [500, 502, 504, 200])
def test_contract_wants_an_unknown_fate_where_twice_is_twice(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A failure or a page does not tell that nothing was done; to say so alone is enough."""
    send = Careless.send

    def careful(self: Careless, actions: Sequence[Action], /) -> list[Receipt]:
        try:
            return send(self, actions)
        except DeliveryError as error:
            unknown = error.status != status
            raise DeliveryError(error.reason, status=error.status, unknown=unknown) from None

    monkeypatch.setattr(Careless, "send", careful)

    with pytest.raises(AssertionError, match=str(status)):
        Contract().test_what_may_have_been_taken_is_an_unknown_fate()
