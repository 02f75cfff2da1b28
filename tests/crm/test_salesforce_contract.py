"""Salesforce as our contract describes it: Prism refuses every request that does not keep to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from crm.fakes.salesforce import CLIENT, SCORE, SECRET, lead, leads
from crm.prism import prism
from mlembed_crm.destinations import Field, Receipt
from mlembed_crm.destinations.salesforce import Salesforce
from mlembed_crm.errors import DeliveryError
from mlembed_crm.truths import Found, Truth

if TYPE_CHECKING:
    from collections.abc import Iterator

# The first run on a machine installs what it runs against.
pytestmark = pytest.mark.timeout(900)

CONTRACT = Path(__file__).parents[1] / "contracts" / "salesforce.yaml"


class Preferring(httpx.BaseTransport):
    """Asks Prism for one of the answers to an upsert; else the contract's first comes."""

    def __init__(self, prefer: str) -> None:
        self._prefer = prefer

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry a request."""
        if "/composite/" in request.url.path:
            request.headers["Prefer"] = self._prefer
        with httpx.HTTPTransport() as transport:
            response = transport.handle_request(request)
            response.read()
        return httpx.Response(
            response.status_code, headers=response.headers, content=response.content
        )


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Return the base URL of the contract, running."""
    with prism(CONTRACT) as running:
        yield running


def connect(url: str, prefer: str = "code=200", bulk_above: int = 2000) -> Salesforce:
    """Return the destination at *url*."""
    return Salesforce(
        url,
        client_id=CLIENT,
        client_secret=SECRET,
        bulk_above=bulk_above,
        allow_private=True,
        transport=Preferring(prefer),
    )


def test_upsert_keeps_to_the_contract(url: str) -> None:
    """Login and upsert are as described, and each result finds its action."""
    taken, refused = connect(url).send([lead("1"), lead("2", {SCORE: None})])

    assert taken == Receipt(201, "00Q000000000001AAA")
    assert isinstance(refused, DeliveryError)
    assert refused.permanent
    assert f"STRING_TOO_LONG: '{SCORE}'" in str(refused)


def test_limit_keeps_to_the_contract(url: str) -> None:
    """The limit of requests is a pause of the length that it names."""
    with pytest.raises(DeliveryError) as caught:
        connect(url, "code=403").send([lead()])

    assert caught.value.retry_after == 17
    assert not caught.value.stops


def test_contract_refuses_what_the_service_would(url: str) -> None:
    """A row that breaks the contract is refused: the contract does look."""
    (refused,) = connect(url).send([lead("1", record="Contact")])

    assert isinstance(refused, DeliveryError)
    assert (refused.status, refused.permanent) == (400, True)


def test_job_keeps_to_the_contract(url: str) -> None:
    """Making, filling, closing, asking and reading a job are as described."""
    with_results = connect(url, bulk_above=2).send(leads(3))

    assert all(
        isinstance(answer, DeliveryError) and "not at all" in str(answer) for answer in with_results
    )


def test_describe_keeps_to_the_contract(url: str) -> None:
    """Fields are asked for as described."""
    assert connect(url).describe("Lead") == {
        "Ext_Id__c": Field(kind="text", max_length=64, unique=True),
        SCORE: Field(kind="number"),
    }


def test_query_keeps_to_the_contract(url: str) -> None:
    """Changes are asked for as described."""
    truth = Truth(record="Opportunity", key="Ext_Id__c", field="StageName")

    told = connect(url).changes(truth, "")

    assert told.found == [Found("c-1", "", "Closed Won", 1_795_600_800.0)]
