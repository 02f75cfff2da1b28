"""NVIDIA's client of the Open Inference Protocol works against real servers of both frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from bundles import RECORD
from endpoints.hosts import MOUNT, serving
from tensorgraphs import MIXED, odds

if TYPE_CHECKING:
    from collections.abc import Iterator

    import mlembed
    from mlembed.endpoints import Endpoints

# geventhttpclient and the client have warnings of their own.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(params=["fastapi", "flask"])
def client(
    request: pytest.FixtureRequest, endpoints: Endpoints
) -> Iterator[triton.InferenceServerClient]:
    """Return the client of a server."""
    with serving(request.param, endpoints) as port:
        client = triton.InferenceServerClient(f"127.0.0.1:{port}{MOUNT}")
        yield client
        client.close()


def tensor(name: str, values: Any, *, binary: bool) -> triton.InferInput:
    """Return an input as the client has it."""
    array = np.asarray(values)
    if array.dtype.kind == "U":
        array = array.astype(object)
    given = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def toys(n: int, *, binary: bool) -> list[triton.InferInput]:
    """Return *n* records of the toy."""
    columns = {name: [value] * n for name, value in RECORD.items()}
    columns["seen"] = [RECORD["seen"].timestamp()] * n
    columns["age"] = [30.0 + place for place in range(n)]
    return [tensor(name, values, binary=binary) for name, values in columns.items()]


def test_client_finds_server_and_model(client: triton.InferenceServerClient) -> None:
    """Health and metadata are what the client expects."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("toy")
    assert client.is_model_ready("toy", "1.0.0")
    assert not client.is_model_ready("toy", "9.0.0")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata("toy")
    assert [given["name"] for given in metadata["inputs"]] == list(RECORD)
    assert metadata["versions"] == ["1.0.0"]


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("binary", [True, False])
def test_client_predicts_with_columns(
    client: triton.InferenceServerClient,
    models: dict[str, mlembed.Model],
    n: int,
    binary: bool,  # noqa: FBT001  a parameter of pytest
) -> None:
    """A tensor a column, as bytes or as JSON, gives what the model gives."""
    wanted = [models["toy"].predict(RECORD | {"age": 30.0 + place}) for place in range(n)]

    result = client.infer("toy", toys(n, binary=binary), request_id="7")

    assert result.as_numpy("score") == pytest.approx([p.score for p in wanted], abs=1e-12)
    labels = [str(prediction.label).lower().encode() for prediction in wanted]
    assert result.as_numpy("label").tolist() == labels
    assert result.as_numpy("reason").tolist() == [b"ok"] * n
    assert len({*result.as_numpy("id").tolist()}) == n
    told = result.get_response()
    assert (told["id"], told["model_name"], told["model_version"]) == ("7", "toy", "1.0.0")


@pytest.mark.parametrize("binary", [True, False])
def test_client_gets_the_outputs_it_asks_for(
    client: triton.InferenceServerClient,
    binary: bool,  # noqa: FBT001  idem
) -> None:
    """Requested outputs come in the order and form of the request, and no others."""
    outputs = [
        triton.InferRequestedOutput("probabilities", binary_data=binary),
        triton.InferRequestedOutput("label", binary_data=not binary),
    ]

    result = client.infer("classes", toys(3, binary=True), outputs=outputs, model_version="1.0.0")

    told = result.get_response()["outputs"]
    assert [output["name"] for output in told] == ["probabilities", "label"]
    assert ["data" in output for output in told] == [not binary, binary]
    assert result.as_numpy("probabilities").sum(axis=1) == pytest.approx([1.0] * 3)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("n", [1, 3])
def test_client_predicts_with_tensors(
    client: triton.InferenceServerClient,
    n: int,
    binary: bool,  # noqa: FBT001  idem
) -> None:
    """A graph of tensors takes and gives its own, and a score a record beside them."""
    pixels = np.arange(4 * n, dtype=np.float32).reshape(n, 2, 2)

    result = client.infer("pixels", [tensor("pixels", pixels, binary=binary)])

    wanted = odds(pixels)
    assert result.as_numpy("odds") == pytest.approx(wanted, abs=1e-6)
    assert result.as_numpy("class").tolist() == wanted.argmax(axis=1).tolist()
    assert result.as_numpy("score") == pytest.approx(wanted[:, 2], abs=1e-6)


def test_client_sends_and_gets_every_kind_of_tensor(client: triton.InferenceServerClient) -> None:
    """Texts, whole numbers, booleans and half precision survive both ways."""
    given = [tensor(name, value, binary=True) for name, value in MIXED.items()]

    result = client.infer("mixed", given)

    assert [text.decode() for text in result.as_numpy("echo")] == MIXED["text"].tolist()
    assert result.as_numpy("total").tolist() == [4, 9]
    assert result.as_numpy("scaled").dtype == np.float16


def test_client_is_told_what_is_wrong(client: triton.InferenceServerClient) -> None:
    """Errors are the protocol's, so the client shows their text."""
    with pytest.raises(InferenceServerException, match=r"\[404\] The models are"):
        client.infer("other", toys(1, binary=True))
    with pytest.raises(InferenceServerException, match=r"\[400\].*'age' is missing"):
        client.infer("toy", toys(2, binary=True)[1:])
    with pytest.raises(InferenceServerException, match=r"\[415\] A compressed body"):
        client.infer("toy", toys(2, binary=True), request_compression_algorithm="gzip")
