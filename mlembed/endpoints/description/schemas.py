"""JSON schemas of what a model takes and gives, made of its manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlembed.serving.fields import MAX_INTEGER
from mlembed.tensors import FLOATS, INTEGERS, Tensor

if TYPE_CHECKING:
    from mlembed.bundle.manifest import Manifest
    from mlembed.columns import Column

    Schema = dict[str, Any]

_MAX_SHOWN = 20  # values of an open vocabulary


def record_schema(manifest: Manifest | None) -> Schema:
    """Return the schema of a record; of any object where nothing is known."""
    if manifest is None:
        return {"type": "object"}
    fields = manifest.inputs or manifest.columns
    return {
        "type": "object",
        "properties": {field.name: _field(field) for field in fields},
        "required": [field.name for field in fields if not getattr(field, "nullable", False)],
        "additionalProperties": False,
    }


def _field(field: Column | Tensor) -> Schema:
    return tensor_schema(field) if isinstance(field, Tensor) else column_schema(field)


def column_schema(column: Column) -> Schema:
    """Return the schema of a field: its type, range, vocabulary and unit."""
    schema = {"category": _category, "timestamp": _timestamp}.get(column.kind, _number)(column)
    if column.unit:
        schema["description"] = column.unit
    if not column.nullable:
        return schema
    return {**schema, **_nullable(schema)}


def _nullable(schema: Schema) -> Schema:
    if "anyOf" in schema:
        return {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    nullable: Schema = {"type": [schema["type"], "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


def _category(column: Column) -> Schema:
    if column.unknown_code is None:
        return {"type": "string", "enum": list(column.vocabulary)}
    return {"type": "string", "examples": list(column.vocabulary[:_MAX_SHOWN])}


def _timestamp(column: Column) -> Schema:
    seconds: Schema = {"type": "number", "description": "seconds since 1970 in UTC"}
    moment: Schema = {"type": "string", "format": "date-time"}
    return {"anyOf": [moment, seconds | _range(column)]}


def _number(column: Column) -> Schema:
    schema = {"type": column.kind, **_range(column)}
    if column.kind == "integer":
        if not {"minimum", "exclusiveMinimum"} & set(schema):
            schema["minimum"] = -MAX_INTEGER
        if not {"maximum", "exclusiveMaximum"} & set(schema):
            schema["maximum"] = MAX_INTEGER
    return schema


def _range(column: Column) -> Schema:
    schema: Schema = {}
    if column.minimum is not None:
        schema["exclusiveMinimum" if column.exclusive_minimum else "minimum"] = column.minimum
    if column.maximum is not None:
        schema["exclusiveMaximum" if column.exclusive_maximum else "maximum"] = column.maximum
    return schema


def tensor_schema(tensor: Tensor) -> Schema:
    """Return the schema of an array as nested lists, its last axis innermost."""
    kind = "string" if tensor.dtype == "string" else "boolean"
    if tensor.dtype in (*FLOATS, *INTEGERS):
        kind = "number" if tensor.dtype in FLOATS else "integer"
    schema: Schema = {"type": kind}
    if tensor.shape is None:
        return {"description": f"{tensor.text}, as nested lists"}
    for axis in reversed(tensor.shape):
        schema = {"type": "array", "items": schema}
        if isinstance(axis, int):
            schema |= {"minItems": axis, "maxItems": axis}
    return {**schema, "description": tensor.text}


def prediction_schema(manifest: Manifest | None) -> Schema:
    """Return the schema of a prediction."""
    score: Schema = {"type": ["number", "null"]}
    label: Schema = {"type": ["boolean", "string", "null"]}
    properties: Schema = {"id": {"type": "string"}, "model": {"type": "string"}}
    properties |= {"version": {"type": "string"}, "score": score, "label": label}
    properties |= {
        "reason": {"enum": ["ok", "fallback", "abstain"]},
        "error": {"type": "string", "description": "what failed, where the fallback answers"},
        "key": {"type": ["string", "null"]},
    }
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    if manifest is None:
        return schema
    task = manifest.task
    meaning = {
        "binary": f"probability that {task.label} is {task.positive}",
        "multiclass": "probability of the most probable class",
    }
    score["description"] = meaning.get(task.kind, task.unit or task.label)
    if task.kind == "binary":
        label["type"] = ["boolean", "null"]
    elif task.classes:
        properties["label"] = {"enum": [*task.classes, None]}
        odds: Schema = {"type": "object", "additionalProperties": {"type": "number"}}
        properties["probabilities"] = odds
    else:
        properties["label"] = {"type": "null"}
    if task.interval is not None:
        ends: Schema = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
        properties["interval"] = ends
    if manifest.outputs:
        outputs = {tensor.name: _output(tensor) for tensor in manifest.outputs}
        properties["outputs"] = {"type": "object", "properties": outputs}
    return schema


def _output(tensor: Tensor) -> Schema:
    return {"description": f"{tensor.text}, as nested lists; null for what is no finite number"}
