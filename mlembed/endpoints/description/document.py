"""`GET openapi.json`: the description of the endpoints and of each model behind them."""

from __future__ import annotations

import re
import weakref
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import mlembed
from mlembed.endpoints.description.examples import example_of
from mlembed.endpoints.description.general import GENERAL, PATHS, failing, path_v2
from mlembed.endpoints.description.schemas import prediction_schema, record_schema
from mlembed.endpoints.messages import json_answer
from mlembed.endpoints.steps import Work

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlembed.endpoints.call import Call
    from mlembed.endpoints.steps import Steps
    from mlembed.serving.loading import Served
    from mlembed.serving.model import Model

_COMPONENT = re.compile(r"[A-Za-z0-9._-]+")
_ABOUT = (
    "Models that answer inside the application. Errors are RFC 9457 problems whose types are stable; "
    "below /v2 they are those of the Open Inference Protocol."
)
_described: weakref.WeakKeyDictionary[Served, dict[str, Any]] = weakref.WeakKeyDictionary()


def describe(call: Call) -> Steps:
    """Answer with the OpenAPI document; models that no prediction has loaded are loaded."""
    text = yield Work(lambda: document(call.models, call.request.mount))
    return json_answer(text)


def document(models: Mapping[str, Model], mount: str) -> dict[str, Any]:
    """Return the OpenAPI document.

    Args:
        models: The models.
        mount: Path below which the endpoints are.
    """
    schemas: dict[str, Any] = dict(GENERAL)
    paths: dict[str, Any] = dict(PATHS)
    for place, name in enumerate(sorted(models)):
        title = name if _COMPONENT.fullmatch(name) else f"model{place}"
        for kind, schema in _schemas(models, name).items():
            schemas[f"{title}.{kind}"] = schema
        path = f"/models/{quote(name, safe='')}"
        paths[f"{path}/predict"] = _predict(name, title)
        paths[f"{path}/outcome"] = _outcome(name, title)
    paths |= path_v2(sorted(models))
    return {
        "openapi": "3.1.0",
        "info": {"title": "mlembed", "version": mlembed.__version__, "description": _ABOUT},
        "servers": [{"url": mount or "/"}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _schemas(models: Mapping[str, Model], name: str) -> dict[str, Any]:
    """Return the schemas of a model; general ones where it cannot be loaded."""
    served = None
    try:
        model = models[name]
        served = model.in_service
        if served is None and model.version:
            served = model.in_service
    except Exception:  # noqa: BLE001  health tells; the others are described all the same
        served = None
    if served is None:
        return {"record": record_schema(None), "prediction": prediction_schema(None)}
    if served not in _described:
        record = record_schema(served.manifest)
        example = example_of(served.bundle)
        if example is not None:
            record["examples"] = [example]
        _described[served] = {
            "record": record,
            "prediction": prediction_schema(served.manifest),
        }
    return _described[served]


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _predict(name: str, title: str) -> dict[str, Any]:
    record, prediction = _ref(f"{title}.record"), _ref(f"{title}.prediction")
    key: dict[str, Any] = {"type": ["string", "integer", "null"]}
    one = {"record": record, "key": key | {"description": "the caller's own key of the entity"}}
    many = {
        "records": {"type": "array", "items": record},
        "keys": {"type": "array", "items": key},
    }
    all_of = {"type": "array", "items": prediction}
    answers = {"type": "object", "properties": {"predictions": all_of}, "required": ["predictions"]}
    return _post(
        f"Predict with {name}: one record, or several of which all are answered or none",
        f"predict_{title}",
        {"oneOf": [_object(one, "record"), _object(many, "records")]},
        {"200": ("The prediction, or predictions in order", {"anyOf": [prediction, answers]})},
    )


def _outcome(name: str, title: str) -> dict[str, Any]:
    return _post(
        f"Report what really happened, of a prediction of {name} or of a key",
        f"outcome_{title}",
        _ref("Outcome"),
        {"202": ("It will be joined to its prediction", {"type": "object"})},
    )


def _object(properties: dict[str, Any], required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [required],
        "additionalProperties": False,
    }


def _post(
    summary: str, operation: str, body: dict[str, Any], answers: dict[str, tuple[str, Any]]
) -> dict[str, Any]:
    content = {"application/json": {"schema": body}}
    responses: dict[str, Any] = {
        status: {"description": text, "content": {"application/json": {"schema": schema}}}
        for status, (text, schema) in answers.items()
    }
    return {
        "post": {
            "summary": summary,
            "operationId": operation,
            "requestBody": {"required": True, "content": content},
            "responses": responses | failing(),
        }
    }
