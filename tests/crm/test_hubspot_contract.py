"""What is sent to HubSpot keeps to its contract, by the judgement of an independent server."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import openapi_schema_validator
import openapi_spec_validator
import pytest
import yaml
from openapi_schema_validator import OAS30Validator

from crm.fakes.hubspot import TOKEN, Account
from crm.prism import prism
from crm.receiver import action
from mlembed_crm.destinations import Field, Receipt
from mlembed_crm.destinations.endpoint import Answer
from mlembed_crm.destinations.hubspot import BATCH, HubSpot
from mlembed_crm.destinations.hubspot.changes import Cursor, page, query
from mlembed_crm.destinations.hubspot.rows import row as row_of
from mlembed_crm.errors import DeliveryError
from mlembed_crm.truths import Found, Truth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed_crm import Action

# The first run on a machine installs what it runs against.
pytestmark = pytest.mark.timeout(900)

CONTRACT = Path(__file__).parent.parent / "contracts" / "hubspot.yaml"
BROKEN = "HTTP 400 Bad Request (VALIDATION_ERROR)"  # Prism answers as the contract says
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}
WON = Truth(record="deals", key="ext_id", field="dealstage", values={"closedwon": True})


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Return the URL of a server that answers by the contract."""
    with prism(CONTRACT) as running:
        yield running


def connected(url: str, **arguments: Any) -> HubSpot:
    """Return the destination at *url*."""
    return HubSpot(TOKEN, url=url, allow_private=True, **arguments)


def writes(n_actions: int) -> list[Action]:
    """Return so many actions that write values of every kind."""
    payload: Any = {
        "ml_score": 0.83,
        "ml_likely": True,
        "ml_prediction": "é",
        "ml_day": None,
        "n": 7,
    }
    one = dataclasses.replace(action(), record="contacts", id_field="ext_id", payload=payload)
    return [dataclasses.replace(one, id=action().id, key=f"c-{i}") for i in range(n_actions)]


def refusal(destination: HubSpot, actions: list[Action]) -> DeliveryError:
    """Return the error that is raised for all of *actions*."""
    with pytest.raises(DeliveryError) as caught:
        destination.send(actions)
    return caught.value


def test_the_contract_is_valid() -> None:
    """The document that judges is itself judged."""
    openapi_spec_validator.validate(yaml.safe_load(CONTRACT.read_text()))


def test_a_full_batch_keeps_to_the_contract(url: str) -> None:
    """A hundred records of every kind of value are a call that HubSpot reads.

    The answer names one of them, so of all others it is told that nobody knows.
    """
    told = connected(url).send(writes(BATCH))

    assert told.pop(7) == Receipt(200, "501")
    assert {str(one) for one in told} == {"HTTP 200 with no row of this action"}


def test_the_contract_refuses_more_than_a_batch(url: str) -> None:
    """The server judges: a row too many is seen."""
    assert BROKEN in refusal(connected(url), writes(BATCH + 1)).reason


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda row: row | {"properties": {"ml_score": 0.83}}, id="a number"),
        pytest.param(lambda row: row | {"properties": {"ml_likely": None}}, id="a null"),
        pytest.param(lambda row: row | {"id": ""}, id="no key"),
        pytest.param(lambda row: row | {"trace": "x"}, id="an unknown name"),
        pytest.param(lambda row: {"id": row["id"], "properties": {}}, id="no id field"),
    ],
)
def test_the_contract_refuses_a_broken_row(url: str, broken: Any) -> None:
    """The server judges: what HubSpot would refuse of a row is seen."""
    row = broken(row_of(writes(1)[0]))

    answer = httpx.post(
        f"{url}/crm/objects/2026-09/contacts/batch/upsert",
        headers={"Authorization": f"Bearer {TOKEN}"},
        json={"inputs": [row]},
    )

    assert answer.status_code == 400


def test_the_contract_wants_a_token(url: str) -> None:
    """The server judges: a call without a token is refused."""
    answer = httpx.get(f"{url}/crm/properties/2026-09/contacts")

    assert answer.status_code == 401


def test_another_version_is_no_part_of_the_contract(url: str) -> None:
    """The version is part of every path."""
    assert "HTTP 404" in refusal(connected(url, api_version="2026-03"), writes(1)).reason


def test_describe_keeps_to_the_contract(url: str) -> None:
    """Properties are asked for as HubSpot knows it, and read as it answers."""
    assert connected(url).describe("contacts") == {"ml_score": Field(kind="number")}


def test_changes_keep_to_the_contract(url: str) -> None:
    """A search is one that HubSpot knows, and its rows are read as it answers."""
    (found,) = connected(url).changes(WON, "").found

    assert found == Found("c-1", "", True, 1_795_161_600.123)  # noqa: FBT003  a tuple's


@pytest.mark.parametrize("above", [None, 0, 501])
def test_every_search_keeps_to_the_contract(url: str, above: int | None) -> None:
    """Those by time and those by id are both such that HubSpot knows."""
    answer = httpx.post(
        f"{url}/crm/objects/2026-09/deals/search",
        headers={"Authorization": f"Bearer {TOKEN}"},
        json=query(WON, Cursor(1_700_000_000_000, above)),
    )

    assert answer.status_code == 200
    assert page(WON, Cursor(0), Answer(200, answer.headers, answer.content)).found


@pytest.mark.parametrize("path", ["batch/upsert", "search"])
@pytest.mark.parametrize("multi_status", [False, True])
def test_the_fake_keeps_to_the_contract(path: str, *, multi_status: bool) -> None:
    """The account that other tests rely on answers as the contract says."""
    account = Account()
    account.multi_status = multi_status
    rows = [row_of(one) for one in writes(2)]
    good = {"inputs": [one | {"properties": {"ml_score": "0.83"}} for one in rows]}
    account.answer("POST", "/crm/objects/2026-09/deals/batch/upsert", AUTHORIZED, _json(good))
    account.put("deals", {"dealstage": "closedwon"}, 501)
    body = query(WON, Cursor(0)) if path == "search" else {"inputs": rows}

    status, _, answer = account.answer(
        "POST", f"/crm/objects/2026-09/deals/{path}", AUTHORIZED, _json(body)
    )

    contract = yaml.safe_load(CONTRACT.read_text())
    operation = contract["paths"][f"/crm/objects/2026-09/{{record}}/{path}"]["post"]
    told = _resolved(contract, operation["responses"][str(status)])
    openapi_schema_validator.validate(
        json.loads(answer), told["content"]["application/json"]["schema"], cls=OAS30Validator
    )


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()


def _resolved(contract: dict[str, Any], part: Any) -> Any:
    """Return *part* with what it refers to in its place."""
    if isinstance(part, list):
        return [_resolved(contract, one) for one in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        found: Any = contract
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return _resolved(contract, found)
    return {name: _resolved(contract, one) for name, one in part.items()}
