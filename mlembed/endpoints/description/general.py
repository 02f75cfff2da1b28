"""The part of the OpenAPI document that is the same whatever the models are."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mlembed.endpoints.problems import KINDS, PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TEXT: dict[str, Any] = {"type": "string"}
_PARAMETERS: dict[str, Any] = {"type": "object"}
_SHAPE: dict[str, Any] = {"type": "array", "items": {"type": "integer"}}


def _tensor(*required: str, **more: Any) -> dict[str, Any]:
    fields = {"name": _TEXT, "datatype": _TEXT, "shape": _SHAPE, **more}
    return {"type": "object", "properties": fields, "required": list(required)}


_DATA = {"data": {"type": "array"}, "parameters": _PARAMETERS}

GENERAL: Mapping[str, Any] = MappingProxyType(
    {
        "Problem": {
            "type": "object",
            "properties": {
                "type": {"enum": [f"{PREFIX}{kind}" for kind in KINDS]},
                "title": _TEXT,
                "status": {"type": "integer"},
                "detail": _TEXT,
                "problems": {"type": "array", "items": _TEXT},
            },
            "required": ["type", "title", "status", "detail"],
        },
        "Outcome": {
            "type": "object",
            "properties": {
                "id": {**_TEXT, "description": "the prediction's"},
                "value": {"type": ["boolean", "number", "string"]},
                "key": {"type": ["string", "integer"], "description": "where the id was not kept"},
                "observed_at": {"type": "string", "format": "date-time"},
                "revision": {"type": "integer", "minimum": 0, "default": 0},
            },
            "required": ["value"],
            "anyOf": [{"required": ["id"]}, {"required": ["key"]}],
            "additionalProperties": False,
        },
        "v2.Error": {"type": "object", "properties": {"error": _TEXT}, "required": ["error"]},
        "v2.Metadata": {
            "type": "object",
            "properties": {
                "name": _TEXT,
                "versions": {"type": "array", "items": _TEXT},
                "platform": _TEXT,
                "inputs": {"type": "array", "items": _tensor("name", "datatype", "shape")},
                "outputs": {"type": "array", "items": _tensor("name", "datatype", "shape")},
            },
            "required": ["name", "platform"],
        },
        "v2.Request": {
            "type": "object",
            "properties": {
                "id": _TEXT,
                "parameters": _PARAMETERS,
                "inputs": {
                    "type": "array",
                    "items": _tensor("name", "datatype", "shape", **_DATA),
                },
                "outputs": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"name": _TEXT, "parameters": _PARAMETERS},
                        "required": ["name"],
                    },
                },
            },
            "required": ["inputs"],
        },
        "v2.Response": {
            "type": "object",
            "properties": {
                "model_name": _TEXT,
                "model_version": _TEXT,
                "id": _TEXT,
                "parameters": _PARAMETERS,
                "outputs": {
                    "type": "array",
                    "items": _tensor("name", "datatype", "shape", **_DATA),
                },
            },
            "required": ["model_name", "outputs"],
        },
    }
)


def failing(schema: str = "Problem", media: str = "application/problem+json") -> dict[str, Any]:
    """Return the response that stands for every failure."""
    content = {media: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"default": {"description": "What is wrong", "content": content}}


def _get(summary: str, operation: str, schema: Any = None, **statuses: str) -> dict[str, Any]:
    content = {"application/json": {"schema": schema or {"type": "object"}}}
    responses: dict[str, Any] = {"200": {"description": "It is so", "content": content}}
    for status, text in statuses.items():
        responses[status.removeprefix("s")] = {"description": text, "content": content}
    return {"get": {"summary": summary, "operationId": operation, "responses": responses}}


_NOT_READY = "A model cannot serve; degraded ones can"
PATHS: Mapping[str, Any] = MappingProxyType(
    {
        "/models": _get("List the models", "models"),
        "/health/live": _get("Tell whether the process answers", "live"),
        "/health/ready": _get("Tell whether all models can serve", "ready", s503=_NOT_READY),
        "/v2": _get("Name the server and its extensions", "v2"),
        "/v2/health/live": _get("Tell whether the process answers", "v2_live"),
        "/v2/health/ready": _get("Tell whether all models can serve", "v2_ready", s503=_NOT_READY),
    }
)


def path_v2(names: Sequence[str]) -> dict[str, Any]:
    """Return the paths of the Open Inference Protocol for the models *names*."""
    paths: dict[str, Any] = {}
    model = _parameter("model", {**_TEXT, **({"enum": list(names)} if names else {})})
    for at, mark, given in (
        ("/v2/models/{model}", "", [model]),
        (
            "/v2/models/{model}/versions/{version}",
            "_version",
            [model, _parameter("version", _TEXT)],
        ),
    ):
        about = {"$ref": "#/components/schemas/v2.Metadata"}
        paths[at] = _get("Describe a model", f"v2_model{mark}", about)
        paths[f"{at}/ready"] = _get("Tell whether a model can serve", f"v2_model_ready{mark}")
        paths[f"{at}/infer"] = _infer(f"v2_infer{mark}")
        for path in (at, f"{at}/ready", f"{at}/infer"):
            paths[path]["parameters"] = given
            for operation in ("get", "post"):
                if operation in paths[path]:
                    paths[path][operation]["responses"] |= failing("v2.Error", "application/json")
    return paths


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _infer(operation: str) -> dict[str, Any]:
    def content(schema: str) -> dict[str, Any]:
        ref = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
        return {"application/json": ref, "application/octet-stream": {}}

    return {
        "post": {
            "summary": "Infer: tensors in, tensors out; binary tensors may stand behind the JSON",
            "operationId": operation,
            "requestBody": {"required": True, "content": content("v2.Request")},
            "responses": {"200": {"description": "Outputs", "content": content("v2.Response")}},
        }
    }
