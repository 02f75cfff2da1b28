"""Whatever is wrong with an inference request is a 4xx with `error`, and nothing is predicted."""

from __future__ import annotations

import json
import re
import struct
from typing import TYPE_CHECKING, Any

import pytest

from endpoints.asking import post
from mlembed.endpoints import Request
from mlembed.testing import capture_predictions

if TYPE_CHECKING:
    from mlembed.endpoints import Endpoints

LOOKUP = "v2/models/lookup/infer"
PLACE = {"name": "place", "datatype": "INT64", "shape": [2], "data": [0, 1]}
HEADER = "inference-header-content-length"


def infer(endpoints: Endpoints, body: Any, status: int = 400, path: str = LOOKUP) -> str:
    """Return the error that *body* gets."""
    with capture_predictions() as made:
        given, answer = post(endpoints, path, body)
    assert given == status, answer
    assert list(answer) == ["error"]
    assert made == []
    return str(answer["error"])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"shape": [3]}, "does not fill its shape"),
        ({"shape": [-2]}, "0 or more"),
        ({"shape": [2.0]}, "0 or more"),
        ({"shape": [True, 2]}, "0 or more"),
        ({"shape": "2"}, "0 or more"),
        ({"shape": None}, "0 or more"),
        ({"shape": [1] * 33}, "at most 32"),
        ({"shape": [2**64]}, "0 or more"),
        ({"shape": [2**31 - 1, 2**31 - 1, 2**31 - 1]}, "does not fill its shape"),
        ({"shape": [0, 2**31 - 1, 2**31 - 1, 2**31 - 1], "data": []}, "too large"),
        ({"data": [[0, 1], [2]]}, "does not fill its shape"),
        ({"data": [[0], 1]}, "does not fill its shape"),
        ({"data": [[[0]], [[1]]]}, "does not fill its shape"),
        ({"shape": [2, 1], "data": [[[0]], [[1]]]}, "does not fill its shape"),
        ({"data": 0}, "is a whole number, expected a list"),
        ({"data": None}, "is null, expected a list"),
        ({"data": ["a", "b"]}, "holds a text, expected INT64"),
        ({"data": [True, 1]}, "holds true or false, expected INT64"),
        ({"data": [0.5, 1]}, "holds a number, expected INT64"),
        ({"data": [None, 1]}, "holds null, expected INT64"),
        ({"data": [{}, 1]}, "holds an object, expected INT64"),
        ({"data": [2**63, 1]}, "beyond INT64"),
        ({"datatype": "INT8", "data": [128, 0]}, "beyond INT8"),
        ({"datatype": "UINT8", "data": [-1, 0]}, "beyond UINT8"),
        ({"datatype": "FP16", "data": [1e6, 0]}, "beyond float16"),
        ({"datatype": "FP32", "data": [16777217, 0]}, "cannot hold"),
        ({"datatype": "BOOL", "data": [0, 1]}, "holds a whole number, expected BOOL"),
        ({"datatype": "BYTES", "data": [0, 1]}, "holds a whole number, expected BYTES"),
        ({"datatype": "INT32"}, "is int32\\[2\\], expected int64"),
        ({"datatype": "BF16"}, "must be one of"),
        ({"datatype": ["INT64"]}, "must be one of"),
        ({"name": "other"}, "'place' is missing"),
        ({"name": ""}, "1 to 512"),
        ({"name": "x" * 600}, "1 to 512"),
        ({"name": 1}, "'name' is a whole number"),
        ({"parameters": {"shared_memory_region": "a"}}, "'shared_memory_region' is not supported"),
        ({"parameters": []}, "'parameters' is a list"),
        ({"parameters": {"binary_data_size": 16}}, "data and a binary_data_size"),
        ({"more": 1}, "'more' is unknown"),
    ],
)
def test_a_bad_tensor_is_refused(endpoints: Endpoints, change: dict[str, Any], error: str) -> None:
    """A tensor that is not what it says, or that the graph does not take, is told."""
    given = infer(endpoints, {"inputs": [PLACE | change]})

    assert re.search(error, given), given


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"inputs": None}, "must be a list"),
        ({"inputs": {}}, "'inputs' is an object"),
        ({"inputs": [1]}, "holds a whole number"),
        ({"inputs": []}, "'place' is missing"),
        ({"inputs": [PLACE, PLACE]}, "stands twice"),
        ({"inputs": [{}] * 1025}, "at most 1024"),
        ({"outputs": [{"name": "other"}]}, "no output 'other'; there are: value, score"),
        ({"outputs": [{}]}, "1 to 512"),
        ({"outputs": [{"name": "value", "parameters": {"binary_data": 1}}]}, "expected true or"),
        ({"outputs": [{"name": "value", "parameters": {"classification": 3}}]}, "not supported"),
        ({"parameters": {"sequence_id": 7}}, "'sequence_id' is not supported"),
        ({"parameters": {"binary_data_output": "yes"}}, "is a text, expected true or false"),
        ({"parameters": {"key": 1.5}}, "expected a text or a whole number"),
        ({"id": 7}, "'id' is a whole number, expected a text"),
        ({"more": 1}, "'more' is unknown"),
    ],
)
def test_a_bad_request_is_refused(endpoints: Endpoints, change: dict[str, Any], error: str) -> None:
    """A request that is no inference request, or asks for what there is not, is told."""
    assert error in infer(endpoints, {"inputs": [PLACE], **change})


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"inputs":NaN}', b"\xff{}"])
def test_what_is_no_object_is_refused(endpoints: Endpoints, body: bytes) -> None:
    """Bytes that are no JSON object are told to be none."""
    infer(endpoints, body)


COLUMNS = "v2/models/toy/infer"
AGE = {"name": "age", "datatype": "FP64", "shape": [2], "data": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("tensors", "error"),
    [
        ([AGE | {"shape": [1, 2]}], "has the shape [1, 2], expected [n] or [n, 1]"),
        ([AGE | {"shape": [], "data": [1.0]}], "has the shape [], expected [n] or [n, 1]"),
        ([AGE | {"datatype": "BYTES", "data": ["a", "b"]}], "'age' is BYTES, expected one of"),
        ([AGE | {"datatype": "BOOL", "data": [True, False]}], "'age' is BOOL"),
        ([AGE | {"name": "town"}], "'town' is FP64, expected one of BYTES"),
        ([AGE | {"name": "seen", "datatype": "FP32"}], "'seen' is FP32"),
        (
            [AGE, AGE | {"name": "visits", "shape": [3], "data": [1, 2, 3]}],
            "differ in their number",
        ),
        ([AGE], "'visits' is missing"),
        ([AGE | {"name": "other"}], "'other' is no column"),
        ([], "there are none"),
    ],
)
def test_tensors_that_are_no_columns_are_refused(
    endpoints: Endpoints, tensors: list[dict[str, Any]], error: str
) -> None:
    """Of columns each wrong shape, type and name is told."""
    assert error in infer(endpoints, {"inputs": tensors}, path=COLUMNS)


def test_too_many_records_are_refused(endpoints: Endpoints) -> None:
    """The number of records is bounded for tensors and for columns."""
    many = {"shape": [51], "data": [0] * 51}

    assert "At most 50" in infer(endpoints, {"inputs": [PLACE | many]}, 413)
    assert "At most 50" in infer(endpoints, {"inputs": [AGE | many]}, 413, COLUMNS)


def binary(
    endpoints: Endpoints,
    tensor: dict[str, Any],
    data: bytes,
    said: str | None = None,
    path: str = "",
) -> tuple[int, Any]:
    """Send *data* behind the JSON of one input; the header tells the JSON's length, or *said*."""
    text = json.dumps({"inputs": [{"name": "place", "datatype": "INT64", "shape": [2]} | tensor]})
    headers = {HEADER: str(len(text)) if said is None else said}
    headers["content-type"] = "application/octet-stream"
    headers = {name: value for name, value in headers.items() if value}
    answer = endpoints.answer(Request("POST", path or LOOKUP, headers, text.encode() + data))
    return answer.status, json.loads(answer.body)


def size(n_bytes: int) -> dict[str, Any]:
    """Return the part of an input that says that it has so many bytes."""
    return {"parameters": {"binary_data_size": n_bytes}}


def test_binary_data_is_read(endpoints: Endpoints) -> None:
    """What the next test breaks is right as it is."""
    status, answer = binary(endpoints, size(16), struct.pack("<2q", 2, 1))

    assert (status, answer["outputs"][0]["data"]) == (200, [20.0, 10.0])


@pytest.mark.parametrize(
    ("tensor", "data", "said", "error"),
    [
        (size(16), b"\0" * 15, None, "more than there is"),
        (size(15), b"\0" * 15, None, "has 15 bytes; its shape and datatype take 16"),
        (size(16), b"\0" * 17, None, "17 bytes stand behind the JSON; the inputs name 16"),
        (size(-1), b"\0" * 16, None, "more than there is"),
        (size(2**70), b"\0" * 16, None, "more than there is"),
        ({"parameters": {"binary_data_size": "16"}}, b"\0" * 16, None, "expected a whole number"),
        (size(0) | {"shape": [2**31 - 1]}, b"", None, "has 0 bytes"),
        (size(16), b"\0" * 16, "", "not the JSON it should be"),
        (size(16), b"\0" * 16, "-1", "must be a length within the body's"),
        (size(16), b"\0" * 16, "1e3", "must be a length within the body's"),
        (size(16), b"\0" * 16, "9" * 5000, "must be a length within the body's"),
        (size(16), b"\0" * 16, "100000", "must be a length within the body's"),
        (size(16), b"\0" * 16, "10", "not the JSON it should be"),
        (size(2) | {"datatype": "BOOL"}, b"\1\2", None, "neither 0 nor 1"),
    ],
)
def test_binary_data_that_lies_is_refused(
    endpoints: Endpoints, tensor: dict[str, Any], data: bytes, said: str | None, error: str
) -> None:
    """Sizes that do not agree with each other, the shape or the body are told."""
    status, answer = binary(endpoints, tensor, data, said)

    assert status == 400
    assert error in answer["error"]


def test_binary_data_without_its_header_is_refused(endpoints: Endpoints) -> None:
    """A size without the header that tells where the bytes begin is refused."""
    body = {"inputs": [{"name": "place", "datatype": "INT64", "shape": [0]} | size(0)]}

    assert "give Inference-Header-Content-Length" in infer(endpoints, body)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1\0\0\0a",
        b"\1\0\0\0a\1\0\0",
        b"\1\0\0\0a\2\0\0\0b",
        b"\xff\xff\xff\xffa\1\0\0\0b",
        b"\1\0\0\0a\1\0\0\0bc",
        b"\1\0\0\0a\1\0\0\0\xff",
        b"\1\0\0\0a\3\0\0\0\xed\xa0\x80",
    ],
)
def test_texts_whose_lengths_lie_are_refused(endpoints: Endpoints, data: bytes) -> None:
    """Texts that are cut, too many, or not UTF-8 are told."""
    tensor = {"name": "town", "datatype": "BYTES", **size(len(data))}

    status, answer = binary(endpoints, tensor, data, path=COLUMNS)

    assert status == 400
    assert "'town' holds a text that" in answer["error"] or "2 texts" in answer["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"content-type": "application/json; charset=UTF-8"}, 200),
        ({"content-type": "application/octet-stream"}, 200),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "application/json; charset=latin-1"}, 415),
        ({"origin": "https://elsewhere.example"}, 415),
        ({"content-encoding": "gzip"}, 415),
    ],
)
def test_a_browser_of_another_site_cannot_ask(
    endpoints: Endpoints, headers: dict[str, str], status: int
) -> None:
    """Clients may leave the type out, but what a page elsewhere can send is refused."""
    body = json.dumps({"inputs": [PLACE]}).encode()

    answer = endpoints.answer(Request("POST", LOOKUP, headers, body))

    assert answer.status == status
    assert status == 200 or "error" in json.loads(answer.body)
