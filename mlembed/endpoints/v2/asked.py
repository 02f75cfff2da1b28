"""Read an inference request: JSON, and the binary tensors behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mlembed.endpoints.messages import JSON
from mlembed.endpoints.problems import Problem
from mlembed.endpoints.reading import check_names, check_type, json_type, key_of, read_object, typed
from mlembed.endpoints.v2.tensors import dtype_of, from_binary, from_json, shape_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlembed.endpoints.messages import Request

HEADER = "Inference-Header-Content-Length"
_TYPES = (JSON, "application/octet-stream", "")  # tritonclient names none
_FIELDS = ("id", "parameters", "inputs", "outputs", "model_name", "model_version")
_INPUT_FIELDS = ("name", "shape", "datatype", "parameters", "data")
_OUTPUT_FIELDS = ("name", "parameters")
# What would change the answer and is not done must not be passed over.
_NOT_DONE = ("sequence_id", "classification", "shared_memory_region")
_MAX_TENSORS = 1024


class Wanted(NamedTuple):
    """An output that is asked for, and whether as bytes."""

    name: str
    is_binary: bool


class Asked(NamedTuple):
    """An inference request.

    Attributes:
        id: The client's own id of it, or None.
        key: The host's key of the one record, or None.
        inputs: The tensors.
        outputs: What is to be returned; all there is where it is None.
        is_binary: Whether outputs that are not asked for by name come as bytes.
    """

    id: str | None
    key: str | None
    inputs: dict[str, NDArray[Any]]
    outputs: list[Wanted] | None
    is_binary: bool


def read(request: Request, max_bytes: int) -> Asked:
    """Read the body of *request*.

    Raises:
        Problem: If it is no inference request.
    """
    check_type(request, accepted=_TYPES)
    text, rest = _split(request)
    body = read_object(text, max_bytes)
    check_names(body, _FIELDS, "The body")
    parameters = _parameters(body)
    is_binary = typed(parameters, "binary_data_output", bool, default=False)
    outputs = None
    if body.get("outputs"):
        outputs = [_wanted(item, is_binary) for item in _objects(body, "outputs")]
    return Asked(
        typed(body, "id", str),
        key_of(parameters.get("key")),
        _inputs(_objects(body, "inputs"), rest),
        outputs,
        is_binary,
    )


def _split(request: Request) -> tuple[bytes, bytes | None]:
    """Return the JSON and the bytes behind it; None where no header says that there are any."""
    said = request.headers.get(HEADER.lower())
    if said is None:
        return request.body, None
    length = int(said) if said.isascii() and said.isdigit() and len(said) <= 18 else -1  # noqa: PLR2004
    if not 0 <= length <= len(request.body):
        raise Problem("request", f"{HEADER} must be a length within the body's")
    return request.body[:length], request.body[length:]


def _objects(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    items: list[Any] | None = typed(body, name, list)
    if items is None or len(items) > _MAX_TENSORS:
        raise Problem("request", f"'{name}' must be a list of at most {_MAX_TENSORS}")
    for item in items:
        if type(item) is not dict:
            raise Problem("request", f"'{name}' holds {json_type(item)}, expected objects")
    return items


def _parameters(item: dict[str, Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = typed(item, "parameters", dict, {})
    for name in _NOT_DONE:
        if parameters.get(name):
            raise Problem("request", f"the parameter '{name}' is not supported")
    return parameters


def _wanted(item: dict[str, Any], is_binary: bool) -> Wanted:  # noqa: FBT001  the default of all
    check_names(item, _OUTPUT_FIELDS, "An output")
    return Wanted(_name(item), typed(_parameters(item), "binary_data", bool, default=is_binary))


def _inputs(items: Sequence[dict[str, Any]], rest: bytes | None) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    start = 0
    for item in items:
        check_names(item, _INPUT_FIELDS, "An input")
        name = _name(item)
        if name in arrays:
            raise Problem("request", f"the input '{name}' stands twice")
        size = typed(_parameters(item), "binary_data_size", int)
        data = None if size is None else _bytes(name, item, size, start, rest)
        start += size or 0
        arrays[name] = _array(name, item, data)
    if rest is not None and start != len(rest):
        raise Problem(
            "request", f"{len(rest)} bytes stand behind the JSON; the inputs name {start}"
        )
    return arrays


def _bytes(name: str, item: dict[str, Any], size: int, start: int, rest: bytes | None) -> bytes:
    if "data" in item:
        raise Problem("request", f"'{name}' has data and a binary_data_size; give one of them")
    if rest is None:
        raise Problem("request", f"'{name}' is binary; give {HEADER}")
    if not 0 <= size <= len(rest) - start:
        raise Problem("request", f"the binary_data_size of '{name}' is more than there is")
    return rest[start : start + size]


def _array(name: str, item: dict[str, Any], data: bytes | None) -> NDArray[Any]:
    shape = shape_of(name, item.get("shape"))
    datatype = item.get("datatype")
    dtype_of(name, datatype)
    if data is None:
        return from_json(name, str(datatype), shape, item.get("data"))
    return from_binary(name, str(datatype), shape, data)


def _name(item: dict[str, Any]) -> str:
    name: str = typed(item, "name", str, "")
    if not name or len(name) > 512:  # noqa: PLR2004  as long as a tensor's may be
        raise Problem("request", "an input or output has a 'name' of 1 to 512 characters")
    return name
