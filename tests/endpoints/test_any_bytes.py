"""No bytes make a fault: whatever comes is answered with JSON, and with 500 never."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from endpoints.asking import JSON, PLAIN
from mlembed.endpoints import Request

if TYPE_CHECKING:
    from mlembed.endpoints import Endpoints

_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
) | st.sampled_from(["toy", "place", "INT64", "BYTES", "FP64", "record", 2**63, -1, 1e308])
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["name", "shape", "data", "datatype", "parameters", "key", "x"]), inner
        )
    ),
    max_leaves=8,
)
_TENSOR = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["place", "age", "pixels", "town"]),
        "datatype": st.sampled_from(["INT64", "FP32", "FP64", "BYTES", "BOOL", "UINT64", "FP16"]),
        "shape": st.lists(st.integers(-1, 4) | st.just(2**31 - 1), max_size=3) | _VALUES,
    },
    optional={
        "data": st.lists(_SCALARS, max_size=6) | _VALUES,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 40)}) | _VALUES,
    },
)
_INFER = st.fixed_dictionaries(
    {"inputs": st.lists(_TENSOR, max_size=3) | _VALUES},
    optional={
        "id": _VALUES,
        "outputs": st.lists(st.fixed_dictionaries({"name": _VALUES}), max_size=2) | _VALUES,
        "parameters": _VALUES,
    },
)
_RECORD = st.builds(
    lambda change: {**PLAIN, **change}, st.dictionaries(st.sampled_from([*PLAIN]), _VALUES)
)
_PREDICT = st.fixed_dictionaries(
    {},
    optional={
        "record": _RECORD | _VALUES,
        "key": _VALUES,
        "records": st.lists(_RECORD | _VALUES, max_size=3),
        "keys": _VALUES,
    },
)
_OUTCOME = st.dictionaries(
    st.sampled_from(["id", "value", "key", "observed_at", "revision"]), _VALUES
)
_MANY = settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def answered(endpoints: Endpoints, path: str, headers: dict[str, str], body: bytes) -> None:
    """Ask, and see that what comes back is an answer."""
    answer = endpoints.answer(Request("POST", path, JSON | headers, body, "me"))

    assert answer.status != 500, (path, body, answer.body)
    if "Inference-Header-Content-Length" not in answer.headers:
        json.loads(answer.body, parse_constant=pytest.fail)


def written(value: Any) -> bytes:
    """Write a value as JSON, NaN and half characters as Python does."""
    return json.dumps(value).encode()


@_MANY
@given(body=_PREDICT)
def test_predict(endpoints: Endpoints, body: Any) -> None:
    """Records of anything are predicted or refused."""
    for name in ("toy", "classes", "pixels", "mixed"):
        answered(endpoints, f"models/{name}/predict", {}, written(body))


@_MANY
@given(body=_OUTCOME)
def test_outcome(endpoints: Endpoints, body: Any) -> None:
    """Outcomes of anything are taken or refused."""
    answered(endpoints, "models/toy/outcome", {}, written(body))


@_MANY
@given(body=_INFER, rest=st.binary(max_size=40), off=st.integers(-2, 2), is_said=st.booleans())
def test_infer(endpoints: Endpoints, body: Any, rest: bytes, off: int, *, is_said: bool) -> None:
    """Tensors of anything, binary ones too, are predicted or refused."""
    text = written(body)
    headers = {"inference-header-content-length": str(len(text) + off)} if is_said else {}
    for name in ("toy", "pixels"):
        answered(endpoints, f"v2/models/{name}/infer", headers, text + rest)


@_MANY
@given(path=st.text(max_size=30), method=st.sampled_from(["GET", "POST", "HEAD", "X"]))
def test_path(endpoints: Endpoints, path: str, method: str) -> None:
    """Any path is found or not."""
    for prefix in ("", "v2/", "models/", "v2/models/"):
        answer = endpoints.answer(Request(method, prefix + path, JSON, b"{}"))
        assert answer.status in (200, 404, 405, 422)


@_MANY
@given(body=st.binary(max_size=60))
def test_bytes(endpoints: Endpoints, body: bytes) -> None:
    """Bytes that are no JSON are refused."""
    for path in ("models/toy/predict", "models/toy/outcome", "v2/models/toy/infer"):
        answered(endpoints, path, {}, body)
