"""The description is OpenAPI 3.1, and says of each model what its bundle says."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import jsonschema
import openapi_spec_validator
import pytest

import mlembed
from bundles import COLUMNS, toy_bundle
from endpoints.asking import PLAIN, get, post
from mlembed.columns import Category, Column
from mlembed.endpoints import Endpoints, Lookup, Request
from mlembed.endpoints.description.examples import example_of
from mlembed.endpoints.description.schemas import column_schema
from mlembed.testing import InMemoryRegistry

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle


@pytest.fixture
def described(endpoints: Endpoints) -> dict[str, Any]:
    """Return the description."""
    answer = endpoints.answer(Request("GET", "openapi.json", mount="/ml"))
    document: dict[str, Any] = json.loads(answer.body)
    return document


def resolved(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the schema *name* with what it refers to."""
    return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}


def test_description_is_valid(described: dict[str, Any]) -> None:
    """A public validator finds nothing to say, and the server is the mount."""
    openapi_spec_validator.validate(described)

    assert described["openapi"].startswith("3.1")
    assert described["servers"] == [{"url": "/ml"}]


def test_every_path_has_each_of_its_methods(
    endpoints: Endpoints, described: dict[str, Any]
) -> None:
    """What is described is there, and nothing that needs more than a body is 404 or 405."""
    for path, item in described["paths"].items():
        for method in {"get", "post"} & set(item):
            real = path.strip("/").replace("{model}", "toy").replace("{version}", "1.0.0")
            answer = endpoints.answer(Request(method.upper(), real))
            assert answer.status not in (404, 405, 500), path


def test_a_record_is_described_as_its_columns_are(described: dict[str, Any]) -> None:
    """Types, ranges, vocabularies, units and what may be missing come from the bundle."""
    record = described["components"]["schemas"]["toy.record"]

    assert record["properties"]["age"] == {
        "type": "number",
        "minimum": 0.0,
        "maximum": 120.0,
        "description": "years",
    }
    assert record["properties"]["income"]["type"] == ["number", "null"]
    assert record["properties"]["income"]["description"] == "EUR per year"
    assert record["properties"]["visits"] == {"type": "integer", "minimum": 0, "maximum": 2**53}
    assert record["properties"]["member"] == {"type": "boolean"}
    assert record["properties"]["town"]["examples"] == ["berlin", "lyon", "oslo"]
    assert record["properties"]["seen"]["anyOf"][0] == {"type": "string", "format": "date-time"}
    assert record["required"] == ["age", "visits", "member", "town", "seen"]
    assert record["additionalProperties"] is False


@pytest.mark.parametrize(
    ("column", "schema"),
    [
        (
            Column(name="a", kind="number", minimum=0, maximum=1, exclusive_maximum=True),
            {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
        ),
        (
            Column(name="a", kind="integer", exclusive_minimum=True, minimum=0),
            {"type": "integer", "exclusiveMinimum": 0, "maximum": 2**53},
        ),
        (
            Column(
                name="a", kind="category", vocabulary=("x", "y"), rule=Category(unknown="error")
            ),
            {"type": "string", "enum": ["x", "y"]},
        ),
        (
            Column(
                name="a",
                kind="category",
                nullable=True,
                vocabulary=("x",),
                rule=Category(unknown="error"),
            ),
            {"type": ["string", "null"], "enum": ["x", None]},
        ),
        (
            Column(name="a", kind="timestamp", nullable=True),
            {
                "anyOf": [
                    {"type": "string", "format": "date-time"},
                    {"type": "number", "description": "seconds since 1970 in UTC"},
                    {"type": "null"},
                ]
            },
        ),
    ],
)
def test_column_schema(column: Column, schema: dict[str, Any]) -> None:
    """Open ends, closed vocabularies and null are each said in JSON Schema's words."""
    assert column_schema(column) == schema


@pytest.mark.parametrize("name", ["toy", "classes", "amount", "mixed", "lookup"])
def test_the_example_is_answered_and_the_answer_is_as_described(
    endpoints: Endpoints, described: dict[str, Any], name: str
) -> None:
    """Who sends the example gets a prediction, and both fit their schemas."""
    schemas = described["components"]["schemas"]
    (example,) = schemas[f"{name}.record"]["examples"]

    status, answer = post(endpoints, f"models/{name}/predict", {"record": example})

    assert status == 200
    assert answer["reason"] == "ok"
    jsonschema.validate(example, resolved(described, f"{name}.record"))
    jsonschema.validate(answer, resolved(described, f"{name}.prediction"))


def test_the_example_is_nobodys_record() -> None:
    """Of a column that is not logged as it is, no value of the golden rows is shown."""
    secret = dataclasses.replace(COLUMNS[0], log="drop")
    hidden = toy_bundle(columns=(secret, *COLUMNS[1:]))

    assert example_of(hidden)["age"] == 60.0  # type: ignore[index]  # the middle of its range
    assert example_of(toy_bundle())["age"] != 60.0  # type: ignore[index]
    assert example_of(toy_bundle()) not in golden_records(toy_bundle())


def golden_records(bundle: Bundle) -> list[dict[str, Any]]:
    """Return the golden rows."""
    records: list[dict[str, Any]] = bundle.json("golden.json")["records"]
    return records


def test_problems_and_inferences_are_as_described(
    endpoints: Endpoints, described: dict[str, Any]
) -> None:
    """Failures and the protocol's answers fit the schemas that the document has for them."""
    _, problem = post(endpoints, "models/toy/predict", {"record": {}})
    columns = [
        {
            "name": column.name,
            "datatype": {"boolean": "BOOL", "category": "BYTES"}.get(column.kind, "FP64"),
            "shape": [1],
            "data": [1672531200.0 if column.name == "seen" else PLAIN[column.name]],
        }
        for column in COLUMNS
    ]
    status, inferred = post(endpoints, "v2/models/toy/infer", {"inputs": columns})
    _, metadata = get(endpoints, "v2/models/pixels")
    _, error = get(endpoints, "v2/models/other")

    assert status == 200
    jsonschema.validate(problem, resolved(described, "Problem"))
    jsonschema.validate({"inputs": columns}, resolved(described, "v2.Request"))
    jsonschema.validate(inferred, resolved(described, "v2.Response"))
    jsonschema.validate(metadata, resolved(described, "v2.Metadata"))
    jsonschema.validate(error, resolved(described, "v2.Error"))


def test_models_that_cannot_be_loaded_or_named_are_described_all_the_same(
    models: dict[str, mlembed.Model], absent: mlembed.Model
) -> None:
    """One model that fails, or has an odd name, leaves the description whole and valid."""

    def find(name: str) -> mlembed.Model:
        if name == "broken":
            raise RuntimeError
        return absent if name == "a" else models["toy"]

    endpoints = Endpoints(Lookup(lambda: ["a", "broken", "häng {me}"], find))

    status, document = get(endpoints, "openapi.json")

    assert status == 200
    openapi_spec_validator.validate(document)
    schemas = document["components"]["schemas"]
    assert schemas["a.record"] == {"type": "object"}
    assert "age" in schemas["model2.record"]["properties"]
    assert post(endpoints, "models/häng {me}/predict", {"record": PLAIN})[0] == 200


def test_no_models_are_described(settings: mlembed.Settings) -> None:
    """A host without models has a valid description, too."""
    del settings
    _, document = get(Endpoints({}), "openapi.json")

    openapi_spec_validator.validate(document)


def test_a_new_version_is_described_by_itself(settings: mlembed.Settings) -> None:
    """Where another version comes into service its columns are described."""
    registry = InMemoryRegistry()
    registry.publish(toy_bundle())
    model = mlembed.load("toy", registry=registry, settings=settings)
    endpoints = Endpoints({"toy": model})
    before = get(endpoints, "openapi.json")[1]["components"]["schemas"]["toy.record"]
    wider = dataclasses.replace(COLUMNS[0], maximum=150.0)
    registry.publish(toy_bundle(version="1.1.0", columns=(wider, *COLUMNS[1:])))
    model.refresh()

    after = get(endpoints, "openapi.json")[1]["components"]["schemas"]["toy.record"]

    assert before["properties"]["age"]["maximum"] == 120.0
    assert after["properties"]["age"]["maximum"] == 150.0
